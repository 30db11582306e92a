import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.jobs.job import Claim, Job
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.worker_name import worker_name

LIMITS = Limits(failures=3, pause_s=1.0, lease_s=60.0)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[Queue]:
    with Queue(tmp_path / "below" / "queue.sqlite", LIMITS, clock) as queue:
        yield queue


def job(n: int) -> Job:
    return Job(workflow="segment", arguments={"n": n})


def claimed(queue: Queue, worker: str = "w") -> Claim:
    claim = queue.claim(worker)
    assert claim is not None
    return claim


def states(queue: Queue) -> dict[str, int]:
    return {state: count for state, count in queue.counts().items() if count}


def test_a_queue_that_is_held_is_read_but_not_changed_by_others(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.jobs.queue._BUSY_TIMEOUT_S", 0.0)
    queue.submit([job(1)])
    with Queue(queue.path) as other:
        with queue.held():
            assert states(queue) == states(other) == {"waiting": 1}
            with pytest.raises(InputError, match="database is locked"):
                other.claim("w")
        claimed(other)


class TestSubmit:
    def test_the_same_job_twice_is_one(self, queue: Queue) -> None:
        assert queue.submit([job(1), job(2), job(1)]) == 2
        assert queue.submit([job(2), job(3)]) == 1
        assert [record.job for record in queue.records()] == [job(1), job(2), job(3)]

    def test_a_job_that_is_done_stays_done(self, queue: Queue) -> None:
        queue.submit([job(1)])
        queue.finish(claimed(queue), "result")
        assert queue.submit([job(1)]) == 0
        assert states(queue) == {"done": 1}

    def test_all_or_none(self, queue: Queue) -> None:
        def jobs() -> Iterator[Job]:
            yield job(1)
            raise KeyError

        with pytest.raises(KeyError):
            queue.submit(jobs())
        assert queue.records() == ()

    def test_jobs_survive_the_process(self, queue: Queue) -> None:
        queue.submit([job(1)])
        queue.close()
        with Queue(queue.path) as again:
            assert [record.job for record in again.records("waiting")] == [job(1)]


class TestClaim:
    def test_takes_jobs_in_their_order(self, queue: Queue) -> None:
        queue.submit([job(1), job(2)])
        assert [claimed(queue).job, claimed(queue).job] == [job(1), job(2)]
        assert queue.claim("w") is None
        assert states(queue) == {"running": 2}

    def test_of_nothing_is_none(self, queue: Queue) -> None:
        assert queue.claim("w") is None

    def test_is_recorded(self, queue: Queue) -> None:
        queue.submit([job(1)])
        claimed(queue, "w7")
        record = queue.record(job(1).id)
        assert record is not None
        assert (record.state, record.worker, record.starts, record.failures) == ("running", "w7", 1, 0)
        assert queue.record("none") is None

    def test_of_many_workers_at_once_gives_each_job_to_one(self, queue: Queue) -> None:
        queue.submit(job(n) for n in range(120))
        taken: list[str] = []

        def take(name: str) -> None:
            with Queue(queue.path, LIMITS) as own:
                while (claim := own.claim(name)) is not None:
                    taken.append(claim.job.id)
                    assert own.finish(claim)

        threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == len(set(taken)) == 120
        assert states(queue) == {"done": 120}


class TestFinish:
    def test_keeps_the_result(self, queue: Queue) -> None:
        queue.submit([job(1)])
        assert queue.finish(claimed(queue), {"seconds": 1.5, "warnings": ["ü"]})
        (record,) = queue.records("done")
        assert record.result == {"seconds": 1.5, "warnings": ["ü"]}
        assert record.settled_s == 1000.0

    def test_a_second_time_is_refused(self, queue: Queue) -> None:
        queue.submit([job(1)])
        claim = claimed(queue)
        assert queue.finish(claim, 1)
        assert not queue.finish(claim, 2)
        assert not queue.fail(claim, "late")
        assert queue.records()[0].result == 1

    def test_by_a_worker_whose_lease_ended_is_refused(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        late = claimed(queue, "late")
        clock.now_s += 61
        assert queue.claim("early") is None  # the silence counts as a failure, after which the job waits a second
        clock.now_s += 1
        early = claimed(queue, "early")
        assert not queue.finish(late, "late")
        assert not queue.heartbeat(late)
        assert queue.finish(early, "early")
        (record,) = queue.records()
        assert (record.result, record.starts, record.failures) == ("early", 2, 1)

    def test_forgets_the_reason_of_earlier_failures(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        queue.fail(claimed(queue), "the disk was full")
        clock.now_s += 1
        queue.finish(claimed(queue))
        assert queue.records()[0].reason is None


class TestHeartbeat:
    def test_keeps_a_claim(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        claim = claimed(queue)
        for _ in range(5):
            clock.now_s += 59
            assert queue.heartbeat(claim)
            assert queue.claim("other") is None
        assert queue.finish(claim)

    def test_a_silent_worker_fails_with_its_name(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        claimed(queue, "w7")
        clock.now_s += 60.5
        queue.claim("other")
        assert queue.records()[0].reason == "its worker w7 fell silent for 60 s"

    def test_a_live_process_of_this_machine_gets_a_second_lease_and_no_third(self, queue: Queue, clock: Clock) -> None:
        """A machine that slept wakes with every lease over, and whose process looks first is luck."""
        queue.submit([job(1)])
        claim = claimed(queue, worker_name(os.getpid()))
        clock.now_s += 3600
        assert queue.claim("other") is None
        assert queue.heartbeat(claim)
        clock.now_s += 3600
        assert queue.claim("other") is None, "it has moved since: spared anew"
        clock.now_s += 60.5
        with Queue(queue.path, queue.limits, clock) as another:  # each worker asks through its own
            another.claim("another")
        assert "fell silent for 60 s" in str(queue.records()[0].reason)
        assert not queue.heartbeat(claim)

    def test_what_a_killed_engine_left_is_no_failure_of_the_job(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        host, pid, started = worker_name(os.getpid()).split(":")
        claimed(queue, f"{host}:{pid}:{int(started) - 1}")  # a process of that number that is gone
        clock.now_s += 60.5
        assert claimed(queue, "other").job == job(1)
        assert queue.records()[0].failures == 0


class TestFail:
    def test_waits_longer_each_time_and_is_set_aside_after_the_third(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1), job(2)])
        for pause_s in (1.0, 4.0):
            assert queue.fail(claimed(queue), "the scan has a gap")
            if pause_s == 1.0:
                queue.finish(claimed(queue))  # the other job goes on meanwhile
            assert queue.due_in_s() == pause_s
            clock.now_s += pause_s - 0.01
            assert queue.claim("w") is None
            clock.now_s += 0.01
        queue.fail(claimed(queue), "the scan has a gap")
        (record,) = queue.records("quarantined")
        assert (record.job, record.reason, record.failures, record.starts) == (job(1), "the scan has a gap", 3, 3)
        assert queue.due_in_s() is None

    def test_a_lost_worker_counts_as_one(self, queue: Queue) -> None:
        queue.submit([job(1), job(2)])
        claimed(queue, "dead")
        claimed(queue, "alive")
        assert queue.lose_worker("dead", "killed by SIGKILL") == 1
        dead, alive = queue.records()
        assert (dead.state, dead.failures, dead.reason) == ("waiting", 1, "killed by SIGKILL")
        assert alive.state == "running"

    def test_a_change_that_breaks_in_the_middle_is_undone(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        queue.submit([job(1), job(2)])
        claimed(queue, "dead")
        claimed(queue, "dead")
        fail, calls = queue._fail, []

        def breaks(database: sqlite3.Connection, token: str, reason: str, *, is_final: bool = False) -> bool:
            calls.append(token)
            if len(calls) == 2:
                raise KeyError
            return fail(database, token, reason)

        monkeypatch.setattr(queue, "_fail", breaks)
        with pytest.raises(KeyError):
            queue.lose_worker("dead", "killed")
        assert states(queue) == {"running": 2}

    def test_released_jobs_count_as_none(self, queue: Queue) -> None:
        queue.submit([job(1), job(2)])
        gone, alive = claimed(queue, "gone"), claimed(queue, "alive")
        assert queue.release(lambda worker: worker == "gone") == 1
        assert not queue.finish(gone)
        assert queue.finish(alive)
        assert queue.records("waiting")[0].failures == 0
        assert claimed(queue).job == gone.job

    def test_a_retry_begins_anew(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        for _ in range(3):
            queue.fail(claimed(queue), "full")
            clock.now_s += 100
        assert queue.retry() == 1
        assert queue.records()[0].failures == 0
        assert queue.finish(claimed(queue))
        assert queue.retry() == 0

    def test_that_is_final_sets_aside_at_once(self, queue: Queue) -> None:
        queue.submit([job(0)])
        assert queue.fail(claimed(queue), "one slice only", is_final=True)
        assert states(queue) == {"quarantined": 1}


class TestPostpone:
    def test_waits_without_a_failure_the_longer_the_older(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(0)])
        for age_s, pause_s in ((0.0, queue.limits.pause_s), (100.0, 10.0), (1e6, queue.limits.longest_pause_s)):
            clock.now_s = max(clock.now_s, 1000.0 + age_s)
            assert queue.postpone(claimed(queue), "the archive did not answer")
            (record,) = queue.records("waiting")
            assert (record.failures, record.reason) == (0, "the archive did not answer")
            assert queue.due_in_s() == pytest.approx(pause_s, rel=0.1)
            clock.now_s += pause_s * 1.1
        assert not queue.postpone(Claim(job(0), "w", "lost"), "")

    def test_patience_ends_and_a_retry_begins_anew(self, tmp_path: Path, clock: Clock) -> None:
        with Queue(tmp_path / "queue.sqlite", Limits(pause_s=1.0, patience_s=3600.0), clock) as queue:
            queue.submit([job(0)])
            clock.now_s += 3601.0
            assert queue.postpone(claimed(queue), "the archive did not answer")
            assert states(queue) == {"quarantined": 1}
            queue.retry()
            assert queue.postpone(claimed(queue), "the archive did not answer")
            assert states(queue) == {"waiting": 1}

    def test_a_clock_that_was_put_back_delays_nothing(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(0)])
        queue.postpone(claimed(queue), "later")
        clock.now_s -= 3600.0
        assert queue.claim("w") is not None


class TestPriority:
    def test_higher_ones_are_claimed_first(self, queue: Queue) -> None:
        queue.submit([job(0), job(1)])
        queue.submit([job(2)], priority=1)
        assert [claimed(queue).job.arguments["n"] for _ in range(3)] == [2, 0, 1]

    @pytest.mark.parametrize(("before", "lacks"), [(1, ("priority", "is_spared")), (2, ("is_spared",))])
    def test_a_queue_of_a_format_before_keeps_its_jobs(
        self, tmp_path: Path, before: int, lacks: tuple[str, ...]
    ) -> None:
        with Queue(tmp_path / "old.sqlite") as queue:
            queue.submit([job(0)])
        old = sqlite3.connect(tmp_path / "old.sqlite", isolation_level=None)
        for column in lacks:
            old.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        old.execute(f"PRAGMA user_version = {before}")
        old.close()
        with Queue(tmp_path / "old.sqlite") as queue:
            queue.submit([job(1)], priority=1)
            assert [record.priority for record in queue.records()] == [0, 1]


class TestCancel:
    def test_takes_back_what_waits(self, queue: Queue) -> None:
        queue.submit([job(1)])
        assert queue.cancel(job(1).id)
        assert queue.claim("w") is None
        assert states(queue) == {"cancelled": 1}
        assert queue.retry() == 1

    def test_leaves_what_runs_or_is_settled(self, queue: Queue) -> None:
        queue.submit([job(1)])
        claim = claimed(queue)
        assert not queue.cancel(job(1).id)
        queue.finish(claim)
        assert not queue.cancel(job(1).id)
        assert not queue.cancel("none")

    def test_a_job_that_runs_is_withdrawn_and_cannot_finish(self, queue: Queue) -> None:
        queue.submit([job(1), job(2)])
        claim = claimed(queue)
        assert queue.withdraw(job(1).id)
        assert not queue.heartbeat(claim)
        assert not queue.finish(claim)
        assert not queue.withdraw(job(1).id)
        assert states(queue) == {"waiting": 1, "cancelled": 1}

    def test_one_job_is_tried_again_and_no_other(self, queue: Queue) -> None:
        queue.submit([job(1), job(2)])
        assert queue.withdraw(job(1).id)
        assert queue.withdraw(job(2).id)
        assert queue.retry(job(2).id) == 1
        assert states(queue) == {"waiting": 1, "cancelled": 1}
        assert queue.retry("none") == 0


class TestDue:
    def test_of_an_empty_queue_is_none(self, queue: Queue) -> None:
        assert queue.due_in_s() is None

    def test_of_a_waiting_job_is_now(self, queue: Queue) -> None:
        queue.submit([job(1)])
        assert queue.due_in_s() == 0.0

    def test_of_a_running_job_is_the_end_of_its_lease(self, queue: Queue, clock: Clock) -> None:
        queue.submit([job(1)])
        claimed(queue)
        clock.now_s += 20
        assert queue.due_in_s() == 40.0


WRITER = """
import itertools, pathlib, sys
from medseg.jobs.job import Job
from medseg.jobs.queue import Queue, Limits
with Queue(pathlib.Path(sys.argv[1]), Limits(lease_s=0.001, pause_s=0.0, failures=10**6)) as queue:
    print("open", flush=True)
    for n in itertools.count():
        queue.submit([Job(workflow="w", arguments={"n": [sys.argv[2], n, part]}) for part in range(3)])
        claim = queue.claim("w")
        if claim: queue.finish(claim, claim.job.arguments)
"""


def test_kill_9_leaves_whole_changes(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    moments = random.Random(2026)
    for number in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        time.sleep(moments.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with Queue(path) as queue:
            counts = queue.counts()
            assert sum(counts.values()) % 3 == 0  # jobs were submitted three at a time
            for record in queue.records("done"):
                assert record.result == record.job.arguments
            assert counts["running"] <= 1
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


class TestRefused:
    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "queue.sqlite").write_bytes(b"text" * 1000)
        with pytest.raises(InputError, match="cannot be used: file is not a database"):
            Queue(tmp_path / "queue.sqlite")

    @pytest.mark.parametrize("statement", ["CREATE TABLE other (x)", "PRAGMA user_version = 99"])
    def test_a_database_of_something_else(self, statement: str, tmp_path: Path) -> None:
        database = sqlite3.connect(tmp_path / "queue.sqlite")
        database.execute(statement)
        database.commit()
        database.close()
        with pytest.raises(InputError, match="is no queue of this medseg"):
            Queue(tmp_path / "queue.sqlite")

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="unable to open database file"):
            Queue(tmp_path)

    def test_a_file_in_place_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(InputError, match="cannot be opened"):
            Queue(tmp_path / "taken" / "queue.sqlite")

    def test_a_disk_that_fills_up(self, tmp_path: Path) -> None:
        writer = subprocess.run(
            [sys.executable, "-c", WRITER, str(tmp_path / "queue.sqlite"), "0"],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
        )
        assert "InputError: the queue" in writer.stderr
        with Queue(tmp_path / "queue.sqlite") as queue:
            assert sum(queue.counts().values()) % 3 == 0


class TestForget:
    def test_removes_what_does_not_run(self, queue: Queue) -> None:
        queue.submit([job(1), job(2), job(3)])
        queue.finish(claimed(queue))
        claimed(queue)
        assert queue.forget([job(n).id for n in (1, 2, 3, 4)]) == 2
        assert [record.job for record in queue.records()] == [job(2)]


class TestGiveBack:
    def test_lets_the_job_wait_again_without_a_failure(self, queue: Queue) -> None:
        queue.submit([job(1)])
        claim = claimed(queue)
        assert queue.give_back(claim)
        assert (queue.records()[0].state, queue.records()[0].failures) == ("waiting", 0)
        assert not queue.finish(claim), "the claim is no longer one"
        assert not queue.give_back(claim)
        assert claimed(queue).job == job(1)
