"""Ledger: what the service has seen and done, in one SQLite file that a kill at any moment leaves sound.

It holds UIDs, since they are asked for again; nothing else of a patient. Jobs stand in the queue, not here.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medseg.core.database import connected, make_tables, use_write_ahead_log
from medseg.workflows.service.places import SHORT

FORMAT = 1

_LOOKED_AT, _SETTLED, _ASKED_FOR = 0, 1, 2
"""How a study stands, in the column `is_settled`: somebody asked for it after it was settled, or while it was not."""

_TO_MEND = "to mend: "
"""Begins the names of such notes."""

Standing = Literal["passed over", "held", "released"]
"""Passed over for good, held until it is complete or somebody releases it, or released by somebody."""

_TABLES = """
CREATE TABLE IF NOT EXISTS studies (
  study_uid TEXT PRIMARY KEY, signature TEXT NOT NULL, since_s REAL NOT NULL, is_settled INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS series (
  study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, route TEXT NOT NULL, standing TEXT NOT NULL, reason TEXT NOT NULL,
  noted_s REAL NOT NULL, PRIMARY KEY (series_uid, route)
);
CREATE TABLE IF NOT EXISTS objects (
  sop_instance TEXT NOT NULL, series_uid TEXT NOT NULL, job_id TEXT NOT NULL, destination TEXT NOT NULL,
  kind TEXT NOT NULL, sent_s REAL NOT NULL, stored_s REAL, PRIMARY KEY (sop_instance, destination)
);
CREATE INDEX IF NOT EXISTS objects_by_series ON objects (series_uid);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL, noted_s REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class NotedSeries:
    """A series that became no job, and why."""

    study_uid: str
    series_uid: str
    route: str
    standing: Standing
    reason: str
    noted_s: float

    @property
    def name(self) -> str:
        """What people see of it."""
        return short_name(self.series_uid)


@dataclass(frozen=True, slots=True)
class Note:
    """The last word on something, such as the archive, and when it was written."""

    text: str
    noted_s: float


def short_name(uid: str) -> str:
    """A study or series as logs call it: the first digits of its UID's hash."""
    return hashlib.sha256(uid.encode()).hexdigest()[:SHORT]


class Ledger:
    """The ledger in one file; each call opens it for itself, so that any process and thread may ask.

    Every call raises InputError or StoreError where the file cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        with self._opened() as database:
            use_write_ahead_log(database)
            make_tables(database, _TABLES, FORMAT)

    def seen(self, study_uid: str, signature: str) -> tuple[float, bool]:
        """For how many seconds a study has looked like this, and whether it is settled so."""
        with self._opened() as database:
            now = self._clock()
            row = database.execute(
                "SELECT signature, since_s, is_settled FROM studies WHERE study_uid = ?", (study_uid,)
            ).fetchone()
            is_settled = row is not None and row[0] == signature and row[2] == _SETTLED
            if row is not None and row[0] == signature and row[1] <= now:
                database.execute(
                    "UPDATE studies SET is_settled = ? WHERE study_uid = ? AND is_settled = ?",
                    (_LOOKED_AT, study_uid, _ASKED_FOR),
                )
                return now - row[1], is_settled
            # new, changed, or seen in the future: the clock was put back, and the wait begins anew
            database.execute(
                "INSERT OR REPLACE INTO studies VALUES (?, ?, ?, ?)", (study_uid, signature, now, is_settled)
            )
            return 0.0, is_settled

    def settle(self, study_uid: str, signature: str) -> None:
        """Note that all that can be done for a study that looks like this is done or queued.

        Not where somebody has asked for it since it was `seen`: what was done was planned without knowing that.
        """
        with self._opened() as database:
            database.execute(
                "UPDATE studies SET is_settled = ? WHERE study_uid = ? AND signature = ? AND is_settled = ?",
                (_SETTLED, study_uid, signature, _LOOKED_AT),
            )

    def unsettle(self, study_uid: str) -> None:
        """Let a study be looked at again."""
        with self._opened() as database:
            database.execute("UPDATE studies SET is_settled = ? WHERE study_uid = ?", (_ASKED_FOR, study_uid))

    def note_series(self, study_uid: str, series_uid: str, route: str, standing: Standing, reason: str) -> None:
        """Write down why a series became no job; a series that somebody released stays so."""
        with self._opened() as database:
            database.execute(
                "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (series_uid, route) DO UPDATE SET "
                "standing = excluded.standing, reason = excluded.reason, noted_s = excluded.noted_s "
                "WHERE series.standing != 'released'",
                (study_uid, series_uid, route, standing, reason, self._clock()),
            )

    def forget_series(self, series_uid: str, route: str) -> None:
        """Take a series off: it became a job. That somebody released it stays known."""
        with self._opened() as database:
            database.execute(
                "DELETE FROM series WHERE series_uid = ? AND route IN (?, '') AND standing != 'released'",
                (series_uid, route),
            )

    def release(self, name: str | None = None) -> int:
        """Let held series be processed, or the one of that short name; how many there were."""
        held = [one for one in self.series("held") if name in (None, one.name)]
        with self._opened() as database, _transaction(database):
            for one in held:
                key = (one.series_uid, one.route)
                database.execute("UPDATE series SET standing = 'released' WHERE series_uid = ? AND route = ?", key)
                study = (_ASKED_FOR, one.study_uid)
                database.execute("UPDATE studies SET is_settled = ? WHERE study_uid = ?", study)
        return len(held)

    def series(self, *standings: Standing) -> tuple[NotedSeries, ...]:
        """The series that became no job, in these standings, the newest first."""
        marks = ", ".join("?" * len(standings))
        with self._opened() as database:
            rows = database.execute(
                f"SELECT * FROM series WHERE standing IN ({marks}) ORDER BY noted_s DESC",  # noqa: S608 - marks alone
                standings,
            ).fetchall()
        return tuple(NotedSeries(*row) for row in rows)

    def sending(self, job_id: str, destination: str, objects: Iterable[tuple[str, str, str]]) -> None:
        """Note objects (UID, series UID, format) before they are sent: they are ours, whatever happens then."""
        rows = [(uid, series, job_id, destination, kind, self._clock()) for uid, series, kind in objects]
        with self._opened() as database, _transaction(database):
            database.executemany(
                "INSERT OR IGNORE INTO objects (sop_instance, series_uid, job_id, destination, kind, sent_s) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )

    def stored(self, job_id: str, destination: str) -> None:
        """Note that a destination lists the objects of a job, or has committed itself to them."""
        with self._opened() as database:
            database.execute(
                "UPDATE objects SET stored_s = COALESCE(stored_s, ?) WHERE job_id = ? AND destination = ?",
                (self._clock(), job_id, destination),
            )

    def is_ours(self, series_uid: str) -> bool:
        """Whether a series is one that this service made."""
        with self._opened() as database:
            return (
                database.execute("SELECT 1 FROM objects WHERE series_uid = ? LIMIT 1", (series_uid,)).fetchone()
                is not None
            )

    def stored_count(self) -> int:
        """How many objects were stored, in all destinations together."""
        with self._opened() as database:
            (count,) = database.execute("SELECT COUNT(*) FROM objects WHERE stored_s IS NOT NULL").fetchone()
        return int(count)

    def note(self, name: str, text: str) -> None:
        """Write the last word on something; empty where it is well."""
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (name, text, self._clock()))

    def notes(self) -> dict[str, Note]:
        """The last word on each thing."""
        with self._opened() as database:
            rows = database.execute("SELECT name, text, noted_s FROM notes").fetchall()
        return {name: Note(text, noted_s) for name, text, noted_s in rows}

    def note_to_mend(self, archive: str, what: str, text: str) -> None:
        """Write why an archive will not be asked or stored in until a person mends something; empty where it is."""
        self.note(f"{_TO_MEND}{archive} {what}", text)

    def to_mend(self, archives: Collection[str]) -> tuple[str, ...]:
        """What a person must mend before these archives can be used again, each once."""
        notes = sorted(self.notes().items())
        names = tuple(f"{_TO_MEND}{archive} " for archive in archives)
        return tuple(dict.fromkeys(note.text for name, note in notes if name.startswith(names) and note.text))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with connected(self._path, f"the ledger {self._path}", FORMAT) as database:
            yield database


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
