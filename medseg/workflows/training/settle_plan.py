"""The one plan that a run folder follows: given, made from the data, or there already."""

from __future__ import annotations

from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError
from medseg.datasets.manifest import Manifest
from medseg.training.fine_tune import fitted_to
from medseg.training.planning.checks import require_possible
from medseg.training.planning.ladder import Choice, choice_of
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import Budget
from medseg.workflows.progress import Progress
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.make_plan import plan_training

SHARE_OF_STEPS = 0.9
"""Of the minutes allowed, this part goes to training steps; the rest to preparing and to the final evaluation."""


def settle_plan(
    manifest: Manifest,
    fold: int,
    run_folder: Path,
    wanted: Plan | Choice | FineTuning | None,
    budget: Budget,
    progress: Progress,
) -> Plan:
    """The plan to follow, as it stands in the run folder afterwards; one that cannot be followed leaves nothing there.

    Raises PlanError where it is impossible, for another task, or not the run folder's.
    """
    path = run_folder / "plan.toml"
    asked = wanted.asked if isinstance(wanted, FineTuning) else wanted
    if path.exists():
        there = read_plan(path)
        if isinstance(wanted, FineTuning):
            wanted.require_start_of(there, run_folder)
        if isinstance(asked, Plan) and asked != there:
            raise PlanError(
                f"{run_folder} holds a run with another plan. Take another run folder, or leave out --plan."
            )
        if isinstance(asked, Choice):
            require_chosen(there, asked, run_folder)
        return there
    if isinstance(asked, Plan):
        plan = asked
        require_same_task(plan, manifest)
        require_possible(plan, budget)  # before it is written: mended, it may come to the same folder
    else:
        plan, fingerprint = plan_training(manifest, fold, budget, progress, asked or Choice())
        if isinstance(wanted, FineTuning):
            plan = fitted_to(plan, wanted.parent)
        with whole_file(run_folder / "fingerprint.json") as unfinished:
            unfinished.write_text(fingerprint.model_dump_json(indent=1), encoding="utf-8")
        if plan.training.minutes is not None:
            spec = plan.training.model_copy(update={"minutes": plan.training.minutes * SHARE_OF_STEPS})
            plan = plan.model_copy(update={"training": spec})
    write_plan(plan, path)
    return plan


def require_chosen(plan: Plan, choice: Choice, run_folder: Path) -> None:
    """Raise PlanError where a run folder's plan has another network or other losses than those chosen."""
    there = choice_of(plan.model.network, plan.training.loss)
    if choice.network != there.network or (choice.losses and choice.losses != there.losses):
        raise PlanError(
            f"{run_folder} holds a run of {there.network} with the loss {' + '.join(there.losses)}. "
            "Take another run folder, or leave out --network and --loss to go on with that run."
        )


def require_same_task(plan: Plan, manifest: Manifest) -> None:
    """Raise PlanError where the plan is for another task than the data set's, or another version of it."""
    if plan.model.task != manifest.task:
        raise PlanError(
            f"the plan is for the task {plan.model.task.name}, the data set {manifest.facts.name} is for "
            f"{manifest.task.name}{' in another version' if plan.model.task.name == manifest.task.name else ''}. "
            "Make a plan from this data set with `medseg plan`."
        )
