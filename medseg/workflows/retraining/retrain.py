"""Retrain: the champion fine-tuned on accepted corrections and replayed original cases becomes the challenger.

Killed at any moment, it goes on when run again with the same run folder: with the same cases, from the last epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import StoreError
from medseg.core.task import Task
from medseg.models.bundle import LISTING, ModelBundle
from medseg.models.registry.index import Version
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget
from medseg.workflows.progress import Progress, silent
from medseg.workflows.retraining.control import qualified
from medseg.workflows.retraining.selection import VALIDATION_FOLD, Selection, Sources, select
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.train_model import train_model


@dataclass(frozen=True, slots=True)
class Retrained:
    """The challenger as the registry has it, the model itself with its scores on validation, what it learned from.

    `without_control` says why it has no quality control; empty where it has.
    """

    challenger: Version
    model: ModelBundle
    selection: Selection
    without_control: str = ""


def retrain(
    registry_folder: Path,
    sources: Sources,
    run: Path,
    *,
    budget: Budget | None = None,
    plan: Plan | None = None,
    person: str = "medseg",
    progress: Progress = silent,
) -> Retrained:
    """The challenger of a registry, trained in a run folder from its champion; the champion stays what it is.

    Its quality control is fitted on the validation side, as `medseg models qualify` does it.
    Raises StoreError where there is no champion or it is an ensemble, InputError where there is nothing to learn.
    """
    registry = Registry(registry_folder)
    champion = registry.load(CHAMPION)
    if not isinstance(champion, ModelBundle):
        raise StoreError(
            "the champion is an ensemble, and fine-tuning begins from one model. Import one of its members as champion."
        )
    selection = select(sources, champion, registry_folder, run, progress)
    manifest = selection.manifest(sources.original)
    if not (run / "model" / LISTING).is_file():  # else it was trained, and killed before it was added
        wanted = FineTuning(champion, _for_task(plan, manifest.task) if plan else None)
        train_model(manifest, VALIDATION_FOLD, run, plan=wanted, budget=budget, progress=progress)
    folder, model, without_control = qualified(run, manifest, budget.device if budget else "auto", progress)
    version = registry.add(folder, origin=f"retrained from {champion.sha256[:12]}")
    if registry.aliases().get(CHALLENGER) != version.number:
        reason = f"{selection.corrections} corrections"
        registry.point(CHALLENGER, str(version.number), person=person, reason=reason)
    return Retrained(version, model, selection, without_control)


def _for_task(plan: Plan, task: Task) -> Plan:
    """A plan that was given, for the task with the value of voxels that nobody judged."""
    return plan.model_copy(update={"model": plan.model.model_copy(update={"task": task})})
