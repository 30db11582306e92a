"""kill -9 during a real training, ten times at random moments: does the resumed run end with the same weights?

    python benchmarks/training/kill_training.py [--kills 10] [--folder FOLDER]

Two deterministic trainings of the command line on made data, the same plan and seed: one undisturbed, one killed again
and again. Prints when each kill came and compares every tensor of the final checkpoints and of the bundles bit by bit.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from medseg.training.planning.plan import read_plan, write_plan

EPOCHS, STEPS = 40, 3


def command(folder: Path, run: str) -> list[str]:
    medseg = [sys.executable, "-m", "medseg.cli"]
    return [*medseg, "train", str(folder / "data"), "--plan", str(folder / "plan.toml"), "--output", str(folder / run)]


def prepare(folder: Path) -> None:
    """Made data, and a plan of many short epochs that is repeatable."""
    medseg = [sys.executable, "-m", "medseg.cli"]
    subprocess.run([*medseg, "data", "phantoms", str(folder / "data"), "--cases", "10", "--held-out", "0"], check=True)
    subprocess.run([*medseg, "plan", str(folder / "data"), "--output", str(folder / "plan.toml")], check=True)
    plan = read_plan(folder / "plan.toml")
    training = plan.training.model_copy(update={"deterministic": True, "epochs": EPOCHS, "steps_per_epoch": STEPS})
    write_plan(plan.model_copy(update={"training": training}), folder / "plan.toml")


def seconds_an_epoch(run: Path) -> float:
    """From the log of a finished run."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["elapsed_s"]) / len(rows)


def kill_once(folder: Path, after_first_step_s: float) -> None:
    """Start the training, wait until it trains, and kill it so many seconds later."""
    process = subprocess.Popen(command(folder, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Training:"):
            break
    time.sleep(after_first_step_s)
    if process.poll() is not None:
        raise SystemExit("the run ended before it could be killed: give it more epochs")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="medseg-kills-"))
    prepare(folder)
    subprocess.run(command(folder, "undisturbed"), check=True, capture_output=True)
    epoch_s = seconds_an_epoch(folder / "undisturbed")
    print(f"undisturbed: {EPOCHS} epochs of {epoch_s:.1f} s", flush=True)
    moments = random.Random(options.seed)
    for kill in range(1, options.kills + 1):
        after_s = moments.uniform(0, 3 * epoch_s)
        kill_once(folder, after_s)
        metrics = folder / "killed/metrics.csv"
        epochs = len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0
        print(f"kill {kill}: {after_s:.1f} s after the first step, {epochs} epochs done so far", flush=True)
    subprocess.run(command(folder, "killed"), check=True, capture_output=True)
    same = True
    for name in ("checkpoint.safetensors", "model/weights.safetensors"):
        expected, got = load_file(folder / "undisturbed" / name), load_file(folder / "killed" / name)
        differ = [key for key in expected if key not in got or not torch.equal(expected[key], got[key])]
        print(f"{name}: {len(expected)} tensors, {len(differ)} differ")
        same &= not differ and expected.keys() == got.keys()
    print("the same weights" if same else "DIFFERENT weights")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
