"""Retrain: the champion fine-tuned on accepted corrections and replayed original cases becomes the challenger.

Killed at any moment, it goes on when run again with the same run folder: with the same cases, from the last epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import StoreError
from medseg.core.task import Task
from medseg.models.bundle import LISTING, ModelBundle, load_bundle
from medseg.models.registry.index import Version
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget
from medseg.workflows.progress import Progress, silent
from medseg.workflows.retraining.selection import Selection, Sources, select
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.train_model import train_model


@dataclass(frozen=True, slots=True)
class Retrained:
    """The challenger as the registry has it, the model itself with its scores on validation, what it learned from."""

    challenger: Version
    model: ModelBundle
    selection: Selection


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

    Raises StoreError where there is no champion or it is an ensemble, InputError where there is nothing to learn.
    """
    registry = Registry(registry_folder)
    champion = registry.load(CHAMPION)
    if not isinstance(champion, ModelBundle):
        raise StoreError(
            "the champion is an ensemble, and fine-tuning begins from one model. Import one of its members as champion."
        )
    selection = select(sources, champion, registry_folder, run, progress)
    if (run / "model" / LISTING).is_file():  # trained, and killed before it was added
        model = load_bundle(run / "model")
    else:
        manifest = selection.manifest(sources.original)
        wanted = FineTuning(champion, _for_task(plan, manifest.task) if plan else None)
        model = train_model(manifest, 0, run, plan=wanted, budget=budget, progress=progress).bundle
    version = registry.add(run / "model", origin=f"retrained from {champion.sha256[:12]}")
    if registry.aliases().get(CHALLENGER) != version.number:
        reason = f"{selection.corrections} corrections"
        registry.point(CHALLENGER, str(version.number), person=person, reason=reason)
    return Retrained(version, model, selection)


def _for_task(plan: Plan, task: Task) -> Plan:
    """A plan that was given, for the task with the value of voxels that nobody judged."""
    return plan.model_copy(update={"model": plan.model.model_copy(update={"task": task})})
