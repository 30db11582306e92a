"""Plan a training from its data: fingerprint, then rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from medseg.datasets.manifest import Manifest
from medseg.models.inference.device import DeviceName, choose_device
from medseg.training.planning.advice import advice
from medseg.training.planning.fingerprint import Fingerprint, take_fingerprint
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import DEFAULT_CHOICE, Budget, make_plan
from medseg.training.planning.targets import TargetKind, kinds_of_targets
from medseg.workflows.progress import Progress, silent

__all__ = [
    "DEFAULT_CHOICE",
    "Choice",
    "Target",
    "advice",
    "describe_targets",
    "look_at_data",
    "open_plan",
    "plan_training",
    "save_plan",
    "training_budget",
]


def plan_training(
    manifest: Manifest, fold: int, budget: Budget, progress: Progress = silent, choice: Choice = DEFAULT_CHOICE
) -> tuple[Plan, Fingerprint]:
    """The plan for training with `fold` held out, and the fingerprint it was made from.

    Raises InputError where the cases cannot be used, PlanError where nothing fits the budget, or the chosen losses
    cannot train a network.
    """
    fingerprint = look_at_data(manifest, fold, progress)
    return make_plan(manifest.task, fingerprint, budget, choice), fingerprint


def look_at_data(manifest: Manifest, fold: int, progress: Progress = silent) -> Fingerprint:
    """The fingerprint of the cases to train on with `fold` held out. Raises InputError where they cannot be used."""
    return take_fingerprint(
        manifest.training(fold),
        manifest.task,
        lambda done, total: progress("Looking at the data", done, total),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A label as the planner saw it: its kind, the cases that have any of it, and medians over these.

    The kind is None where no case has any; tubularity where it is too small to have a shape.
    """

    name: str
    kind: TargetKind | None
    cases: int
    volume_ml: float
    components: float
    tubularity: float | None


def describe_targets(plan: Plan, fingerprint: Fingerprint) -> tuple[Target, ...]:
    """The plan's labels, in its task's order."""
    spacing_mm = plan.model.preparation.spacing_mm
    kinds = kinds_of_targets(plan.model.task, fingerprint, spacing_mm)
    described = []
    for number, (name, kind) in enumerate(kinds.items()):
        facts = fingerprint.facts_of_label(number)
        shapes = [fact.tubularity for fact in facts if fact.tubularity is not None]
        described.append(
            Target(
                name=name,
                kind=kind,
                cases=len(facts),
                volume_ml=median([fact.volume_ml for fact in facts] or [0.0]),
                components=median([fact.component_count for fact in facts] or [0]),
                tubularity=median(shapes) if shapes else None,
            )
        )
    return tuple(described)


def training_budget(device: DeviceName = "auto", memory_gb: float = 8.0, minutes: float | None = None) -> Budget:
    """The budget on this machine; "auto" is its GPU where there is one. Raises InputError where a GPU is missing."""
    kind = choose_device(device).type
    return Budget(device="cuda" if kind == "cuda" else "cpu", memory_gb=memory_gb, minutes=minutes)


def open_plan(path: Path) -> Plan:
    """The plan in a file. Raises PlanError where it is missing or not valid."""
    return read_plan(path)


def save_plan(plan: Plan, path: Path) -> None:
    """Write the plan, whole or not at all."""
    write_plan(plan, path)
