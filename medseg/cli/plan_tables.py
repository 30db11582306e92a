"""A plan, what it was made from, and what it will take, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medseg.cli.console import print_table

if TYPE_CHECKING:
    from medseg.training.planning.fingerprint import Fingerprint
    from medseg.training.planning.plan import Plan
    from medseg.training.probe.forecast import Forecast


def print_plan(plan: Plan, path: Path) -> None:
    """What a person would look at first."""
    model, training = plan.model, plan.training
    until = f"{training.minutes:g} minutes" if training.minutes else f"{training.epochs} epochs"
    print_table(
        ("plan", str(path)),
        [
            ("spacing", " x ".join(f"{length:g}" for length in model.preparation.spacing_mm) + " mm"),
            ("patch", " x ".join(map(str, model.window.patch)) + " voxels"),
            ("network", f"{model.network.kind}, {model.network.outline}"),
            ("batch", f"{training.batch_size} patches, {100 * training.foreground_fraction:.0f} % put on a label"),
            ("until", f"{until}, {training.steps_per_epoch} steps each" if not training.minutes else until),
            ("loss", " + ".join(f"{term.weight:g} {term.kind}" for term in training.loss)),
        ],
    )


def print_targets(plan: Plan, fingerprint: Fingerprint) -> None:
    """What each label is like: medians over the cases that have any of it."""
    from medseg.workflows.training.make_plan import describe_targets

    rows = [
        (
            target.name.replace("_", " "),
            target.kind or "absent",
            str(target.cases),
            f"{target.volume_ml:.3g}",
            f"{target.components:g}",
            "" if target.tubularity is None else f"{target.tubularity:.2f}",
        )
        for target in describe_targets(plan, fingerprint)
    ]
    print_table(("label", "kind", "cases", "volume ml", "pieces", "tubularity"), rows)


def print_forecast(forecast: Forecast, memory_gb: float) -> None:
    """Time and memory; a sentence below where the memory is more than what may be used."""
    parts = (("preparing", forecast.preparing_s), ("steps", forecast.training_s), ("scoring", forecast.scoring_s))
    print_table(
        ("forecast", f"on this machine's {'GPU' if forecast.device == 'cuda' else 'CPU'}"),
        [
            ("a step", f"{forecast.step_s:.2f} s, {forecast.step_cpu_s:.2f} s of work by all cores together"),
            ("training", f"{_time(forecast.total_s)}: " + ", ".join(f"{name} {_time(s)}" for name, s in parts)),
            ("steps", f"{forecast.steps}"),
            ("memory of training", _memory(forecast.training_peak_mb)),
            ("one inference", f"{_time(forecast.inference_s)}, {forecast.inference_windows} windows"),
            ("memory of inference", _memory(forecast.inference_peak_mb)),
        ],
    )
    if (forecast.training_peak_mb or 0) > memory_gb * 1000:
        typer.echo(
            f"The training is likely to take {_memory(forecast.training_peak_mb)}, more than the {memory_gb:g} GB it "
            "may use: lower batch_size or patch in the plan."
        )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _memory(mb: float | None) -> str:
    return "not known on this system" if mb is None else f"{mb / 1000:.2f} GB"
