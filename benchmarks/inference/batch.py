"""What a batch of small scans costs beyond the network, and what more workers or Ray make of it.

    python benchmarks/inference/batch.py [--cases 200] [--shape 56 80 56] [--variants local-1x1 local-2x1 ...]

The scans are made; the model is the shipped hippocampus_mr (windows of 40 x 56 x 40, seen in two mirror images).
"Network" is the same network on the same windows in one process of one thread, nothing else done. A variant is
ENGINE-WORKERSxTHREADS; each is run on one scan first, which is the start: loading torch and the model.

Processor seconds are those of the command and all its processes, which other work on the machine changes little; of
Ray's workers the system does not tell them. Wall clock of a case is from the first case's end to the last one's, over
the cases between.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from itertools import product
from pathlib import Path

import numpy as np

MODEL = "hippocampus_mr"
VARIANTS = ("local-1x1", "local-2x1", "local-1x2", "ray-1x1", "ray-2x1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--shape", type=int, nargs=3, default=(56, 80, 56))
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--network-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.network_only:
        network_alone(options.network_only)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = tuple(options.shape)
        for number in range(options.cases):
            write_scan(folder / "in" / f"case_{number:03}.nii.gz", number, shape)
        write_scan(folder / "one" / "case.nii.gz", 0, shape)
        command = [sys.executable, __file__, "--network-only", str(folder / "in")]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        alone = subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread)
        network = json.loads(alone.stdout)
        told = f"{network['wall_s']:.1f} s, {network['processor_s']:.1f} processor s"
        print(f"{options.cases} cases of {' x '.join(map(str, shape))}, network alone: {told}")
        print("| | s in all | s at the start | s a case | processor s a case | beyond the network |")
        print("|---|---:|---:|---:|---:|---:|", flush=True)
        for variant in options.variants:
            measure(variant, folder, options.cases, network)


def write_scan(path: Path, seed: int, shape: tuple[int, int, int]) -> None:
    from medseg.core.geometry import Geometry
    from medseg.exchange.nifti import write_nifti

    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(300, 60, shape)
    noise[8:28, 10:40, 10:30] += 250
    write_nifti(noise.astype(np.int16), Geometry.from_spacing(shape, (1.0, 1.0, 1.0)), path)


def network_alone(folder: Path) -> None:
    """Print the seconds that the windows of all scans take, everything else left out."""
    import torch

    from medseg.exchange.read import read_scan
    from medseg.imaging.preparing.padding import pad_to
    from medseg.models.bundle import load_bundle
    from medseg.models.inference.device import CPU
    from medseg.models.inference.segmenter import network_of
    from medseg.models.inference.sliding_window import PatchReader, window_starts
    from medseg.models.store import find_model

    torch.set_num_threads(1)
    bundle = load_bundle(find_model(Path(MODEL)))
    spec = bundle.spec
    network = network_of(bundle).eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    read = PatchReader(network, spec.window, CPU)
    patches = []
    for path in sorted(folder.iterdir()):
        array = pad_to(spec.preparation.apply({"MR": read_scan(path).volume}).array, spec.window.patch)[0]
        sides = zip(array.shape[1:], spec.window.patch, strict=True)
        for start in product(*(window_starts(n, p, spec.window.overlap) for n, p in sides)):
            box = tuple(slice(at, at + p) for at, p in zip(start, spec.window.patch, strict=True))
            patches.append(array[(slice(None), *box)])
    read(patches[0])
    begin, processor = time.perf_counter(), time.process_time()
    for patch in patches:
        read(patch)
    print(json.dumps({"wall_s": time.perf_counter() - begin, "processor_s": time.process_time() - processor}))


def measure(variant: str, folder: Path, cases: int, network: dict[str, float]) -> None:
    start_s, start_processor_s = run(variant, folder / "one", folder / f"one-{variant}")
    output = folder / variant
    wall_s, processor_s = run(variant, folder / "in", output)
    with closing(sqlite3.connect(output / "batch.sqlite")) as database:
        first, last, done = database.execute(
            "SELECT MIN(settled_s), MAX(settled_s), COUNT(*) FROM jobs WHERE state = 'done'"
        ).fetchone()
    assert done == cases, f"{variant}: {done} of {cases} were done"
    a_case, told, beyond = (last - first) / (done - 1), "", ""
    if variant.startswith("local"):
        each = (processor_s - start_processor_s) / (cases - 1)
        told, beyond = f"{each:.3f}", f"{each * cases / network['processor_s'] - 1:+.1%}"
    print(f"| {variant} | {wall_s:.1f} | {start_s:.1f} | {a_case:.3f} | {told} | {beyond} |", flush=True)


def run(variant: str, source: Path, output: Path) -> tuple[float, float]:
    """Seconds of wall clock and of the processors that a batch takes."""
    engine, _, size = variant.partition("-")
    workers, threads = size.split("x")
    command = [sys.executable, "-m", "medseg.cli", "batch", str(source), str(output), "--model", MODEL]
    command += ["--device", "cpu", "--engine", engine, "--workers", workers, "--threads", threads]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall_s, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
