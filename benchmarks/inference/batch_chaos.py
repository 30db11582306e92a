"""Batches whose workers and parents are killed (-9) at random moments: is every case done once, every output whole?

    python benchmarks/inference/batch_chaos.py [--runs 50] [--first 0] [--light]

Each run is `medseg batch` on 20 made scans of one window with the shipped model hippocampus_mr and two workers of one
thread. A worker is killed twice and the parent once, each at a random moment after its start, loading included; a
killed parent is begun again by the same command. Then, for each case: the database itself noted one end, the manifest
says done, the result folder holds its three files, and the mask is that of an undisturbed run, voxel for voxel.

Most of a run is the start of processes that load torch. With --light the same queue, engine and writers are used by a
parent and workers that load nothing: each job reads its scan and writes three files into a folder, a piece at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from medseg.core.atomic import discard_all_unfinished, whole_file, whole_folder
from medseg.jobs.engine import Run
from medseg.jobs.job import Job
from medseg.jobs.local_engine import LocalEngineConfig
from medseg.jobs.queue import Limits, Queue

CASES, MODEL = 20, "hippocampus_mr"
LONGEST_PAUSE_S = {False: 8.0, True: 1.5}
FILES = {"report.json", "segmentation.nii.gz", "findings.csv"}


@dataclass
class Found:
    """What was counted over all runs."""

    kills: Counter[str] = field(default_factory=Counter)
    cases: int = 0
    done_once: int = 0
    whole: int = 0
    left_over: int = 0
    begun: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="The seed of the first run.")
    parser.add_argument("--light", action="store_true", help="Without torch: the queue, engine and writers alone.")
    parser.add_argument("--parent", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parent:
        light_batch(*options.parent)
        return
    begin = time.perf_counter()
    found = Found()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(CASES):
            write_scan(folder / "in" / f"case_{number:02}.nii.gz", number)
        assert batch(folder / "in", folder / "calm", options.light).wait() == 0
        for seed in range(options.first, options.first + options.runs):
            disturb(folder / "in", folder / f"out_{seed}", random.Random(seed), found, is_light=options.light)
            check(folder / f"out_{seed}", folder / "calm", found, is_light=options.light)
    print(f"{options.runs} runs from seed {options.first}, {time.perf_counter() - begin:.0f} s")
    print(f"killed: {found.kills['worker']} workers, {found.kills['parent']} parents; jobs begun: {found.begun}")
    print(f"of {found.cases} cases: done exactly once {found.done_once}, outputs whole {found.whole}")
    print(f"unfinished files or folders left: {found.left_over}")


def write_scan(path: Path, seed: int) -> None:
    import numpy as np

    from medseg.core.geometry import Geometry
    from medseg.exchange.nifti import write_nifti

    path.parent.mkdir(parents=True, exist_ok=True)
    grid = Geometry.from_spacing((36, 50, 38), (1.0, 1.0, 1.0))
    noise = np.random.default_rng(seed).normal(300, 60, grid.shape)
    noise[8:28, 10:40, 10:30] += 250
    write_nifti(noise.astype(np.int16), grid, path)


@dataclass(frozen=True)
class LightWork:
    """Starts a worker that writes a scan's bytes, a piece at a time, where a mask would be."""

    results: Path

    def __call__(self, threads: int) -> Run:  # noqa: ARG002 - one is enough
        return self.write

    def write(self, job: Job) -> JsonValue:
        name = str(job.arguments["name"])
        content = Path(str(job.arguments["source"])).read_bytes()
        with whole_folder(self.results / name) as unfinished, (unfinished / "segmentation.nii.gz").open("wb") as file:
            for start in range(0, len(content), 20_000):
                file.write(content[start : start + 20_000])
                time.sleep(0.01)
            for other in FILES - {"segmentation.nii.gz"}:
                (unfinished / other).write_text("{}")
        return {"output": f"results/{name}"}


def light_batch(source: Path, output: Path) -> None:
    """What `medseg batch` does, with work that needs no torch."""
    names = {path.name.split(".")[0]: path for path in sorted(source.iterdir())}
    limits = Limits(pause_s=0.01)
    engine = LocalEngineConfig(workers=2, threads=1).build(
        output / "batch.sqlite", LightWork(output / "results"), limits
    )
    engine.submit(Job(workflow="write", arguments={"name": n, "source": str(path)}) for n, path in names.items())
    engine.run()
    engine.close()
    discard_all_unfinished(output / "results")
    with Queue(output / "batch.sqlite") as queue, whole_file(output / "manifest.jsonl") as unfinished:
        lines = [{**record.job.arguments, "state": record.state, **record.result} for record in queue.records()]  # type: ignore[dict-item]
        unfinished.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def batch(source: Path, output: Path, is_light: bool) -> subprocess.Popen[bytes]:
    if is_light:
        return subprocess.Popen([sys.executable, __file__, "--parent", str(source), str(output)])
    command = [sys.executable, "-m", "medseg.cli", "batch", str(source), str(output), "--model", MODEL]
    command += ["--device", "cpu", "--workers", "2", "--threads", "1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturb(source: Path, output: Path, moments: random.Random, found: Found, *, is_light: bool) -> None:
    """Run a batch to its end through three kills."""
    with Queue(output / "batch.sqlite") as queue:
        watch_ends(queue.path)
    victims = ["worker", "worker", "parent"]
    moments.shuffle(victims)
    parent = batch(source, output, is_light)
    for victim in victims:
        time.sleep(moments.uniform(0, LONGEST_PAUSE_S[is_light]))
        target = None
        while target is None and parent.poll() is None:
            workers = children(parent.pid)
            target = parent.pid if victim == "parent" else moments.choice(workers) if workers else None
        if target is None:
            break  # the batch had ended before
        with suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
            found.kills[victim] += 1
        if victim == "parent":
            parent.wait()
            parent = batch(source, output, is_light)
    assert parent.wait() == 0, f"{output} did not end well"


def children(pid: int) -> list[int]:
    """The worker processes of a parent: those of its children that run multiprocessing's spawned main."""
    with suppress(OSError):
        names = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(name) for name in names if "spawn_main" in command_of(int(name))]
    return []


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def watch_ends(path: Path) -> None:
    """Have the database itself note each time that a job becomes done."""
    with closing(sqlite3.connect(path, timeout=30)) as database:
        database.execute("CREATE TABLE ends (id TEXT)")
        database.execute(
            "CREATE TRIGGER note AFTER UPDATE OF state ON jobs WHEN NEW.state = 'done' AND OLD.state != 'done' "
            "BEGIN INSERT INTO ends VALUES (NEW.id); END"
        )
        database.commit()


def check(output: Path, calm: Path, found: Found, *, is_light: bool) -> None:
    with closing(sqlite3.connect(output / "batch.sqlite")) as database:
        ends = Counter(job_id for (job_id,) in database.execute("SELECT id FROM ends"))
        found.begun += database.execute("SELECT SUM(starts) FROM jobs").fetchone()[0]
    with Queue(output / "batch.sqlite") as queue:
        ids = {record.job.arguments["name"]: record.job.id for record in queue.records()}
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == len(ids) == CASES
    for line in lines:
        found.cases += 1
        found.done_once += line["state"] == "done" and ends[ids[line["name"]]] == 1
        result, expected = output / line["output"], calm / line["output"]
        masks = [voxels(at / "segmentation.nii.gz", is_light) for at in (result, expected)]
        is_whole = {path.name for path in result.iterdir()} == FILES and masks[0] == masks[1]
        json.loads((result / "report.json").read_text())
        found.whole += is_whole
    found.left_over += len(list(output.rglob(".medseg-unfinished-*")))


def voxels(mask: Path, is_light: bool) -> bytes:
    if is_light:
        return mask.read_bytes()
    from medseg.core.task import load_task
    from medseg.exchange.read import read_label_map

    return read_label_map(mask, load_task(MODEL).label_schema).array.tobytes()


if __name__ == "__main__":
    main()
