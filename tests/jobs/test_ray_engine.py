"""The Ray engine on a real cluster of two nodes on this machine, one of them killed in the middle."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_work import Work

from medseg.core.errors import InputError
from medseg.jobs.job import Job, JobState
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.ray_cluster import places
from medseg.jobs.ray_engine import RayEngine, RayEngineConfig

pytest.importorskip("ray", reason="ray is not installed: pip install 'medseg[ray]'")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)

LIMITS = Limits(failures=3, pause_s=0.01, lease_s=30.0)
SMALL = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    from ray.cluster_utils import Cluster

    # A node that is gone refuses connections: asked often, it is found out soon, and a busy one still has its time.
    asked = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
    head = {**SMALL, "include_dashboard": False, "_system_config": asked}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


@pytest.fixture
def engine(cluster: Any, tmp_path: Path) -> Iterator[RayEngine]:
    made = RayEngineConfig(address=cluster.address).build(tmp_path / "queue.sqlite", Work(tmp_path / "log"), LIMITS)
    yield made
    made.close()


def jobs(workflow: str, count: int, seconds: float = 0.0) -> list[Job]:
    return [Job(workflow=workflow, arguments={"n": n, "seconds": seconds}) for n in range(count)]


def lines(tmp_path: Path, kind: str) -> list[str]:
    return [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(kind)]


def reasons(tmp_path: Path) -> dict[str, str | None]:
    with Queue(tmp_path / "queue.sqlite") as queue:
        return {record.job.workflow: record.reason for record in queue.records("quarantined")}


def test_jobs_are_done_fail_and_kill_their_worker_as_with_any_engine(engine: RayEngine, tmp_path: Path) -> None:
    engine.submit([Job(workflow="refuse"), *jobs("write", 6), Job(workflow="die")])
    counts = engine.run()
    assert (counts["done"], counts["quarantined"]) == (6, 2)
    found = reasons(tmp_path)
    assert found["refuse"] == "the scan has a gap of 10 mm"
    assert (found["die"] or "").startswith(f"its worker on {socket.gethostname()} died")
    assert Counter(lines(tmp_path, "run")) == Counter([f"run {n}" for n in range(6)] + ["run None"] * 6)
    assert len(lines(tmp_path, "start")) <= 4, "the model is loaded once a worker, and again only for one that died"
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_a_node_that_is_lost_loses_no_job_and_none_is_blamed(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(**SMALL)
    cluster.wait_for_nodes()
    made = RayEngineConfig(address=cluster.address).build(tmp_path / "queue.sqlite", Work(tmp_path / "log"), LIMITS)
    try:
        assert made.places == 2
        gate = tmp_path / "gate"
        made.submit(Job(workflow="write", arguments={"n": n, "seconds": 0.0, "until": str(gate)}) for n in range(8))

        killed: list[bool] = []

        def kill(counts: dict[JobState, int]) -> None:
            if not killed and counts["running"] == 2 and len(lines(tmp_path, "run")) == 2:
                cluster.remove_node(doomed, allow_graceful=False)
                killed.append(True)
            if killed and counts["running"] < 2:  # its job was taken back, and the other one still waits
                gate.touch()

        (tmp_path / "log").touch()
        counts = made.run(kill)
    finally:
        made.close()
    assert counts == {"done": 8, "waiting": 0, "running": 0, "quarantined": 0, "cancelled": 0}
    with Queue(tmp_path / "queue.sqlite") as queue:
        records = queue.records()
    assert all(record.failures == 0 for record in records)
    assert sum(record.starts for record in records) == 9, "one job was begun twice: the one that the node had"
    outputs = {path.name: path.read_text() for path in (tmp_path / "out").glob("[!.]*")}
    assert outputs == {f"{n}.txt": "x" * 10_000 for n in range(8)}


def test_a_worker_that_cannot_be_loaded_is_told_and_no_job_is_blamed(cluster: Any, tmp_path: Path) -> None:
    config = RayEngineConfig(address=cluster.address)
    made = config.build(tmp_path / "queue.sqlite", Work(tmp_path / "log", "told"), LIMITS)
    try:
        made.submit(jobs("write", 2))
        with pytest.raises(InputError, match="the model was altered"):
            made.run()
        assert made.status()["waiting"] == 2
    finally:
        made.close()


def test_more_than_any_node_has_is_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"room for a worker of 1000 threads.*the largest has 1 cores"):
        RayEngineConfig(address=cluster.address, threads=1000).build(tmp_path / "q.sqlite", Work(tmp_path / "log"))


ALONE = """
import sys
from pathlib import Path
from made_work import Work
from medseg.jobs.ray_engine import RayEngineConfig
folder = Path(sys.argv[1])
made = RayEngineConfig(threads=1, workers=1).build(folder / "queue.sqlite", Work(folder / "log"))
import ray
print(ray.get_runtime_context().gcs_address)
made.close()
assert not ray.is_initialized()
"""


def test_without_an_address_a_cluster_of_its_own_is_begun(cluster: Any, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() not in ("", cluster.address)


def test_ctrl_c_finishes_what_runs_and_leaves_the_rest(engine: RayEngine, tmp_path: Path) -> None:
    engine.submit(jobs("write", 20, seconds=0.2))

    def interrupt(counts: dict[JobState, int]) -> None:
        if counts["running"] and lines(tmp_path, "run") and not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    interrupted: list[bool] = []
    (tmp_path / "log").touch()
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # what a shell begins in the background ignores it
    try:
        counts = engine.run(interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert counts["running"] == 0
    assert counts["done"] + counts["waiting"] == 20
    assert 1 <= counts["done"] < 20
    assert engine.run()["done"] == 20


class TestAddress:
    @pytest.mark.parametrize("address", ["auto", "somewhere", "ray://head:10001", "host:", ":6379", "host:port"])
    def test_that_is_none(self, address: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no Ray cluster answers at .*that is not HOST:PORT"):
            RayEngineConfig(address=address).build(tmp_path / "q.sqlite", Work(tmp_path / "log"))

    def test_where_nothing_listens(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"no Ray cluster answers at 127.0.0.1:{port}: Connection refused\. Start"
        ):
            RayEngineConfig(address=f"127.0.0.1:{port}").build(tmp_path / "q.sqlite", Work(tmp_path / "log"))

    def test_where_something_else_listens(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                talk, _ = listener.accept()
                with talk:
                    talk.recv(100)
                    talk.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            answering = threading.Thread(target=answer, daemon=True)
            answering.start()
            with pytest.raises(InputError, match="what answers there is not Ray"):
                RayEngineConfig(address=f"127.0.0.1:{listener.getsockname()[1]}").build(
                    tmp_path / "q.sqlite", Work(tmp_path / "log")
                )
            answering.join()


def test_workers_fit_onto_the_nodes() -> None:
    nodes = {"a": {"CPU": 8.0, "GPU": 2.0}, "b": {"CPU": 4.0}, "c": {"CPU": 3.0, "GPU": 1.0}}
    assert places(nodes, 4, 0) == 3
    assert places(nodes, 4, 1) == 2
    assert places(nodes, 2, 1) == 3
    assert places({}, 1, 0) == 0


def test_a_missing_ray_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("medseg.core.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs ray.*pip install 'medseg\[ray\]'"):
        RayEngineConfig().build(tmp_path / "q.sqlite", Work(tmp_path / "log"))
