"""Workers and parents killed (-9) at random moments: at the end every job was done once, and every output is whole."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from medseg.jobs.job import JobState
from medseg.jobs.queue import Queue

JOBS = 40
KILLS = 14
LONGEST_S = 60.0
PARENT = Path(__file__).with_name("chaos_parent.py")


def start(folder: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, str(PARENT), str(folder), str(JOBS)], env=os.environ | {"PYTHONPATH": path}
    )


def busy_workers(queue: Queue) -> list[int]:
    """Numbers of the processes that hold a job, on this machine."""
    names = [record.worker for record in queue.records("running") if record.worker]
    return [int(name.split(":")[1]) for name in names if name.split(":")[0] == socket.gethostname()]


def watch_finishes(path: Path) -> None:
    """Have the database itself note each time that a job becomes done."""
    with closing(sqlite3.connect(path, timeout=30)) as database:
        database.execute("CREATE TABLE finishes (id TEXT)")
        database.execute(
            "CREATE TRIGGER note AFTER UPDATE OF state ON jobs WHEN NEW.state = 'done' "
            "BEGIN INSERT INTO finishes VALUES (NEW.id); END"
        )
        database.commit()


def test_every_job_is_done_exactly_once(tmp_path: Path) -> None:
    moments = random.Random(2026)
    with Queue(tmp_path / "queue.sqlite") as queue:
        watch_finishes(queue.path)
        parent = start(tmp_path)
        killed: list[str] = []
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            time.sleep(moments.uniform(0.0, 0.4))
            if parent.poll() is not None:
                if parent.returncode == 0:
                    break
                parent = start(tmp_path)
                continue
            busy = busy_workers(queue)
            if len(killed) >= KILLS or not busy:
                continue
            if len(killed) % 3 == 1:  # in turn, so that a loaded machine on which few moments come kills both too
                parent.send_signal(signal.SIGKILL)
                parent.wait()
                killed.append("parent")
            else:
                with suppress(ProcessLookupError):
                    os.kill(moments.choice(busy), signal.SIGKILL)
                killed.append("worker")
        assert parent.wait(timeout=LONGEST_S) == 0
        counts: dict[JobState, int] = queue.counts()
        records = queue.records()
    assert counts["done"] == JOBS == sum(counts.values())
    assert {"parent", "worker"} <= set(killed), "the test must have killed both"
    with closing(sqlite3.connect(tmp_path / "queue.sqlite")) as database:
        finishes = [job_id for (job_id,) in database.execute("SELECT id FROM finishes")]
    assert sorted(finishes) == sorted(record.job.id for record in records)
    outputs = {
        path.name: path.read_text() for path in (tmp_path / "out").glob("*.txt") if not path.name.startswith(".")
    }
    assert outputs == {f"{n}.txt": "x" * 10_000 for n in range(JOBS)}
