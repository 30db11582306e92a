"""The local engine with real processes: what is loaded once, what fails, what dies, what is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_work import Work

from medseg.core.errors import InputError
from medseg.jobs.cores import usable_cores
from medseg.jobs.job import Job, JobRecord, JobState
from medseg.jobs.local_engine import LocalEngine, LocalEngineConfig
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.worker_name import is_gone, worker_name

LIMITS = Limits(failures=3, pause_s=0.01, lease_s=30.0)
MakeEngine = Callable[..., LocalEngine]


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[MakeEngine]:
    made: list[LocalEngine] = []

    def make(workers: int = 1, fails_to_start: str = "") -> LocalEngine:
        config = LocalEngineConfig(workers=workers, threads=1)
        made.append(config.build(tmp_path / "queue.sqlite", Work(tmp_path / "log", fails_to_start), LIMITS))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def jobs(workflow: str, count: int, seconds: float = 0.0) -> list[Job]:
    return [Job(workflow=workflow, arguments={"n": n, "seconds": seconds}) for n in range(count)]


def lines(tmp_path: Path, kind: str) -> list[str]:
    return [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(kind)]


def record(tmp_path: Path, job: Job) -> JobRecord:
    with Queue(tmp_path / "queue.sqlite") as queue:
        found = queue.record(job.id)
    assert found is not None
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


two_cores = pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")


@two_cores
def test_every_job_is_done_once_and_each_worker_loaded_once(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(workers=2)
    assert engine.submit(jobs("write", 12, seconds=0.02)) == 12
    seen: list[dict[JobState, int]] = []
    counts = engine.run(seen.append)
    assert counts["done"] == 12
    assert sorted(lines(tmp_path, "run")) == sorted(f"run {n}" for n in range(12))
    assert lines(tmp_path, "start") == ["start 1"] * 2
    assert len(list((tmp_path / "out").iterdir())) == 12
    assert seen[-1] == counts


def test_a_second_run_does_nothing_twice(make_engine: MakeEngine, tmp_path: Path) -> None:
    for _ in range(2):
        engine = make_engine()
        engine.submit(jobs("write", 3))
        assert engine.run()["done"] == 3
    assert len(lines(tmp_path, "run")) == 3
    assert len(lines(tmp_path, "start")) == 1, "where there is nothing to do, no model is loaded"


@pytest.mark.parametrize(
    ("workflow", "reason"),
    [
        ("refuse", "the scan has a gap of 10 mm"),
        ("break", "ZeroDivisionError: a bug"),
        ("exhaust", "the memory did not suffice (MemoryError)"),
    ],
)
def test_a_job_that_fails_is_set_aside_with_its_reason_and_the_rest_goes_on(
    workflow: str, reason: str, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    bad = Job(workflow=workflow)
    engine.submit([bad, *jobs("write", 2)])
    counts = engine.run()
    assert (counts["done"], counts["quarantined"]) == (2, 1)
    found = record(tmp_path, bad)
    assert (found.reason, found.starts) == (reason, 3)
    assert len(lines(tmp_path, "start")) == 1, "a failure of a job is none of its worker"


@pytest.mark.parametrize(
    ("workflow", "reason"),
    [
        ("die", "its worker process was killed by SIGKILL (out of memory?)"),
        ("exit", "its worker process ended with exit code 7"),
    ],
)
def test_a_job_that_kills_its_worker_is_set_aside_and_the_rest_goes_on(
    workflow: str, reason: str, make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    deadly = Job(workflow=workflow)
    engine.submit([deadly, *jobs("write", 2)])
    counts = engine.run()
    assert (counts["done"], counts["quarantined"]) == (2, 1)
    assert record(tmp_path, deadly).reason == reason
    assert 3 <= len(lines(tmp_path, "start")) <= 4


def test_a_model_that_cannot_be_loaded_is_told_and_no_job_is_blamed(make_engine: MakeEngine) -> None:
    engine = make_engine(fails_to_start="told")
    engine.submit(jobs("write", 2))
    with pytest.raises(InputError, match="the model was altered"):
        engine.run()
    assert engine.status()["waiting"] == 2


def test_workers_that_die_while_loading_are_not_started_for_ever(make_engine: MakeEngine) -> None:
    engine = make_engine(fails_to_start="killed")
    engine.submit(jobs("write", 2))
    with pytest.raises(
        InputError, match=r"3 workers died while they were being loaded; the last was killed by SIGKILL"
    ):
        engine.run()
    assert engine.status()["waiting"] == 2


def test_threads_are_told_to_libraries_and_to_the_worker(tmp_path: Path) -> None:
    cores = usable_cores()
    engine = LocalEngineConfig().build(tmp_path / "queue.sqlite", Work(tmp_path / "log"), LIMITS)
    job = Job(workflow="threads")
    engine.submit([job])
    engine.run()
    engine.close()
    assert record(tmp_path, job).result == str(cores)
    assert lines(tmp_path, "start") == [f"start {cores}"]


def test_more_workers_than_cores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and there are"):
        LocalEngineConfig(workers=usable_cores() + 1, threads=1).build(tmp_path / "q", Work(tmp_path / "log"))


def test_a_stop_lets_the_running_job_end_and_the_others_wait(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.submit(jobs("write", 20, seconds=0.1))

    def stop(counts: dict[JobState, int]) -> None:
        if counts["done"]:
            engine.stop()

    counts = engine.run(stop)
    assert counts["running"] == 0
    assert 0 < counts["done"] < 20
    assert counts["waiting"] == 20 - counts["done"]
    assert engine.run()["done"] == 20


def test_ctrl_c_is_a_stop(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    engine.submit(jobs("write", 20, seconds=0.1))
    pressed: list[int] = []

    def press(counts: dict[JobState, int]) -> None:
        if counts["running"] and not pressed:
            pressed.append(1)
            raise KeyboardInterrupt

    counts = engine.run(press)
    assert counts["running"] == 0
    assert counts["waiting"] > 0
    assert counts["done"] == len(lines(tmp_path, "run")), "what was begun was finished"


def test_ctrl_c_twice_ends_at_once_and_the_job_waits_for_the_next_run(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.submit(jobs("write", 1, seconds=60.0))

    def press(counts: dict[JobState, int]) -> None:
        if counts["running"]:
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        engine.run(press)
    assert time.monotonic() - begin < 20
    assert engine.status()["waiting"] == 1
    (found,) = Queue(engine._queue.path).records()
    assert found.failures == 0


def test_a_removed_queue_is_told(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    engine.submit(jobs("write", 3, seconds=0.3))

    def remove(counts: dict[JobState, int]) -> None:
        if counts["running"]:
            (tmp_path / "queue.sqlite").unlink(missing_ok=True)

    with pytest.raises(InputError, match=r"was removed while its jobs ran|cannot be used"):
        engine.run(remove)


def test_a_waiting_job_can_be_taken_back(make_engine: MakeEngine) -> None:
    engine = make_engine()
    first, second = jobs("write", 2)
    engine.submit([first, second])
    assert engine.cancel(second.id)
    counts = engine.run()
    assert (counts["done"], counts["cancelled"]) == (1, 1)


@two_cores
def test_workers_that_stay_wait_for_more_and_what_is_postponed_is_done_in_the_end(tmp_path: Path) -> None:
    when = tmp_path / "when"
    later = Job(workflow="later", arguments={"when": str(when)})
    hopeless = Job(workflow="hopeless")
    config = LocalEngineConfig(workers=1, threads=1, stay=True)
    engine = config.build(tmp_path / "queue.sqlite", Work(tmp_path / "log"), LIMITS)
    late, ready = jobs("write", 1), list[int]()

    def look(states: dict[JobState, int]) -> None:
        with Queue(tmp_path / "queue.sqlite", LIMITS) as queue:
            if not queue.records():
                queue.submit([later, hopeless])
            elif states["quarantined"] == 1 and (found := queue.record(later.id)) and found.starts > 3:
                when.touch()
            if states["done"] == 1:
                ready.append(engine.ready_workers)
                queue.submit(late)
        if states["done"] == 2:
            engine.stop()

    engine.run(look)
    engine.close()
    assert ready[0] == 1
    assert record(tmp_path, later).failures == 0
    assert (record(tmp_path, hopeless).state, record(tmp_path, hopeless).starts) == ("quarantined", 1)
    assert lines(tmp_path, "start") == ["start 1"]


@pytest.mark.parametrize(
    ("limit", "job", "reason"),
    [
        ({"memory_gb": 1.0}, Job(workflow="grow"), "used more than the 1 GB of memory that it may"),
        ({"most_minutes": 0.001}, jobs("write", 1, 60.0)[0], "took longer than the 0.001 minutes that it may"),
    ],
)
def test_a_worker_that_outgrows_its_limits_is_killed_and_says_so(
    limit: dict[str, float], job: Job, reason: str, tmp_path: Path
) -> None:
    config = LocalEngineConfig.model_validate({"workers": 1, "threads": 1, **limit})
    engine = config.build(tmp_path / "queue.sqlite", Work(tmp_path / "log"), Limits(failures=1))
    engine.submit([job])
    assert engine.run()["quarantined"] == 1
    engine.close()
    assert record(tmp_path, job).reason == f"its worker process {reason}"


def test_two_engines_share_a_queue(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    engine.submit(jobs("write", 30, seconds=0.05))
    program = [sys.executable, str(Path(__file__).with_name("chaos_parent.py")), str(tmp_path), "0"]
    other = subprocess.Popen(program, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    engine.run()
    assert other.wait() == 0
    assert Counter(lines(tmp_path, "run")) == Counter(f"run {n}" for n in range(30))


def test_workers_die_with_their_engine(tmp_path: Path) -> None:
    program = [
        sys.executable,
        str(Path(__file__).with_name("chaos_parent.py")),
        str(tmp_path),
        "3000",
    ]  # far more than are done before the end
    parent = subprocess.Popen(program, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    deadline = time.monotonic() + 20
    workers: set[str] = set()
    while not workers and time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "queue.sqlite").exists():
            with Queue(tmp_path / "queue.sqlite") as queue:
                workers = {found.worker for found in queue.records("running") if found.worker}
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert workers
    while not all(is_gone(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(is_gone(worker) for worker in workers)


def test_what_a_killed_engine_left_behind_is_taken_up_at_once(make_engine: MakeEngine, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = worker_name(process.pid)
    (job,) = jobs("write", 1)
    with Queue(tmp_path / "queue.sqlite", Limits(lease_s=3600.0)) as queue:
        queue.submit([job])
        assert queue.claim(name)
    begin = time.monotonic()
    assert make_engine().run()["done"] == 1
    assert time.monotonic() - begin < 60
    assert record(tmp_path, job).failures == 0


class TestNames:
    def test_of_a_living_process_is_not_gone(self) -> None:
        assert not is_gone(worker_name(os.getpid()))

    def test_of_a_later_process_with_the_same_number_is_gone(self) -> None:
        host, pid, started = worker_name(os.getpid()).split(":")
        assert is_gone(f"{host}:{pid}:{int(started) - 1}")

    def test_of_a_dead_process_is_gone(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            name = worker_name(process.pid)
            assert not is_gone(name)
        assert is_gone(name)

    @pytest.mark.parametrize("name", ["elsewhere:1:2", "w", "", "a:b:c"])
    def test_of_another_machine_is_never_gone_for_certain(self, name: str) -> None:
        assert not is_gone(name)
