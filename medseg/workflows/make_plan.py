"""Plan a training from its data: fingerprint, then rules."""

from __future__ import annotations

from pathlib import Path

from medseg.datasets.manifest import Manifest
from medseg.models.device import DeviceName, choose_device
from medseg.training.planning.fingerprint import Fingerprint, take_fingerprint
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import DEFAULT_CHOICE, Budget, make_plan
from medseg.workflows.progress import Progress, silent

__all__ = ["DEFAULT_CHOICE", "Choice", "open_plan", "plan_training", "save_plan", "training_budget"]


def plan_training(
    manifest: Manifest, fold: int, budget: Budget, progress: Progress = silent, choice: Choice = DEFAULT_CHOICE
) -> tuple[Plan, Fingerprint]:
    """The plan for training with `fold` held out, and the fingerprint it was made from.

    Raises InputError where the cases cannot be used, PlanError where nothing fits the budget, or the chosen losses
    cannot train a network.
    """
    cases = manifest.training(fold)
    fingerprint = take_fingerprint(
        cases, manifest.task, lambda done, total: progress("Looking at the data", done, total)
    )
    return make_plan(manifest.task, fingerprint, budget, choice), fingerprint


def training_budget(device: DeviceName, memory_gb: float, minutes: float | None) -> Budget:
    """The budget on this machine; "auto" is its GPU where there is one. Raises InputError where a GPU is missing."""
    kind = choose_device(device).type
    return Budget(device="cuda" if kind == "cuda" else "cpu", memory_gb=memory_gb, minutes=minutes)


def open_plan(path: Path) -> Plan:
    """The plan in a file. Raises PlanError where it is missing or not valid."""
    return read_plan(path)


def save_plan(plan: Plan, path: Path) -> None:
    """Write the plan, whole or not at all."""
    write_plan(plan, path)
