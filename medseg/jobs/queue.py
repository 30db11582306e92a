"""A queue of jobs in one SQLite file: several processes work on it at once, and kill -9 at any moment loses nothing.

    submit -> waiting -> claim -> running -> finish -> done
                 ^                   |
                 +---- fail, or the worker is lost ----> after `Limits.failures` of them: quarantined, with the reason

Every change is one transaction. A claim is a lease: its holder renews it with a heartbeat, and when it ends the job is
free for others. Only the holder of the newest claim can finish a job, so that each is done once, whatever was killed.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from medseg.core.database import use_write_ahead_log
from medseg.core.errors import InputError
from medseg.jobs.job import SETTLED, Claim, Job, JobRecord, JobState
from medseg.jobs.worker_name import is_alive, is_gone

FORMAT = 3
"""Version of the tables, kept in SQLite's user_version."""

_BUSY_TIMEOUT_S = 60.0
"""How long a change waits for those of other processes; each takes milliseconds."""

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    due_s REAL NOT NULL,
    lease_ends_s REAL,
    is_spared INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    worker TEXT,
    reason TEXT,
    result TEXT,
    submitted_s REAL NOT NULL,
    settled_s REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, due_s, sequence);
"""

_SINCE_1 = "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0"
_SINCE_2 = "ALTER TABLE jobs ADD COLUMN is_spared INTEGER NOT NULL DEFAULT 0"
"""What queues of formats 1 and 2 lack: it is added, and their jobs stay."""

_SELECT = "SELECT job, priority, state, starts, failures, worker, reason, result, submitted_s, settled_s FROM jobs "


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a queue is.

    A job is set aside after `failures` of them. After failure n it waits `pause_s` x 4^(n-1) seconds, and never longer
    than `longest_pause_s`: one that seems to is due, for the clock was put back. A worker that has not renewed its
    claim for `lease_s` seconds is taken for dead. A job that is postponed again and again is set aside when it is older
    than `patience_s`.
    """

    failures: int = 3
    pause_s: float = 1.0
    lease_s: float = 60.0
    longest_pause_s: float = 300.0
    patience_s: float = math.inf


class Queue:
    """The jobs in one SQLite file; each process opens it for itself.

    Raises InputError when the file cannot be opened or written, or is none of medseg's queues.
    """

    def __init__(self, path: Path, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.limits = limits or Limits()
        self._clock = clock
        with self._clear_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the jobs stay."""
        self._database.close()

    def submit(self, jobs: Iterable[Job], priority: int = 0) -> int:
        """Add jobs in their order, all or none; how many were new. One that is there already stays as it is.

        Those of a higher priority are claimed first.
        """
        now = self._clock()
        rows = [(job.id, job.model_dump_json(), priority, "waiting", now, now) for job in jobs]
        with self._change() as database:
            before = database.total_changes
            database.executemany(
                "INSERT OR IGNORE INTO jobs (id, job, priority, state, due_s, submitted_s) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            return database.total_changes - before

    def claim(self, worker: str) -> Claim | None:
        """The next job that is due, now this worker's until its lease ends; None when none is due.

        Jobs whose worker fell silent count as failed first. Those of a process of this machine that is gone, and
        whose engine is gone with it, wait again; one that lives gets a second lease: the machine may have slept.
        """
        with self._change() as database:
            now = self._clock()
            silent = database.execute(
                "SELECT token, worker, is_spared FROM jobs WHERE state = 'running' AND lease_ends_s < ?", (now,)
            ).fetchall()
            for lost_token, lost_worker, is_spared in silent:
                self._missed(database, lost_token, lost_worker, is_spared=bool(is_spared))
            row = database.execute(
                "SELECT id, job FROM jobs WHERE state = 'waiting' AND (due_s <= ? OR due_s > ?) "
                "ORDER BY priority DESC, due_s, sequence LIMIT 1",
                (now, now + self.limits.longest_pause_s),
            ).fetchone()
            if row is None:
                return None
            token = uuid.uuid4().hex
            database.execute(
                "UPDATE jobs SET state = 'running', starts = starts + 1, token = ?, worker = ?, lease_ends_s = ?, "
                "is_spared = 0 WHERE id = ?",
                (token, worker, now + self.limits.lease_s, row[0]),
            )
            return Claim(Job.model_validate_json(row[1]), worker, token)

    def heartbeat(self, claim: Claim) -> bool:
        """Renew the claim; False when it is lost and the work is another's."""
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET lease_ends_s = ?, is_spared = 0 WHERE token = ?",
                (self._clock() + self.limits.lease_s, claim.token),
            )
            return changed.rowcount == 1

    def finish(self, claim: Claim, result: JsonValue = None) -> bool:
        """Record the job as done, with what it returned; False, and nothing recorded, when the claim was lost."""
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'done', result = ?, reason = NULL, settled_s = ?, token = NULL, "
                "lease_ends_s = NULL WHERE token = ?",
                (json.dumps(result, allow_nan=False), self._clock(), claim.token),
            )
            return changed.rowcount == 1

    def fail(self, claim: Claim, reason: str, *, is_final: bool = False) -> bool:
        """Record a failure: the job waits a while, or is set aside after too many; False when the claim was lost.

        A failure that `is_final` sets it aside at once.
        """
        with self._change() as database:
            return self._fail(database, claim.token, reason, is_final=is_final)

    def postpone(self, claim: Claim, reason: str) -> bool:
        """Let a claimed job wait, through no fault of its own: no failure is counted; False when the claim was lost.

        It waits the longer the older it is, from `Limits.pause_s` to `Limits.longest_pause_s`; one that is older than
        `Limits.patience_s` is set aside.
        """
        with self._change() as database:
            row = database.execute("SELECT submitted_s FROM jobs WHERE token = ?", (claim.token,)).fetchone()
            if row is None:
                return False
            now, limits = self._clock(), self.limits
            age_s = now - row[0]
            if age_s > limits.patience_s:
                return self._fail(database, claim.token, reason, is_final=True)
            due_s = now + min(limits.longest_pause_s, max(limits.pause_s, age_s / 10))
            database.execute(
                "UPDATE jobs SET state = 'waiting', reason = ?, token = NULL, lease_ends_s = NULL, due_s = ? "
                "WHERE token = ?",
                (reason, due_s, claim.token),
            )
            return True

    def lose_worker(self, worker: str, reason: str) -> int:
        """Record that a worker died: its jobs fail with the reason; how many there were."""
        with self._change() as database:
            tokens = database.execute("SELECT token FROM jobs WHERE state = 'running' AND worker = ?", (worker,))
            return sum(self._fail(database, token, reason) for (token,) in tokens.fetchall())

    def release(self, is_lost: Callable[[str], bool]) -> int:
        """Free the jobs of workers that a killed engine left behind, without counting a failure; how many there were.

        `is_lost` says of a worker's name whether it is gone for certain.
        """
        with self._change() as database:
            running = database.execute("SELECT id, worker FROM jobs WHERE state = 'running'").fetchall()
            lost = [(job_id,) for job_id, worker in running if is_lost(worker)]
            database.executemany(
                "UPDATE jobs SET state = 'waiting', token = NULL, lease_ends_s = NULL WHERE id = ?", lost
            )
            return len(lost)

    def give_back(self, claim: Claim) -> bool:
        """Let a claimed job wait again, without counting a failure; False when the claim was lost."""
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'waiting', token = NULL, lease_ends_s = NULL WHERE token = ?", (claim.token,)
            )
            return changed.rowcount == 1

    def retry(self, job_id: str | None = None) -> int:
        """Let the jobs that were set aside or cancelled, or one of them, wait again, as if new; how many there were."""
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'waiting', failures = 0, submitted_s = ?, due_s = ?, settled_s = NULL "
                "WHERE state IN ('quarantined', 'cancelled') AND id = COALESCE(?, id)",
                (self._clock(), self._clock(), job_id),
            )
            return changed.rowcount

    def cancel(self, job_id: str) -> bool:
        """Take back a job that waits; False when it runs, is settled, or is not there."""
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'cancelled', settled_s = ? WHERE id = ? AND state = 'waiting'",
                (self._clock(), job_id),
            )
            return changed.rowcount == 1

    def withdraw(self, job_id: str) -> bool:
        """Take back a job that waits or runs; False when it is settled or not there.

        The claim of the worker that runs it is lost, so that it cannot finish; it may look and stop.
        """
        with self._change() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'cancelled', settled_s = ?, token = NULL, lease_ends_s = NULL "
                "WHERE id = ? AND state IN ('waiting', 'running')",
                (self._clock(), job_id),
            )
            return changed.rowcount == 1

    def forget(self, job_ids: Iterable[str]) -> int:
        """Remove jobs that do not run; how many there were."""
        with self._change() as database:
            before = database.total_changes
            database.executemany(
                "DELETE FROM jobs WHERE id = ? AND state != 'running'", [(job_id,) for job_id in job_ids]
            )
            return database.total_changes - before

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody else change or hold the queue during the block, which itself may only read it."""
        with self._change():
            yield

    def record(self, job_id: str) -> JobRecord | None:
        """What is known of a job, None when it is not there."""
        rows = self._rows(_SELECT + "WHERE id = ?", (job_id,))
        return _record(rows[0]) if rows else None

    def records(self, *states: JobState) -> tuple[JobRecord, ...]:
        """The jobs in these states, in the order they were submitted; all of them when no state is named."""
        marks = ", ".join("?" * len(states))
        where = f"WHERE state IN ({marks}) " if states else ""
        return tuple(_record(row) for row in self._rows(_SELECT + where + "ORDER BY sequence", states))

    def settled_since(self, since_s: float) -> tuple[JobRecord, ...]:
        """The jobs that were settled at that time or later, the earliest first."""
        return tuple(
            _record(row) for row in self._rows(_SELECT + "WHERE settled_s >= ? ORDER BY settled_s", (since_s,))
        )

    def oldest_waiting_s(self) -> float:
        """For how many seconds the oldest waiting job has waited; 0 where none does."""
        ((submitted_s,),) = self._rows("SELECT MIN(submitted_s) FROM jobs WHERE state = 'waiting'", ())
        return 0.0 if submitted_s is None else max(0.0, self._clock() - submitted_s)

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        counts: dict[JobState, int] = dict.fromkeys(("waiting", "running", *SETTLED), 0)
        counts.update(dict(self._rows("SELECT state, COUNT(*) FROM jobs GROUP BY state", ())))
        return counts

    def due_in_s(self) -> float | None:
        """Seconds until a job may be claimed: 0 when one may be now, None when all are settled."""
        rows = self._rows(
            "SELECT MIN(CASE state WHEN 'waiting' THEN due_s ELSE lease_ends_s END) FROM jobs "
            "WHERE state IN ('waiting', 'running')",
            (),
        )
        due_s: float | None = rows[0][0]
        return None if due_s is None else max(0.0, due_s - self._clock())

    def _prepare(self) -> None:
        # FULL makes a finished job survive a power cut too; it costs one flush a change, and jobs take seconds.
        use_write_ahead_log(self._database)
        self._database.execute("PRAGMA synchronous = FULL")
        with self._change() as database:
            (found,) = database.execute("PRAGMA user_version").fetchone()
            (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'").fetchone()
            if found == 0 and tables == 0:
                for statement in _TABLES.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {FORMAT}")
            elif found in (1, 2):
                for statement in (_SINCE_1, _SINCE_2)[found - 1 :]:
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {FORMAT}")
            elif found != FORMAT:
                raise InputError(
                    f"{self.path} is no queue of this medseg: its format is {found}, {FORMAT} is meant. "
                    "Choose another output folder, or remove the file to begin anew."
                )

    def _missed(self, database: sqlite3.Connection, token: str, worker: str, *, is_spared: bool) -> None:
        if is_gone(worker):
            database.execute(
                "UPDATE jobs SET state = 'waiting', token = NULL, lease_ends_s = NULL WHERE token = ?", (token,)
            )
        elif is_alive(worker) and not is_spared:
            ends_s = self._clock() + self.limits.lease_s
            database.execute("UPDATE jobs SET lease_ends_s = ?, is_spared = 1 WHERE token = ?", (ends_s, token))
        else:
            self._fail(database, token, f"its worker {worker} fell silent for {self.limits.lease_s:g} s")

    def _fail(self, database: sqlite3.Connection, token: str, reason: str, *, is_final: bool = False) -> bool:
        row = database.execute("SELECT id, failures FROM jobs WHERE token = ?", (token,)).fetchone()
        if row is None:
            return False
        job_id, failures = row[0], row[1] + 1
        now = self._clock()
        is_over = is_final or failures >= self.limits.failures
        due_s = now + min(self.limits.longest_pause_s, self.limits.pause_s * 4.0 ** min(failures - 1, 30))
        database.execute(
            "UPDATE jobs SET state = ?, failures = ?, reason = ?, due_s = ?, settled_s = ?, token = NULL, "
            "lease_ends_s = NULL WHERE id = ?",
            ("quarantined" if is_over else "waiting", failures, reason, due_s, now if is_over else None, job_id),
        )
        return True

    def _rows(self, query: str, arguments: Iterable[object]) -> list[Any]:
        with self._clear_errors():
            return self._database.execute(query, tuple(arguments)).fetchall()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other process comes between; undone when the block fails."""
        with self._clear_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the queue {self.path} cannot be used: {error}. Is the disk full, the folder removed or not writable, "
                "the file damaged, or on a network drive that cannot lock? Choose another output folder."
            ) from error
        except OSError as error:
            raise InputError(f"the queue {self.path} cannot be opened ({error.strerror}).") from error


def _record(row: tuple[Any, ...]) -> JobRecord:
    job, priority, state, starts, failures, worker, reason, result, submitted_s, settled_s = row
    return JobRecord(
        job=Job.model_validate_json(job),
        priority=priority,
        state=state,
        starts=starts,
        failures=failures,
        worker=worker,
        reason=reason,
        result=None if result is None else json.loads(result),
        submitted_s=submitted_s,
        settled_s=settled_s,
    )
