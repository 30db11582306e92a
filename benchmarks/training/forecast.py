"""Does the planner's forecast come true? Several plans forecast, then trained for a short while, then compared.

    python benchmarks/training/forecast.py [--root DATA] [--minutes 2] [--folder FOLDER] [--device cpu]

Made studies always, as planned and with a larger patch; the hippocampus and the sarcoma PET set where `--root` holds
them. Each plan is forecast and trained one after the other, in processes of their own; then a process of its own
segments the median case with the model, once. The table gives forecast / measured, and the error in per cent of what
was measured. Aim: 25 %. Seconds of work by the cores stand beside those of the clock, since on a machine that others
use the clock also measures them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.training.planning.fingerprint import Fingerprint
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget
from medseg.training.probe.child import in_own_process
from medseg.training.probe.memory import MemoryWatch
from medseg.workflows.demonstrate import make_phantoms
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.training.forecast_training import forecast_training
from medseg.workflows.training.make_plan import plan_training
from medseg.workflows.training.run_record import RunRecord, read_record, write_record

REAL = ("msd_task04_hippocampus", "ibsi_sts_sarcoma_pet")
MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"


@dataclass(frozen=True)
class Trial:
    """One plan to be forecast and followed."""

    name: str
    data: Path
    root: Path | None
    run: Path
    plan: Plan
    budget: Budget


@dataclass(frozen=True)
class Row:
    """One quantity of one plan."""

    trial: str
    what: str
    forecast: float
    measured: float

    @property
    def error_percent(self) -> float:
        return 100 * (self.forecast - self.measured) / self.measured


def run_training(trial: Trial) -> None:
    """The training, in this process."""
    from medseg.workflows.training.train_model import train_model

    train_model(open_data_set(trial.data, trial.root), 0, trial.run, plan=trial.plan, budget=trial.budget)


def run_inference(given: tuple[Path, Case, str]) -> tuple[float, float]:
    """Seconds and peak MB of one inference with a trained bundle, the first of this process."""
    from medseg.models.bundle import load_bundle
    from medseg.models.inference.segmenter import NetworkSegmenter
    from medseg.workflows.segmenting.segment_study import read_channels

    model, case, device = given
    watch = MemoryWatch(torch.device(device))
    bundle = load_bundle(model)
    scans = read_channels(case.channels, bundle.spec.task)
    segmenter = NetworkSegmenter(bundle, torch.device(device))
    duration_s = segmenter.segment({name: scan.volume for name, scan in scans.items()}).duration_s
    return duration_s, watch.peak_mb or math.nan


def compare(trial: Trial, manifest: Manifest, fingerprint: Fingerprint) -> list[Row]:
    """Forecast, train, segment, and put side by side."""
    made = forecast_training(manifest, 0, trial.plan, fingerprint, budget=trial.budget)
    write_record(trial.run, RunRecord(forecast=made))
    print(f"{trial.name}: forecast {made.total_s:.0f} s for {made.steps} steps", flush=True)
    in_own_process(run_training, trial)
    took = read_record(trial.run).measured
    voxels = {case.name: math.prod(case.shape) for case in fingerprint.cases}
    cases = sorted(manifest.training(0), key=lambda case: voxels[case.name])
    inference_s, inference_mb = in_own_process(
        run_inference, (trial.run / "model", cases[len(cases) // 2], trial.budget.device)
    )
    assert took is not None
    pairs = (
        ("s a step", made.step_s, took.step_s),
        ("core s a step", made.step_cpu_s, took.step_cpu_s),
        ("steps", made.steps, took.steps),
        ("training s", made.total_s, took.total_s),
        ("training MB", made.training_peak_mb, took.peak_mb),
        ("inference s", made.inference_s, inference_s),
        ("inference MB", made.inference_peak_mb, inference_mb),
    )
    return [Row(trial.name, what, float(a or math.nan), float(b or math.nan)) for what, a, b in pairs]


def with_patch(plan: Plan, times: int) -> Plan:
    """The same plan with a patch so many times as long along its first two axes."""
    i, j, k = plan.model.window.patch
    window = plan.model.window.model_copy(update={"patch": (times * i, times * j, k)})
    return plan.model_copy(update={"model": plan.model.model_copy(update={"window": window})})


def by_epochs(plan: Plan, epochs: int) -> Plan:
    """The same plan for so many epochs, without a clock."""
    return plan.model_copy(
        update={"training": plan.training.model_copy(update={"minutes": None, "epochs": epochs, "steps_per_epoch": 10})}
    )


def print_rows(rows: list[Row]) -> None:
    print("| plan | what | forecast | measured | error |\n|---|---|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.trial} | {row.what} | {row.forecast:.4g} | {row.measured:.4g} | {row.error_percent:+.0f} % |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory-gb", type=float, default=8.0)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="medseg-forecast-"))
    budget = Budget(options.device, options.memory_gb, options.minutes)
    make_phantoms(folder / "phantoms", cases=10, held_out=0)
    sets: list[tuple[str, Path, Path | None]] = [("phantoms", folder / "phantoms", None)]
    sets += [(name, MANIFESTS / name, options.root) for name in REAL if options.root]
    for name, data, root in sets:
        manifest = open_data_set(data, root)
        plan, fingerprint = plan_training(manifest, 0, budget)
        plans = {f"{name}, {options.minutes:g} minutes": plan}
        if name == "phantoms":
            plans[f"{name}, larger patch, 3 epochs"] = by_epochs(with_patch(plan, 2), 3)
        for number, (title, wanted) in enumerate(plans.items()):
            trial = Trial(title, data, root, folder / f"{name}-{number}", wanted, budget)
            print_rows(compare(trial, manifest, fingerprint))


if __name__ == "__main__":
    main()
