"""Train a model: plan, prepare, train, evaluate, and pack the bundle. Killed at any moment, it goes on when run again.

A run folder holds

    plan.toml                what was done; edit it before the first run to do something else
    environment.json         machine, versions, data set, fold
    fingerprint.json         what the plan was made from
    prepared/                the cases as the network sees them
    checkpoint.safetensors   the state after the last epoch
    metrics.csv, curves.png
    tensorboard/             or mlflow.db and mlflow_artifacts/, or nothing: as tracking.json has it
    validation.csv           the scores of each held-out case
    model/                   the bundle
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from medseg import __version__
from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError
from medseg.datasets.manifest import Manifest
from medseg.models.bundle import ModelBundle, Provenance, save_bundle
from medseg.models.device import choose_device
from medseg.models.segmenter import NetworkSegmenter
from medseg.models.spec import to_toml
from medseg.training.cases import PreparedCase, prepare_cases
from medseg.training.checkpoint import Checkpoint, EpochRecord
from medseg.training.planning.ladder import Choice, choice_of
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import Budget
from medseg.training.run_log import RunLog
from medseg.training.tracking.choice import open_tracker
from medseg.training.tracking.tracker import RunFacts
from medseg.training.train import train
from medseg.workflows.evaluate_model import Evaluation, bundle_scores, evaluate_model, write_case_scores
from medseg.workflows.make_plan import plan_training
from medseg.workflows.progress import Progress, silent

SHARE_OF_STEPS = 0.9
"""Of the minutes allowed, this part goes to training steps; the rest to preparing and to the final evaluation."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The bundle and how it did on the held-out fold."""

    bundle: ModelBundle
    folder: Path
    evaluation: Evaluation
    duration_s: float


def train_model(
    manifest: Manifest,
    fold: int,
    run_folder: Path,
    *,
    plan: Plan | Choice | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """The model trained with `fold` held out, as RUN_FOLDER/model, and its scores on that fold.

    A run folder that holds an unfinished training of the same plan and data is continued. Without a plan the one in
    the run folder is followed, or one is made for the budget, with the network and losses chosen. Raises PlanError
    where plan, data and run folder do not belong together, InputError where the data cannot be used.
    """
    begin = time.monotonic()
    budget = budget or Budget()
    device = choose_device(budget.device)
    plan = _settle_plan(manifest, fold, run_folder, plan, budget, progress)
    _require_same_task(plan, manifest)
    _write_environment(run_folder, manifest, fold, device)
    tracker = open_tracker(RunFacts(run_folder, manifest.facts.name, fold, plan))
    model = plan.model
    cases = {"training": manifest.training(fold), "validation": manifest.validation(fold)}
    prepared = {
        part: prepare_cases(
            chosen,
            model.task,
            model.preparation,
            run_folder / "prepared",
            lambda done, total, part=part: progress(f"Preparing {part} cases", done, total),  # type: ignore[misc]
        )
        for part, chosen in cases.items()
    }
    observer = _Observer(RunLog(run_folder, [label.name for label in model.task.labels], tracker), progress)
    final = train(
        plan, prepared["training"], prepared["validation"], run_folder / "checkpoint.safetensors", device, observer
    )
    observer.log.write(final.progress.records)
    provenance = _provenance(plan, manifest, prepared["training"], final)
    draft = ModelBundle("model", "", model, final.average, provenance, None)
    evaluation = evaluate_model(NetworkSegmenter(draft, device), model.task, cases["validation"], progress)
    write_case_scores(evaluation.cases, run_folder / "validation.csv")
    scores = bundle_scores(evaluation, manifest.facts.name, f"fold {fold}, held out from training")
    bundle = save_bundle(run_folder / "model", model, final.average, provenance, scores)
    observer.log.close({f"final/{score.metric}/{score.label}": score.mean for score in scores.scores})
    return TrainedModel(bundle, run_folder / "model", evaluation, time.monotonic() - begin)


class _Observer:
    """Passes the training's news on to the log and the progress display."""

    def __init__(self, log: RunLog, progress: Progress) -> None:
        self.log = log
        self._progress = progress
        self._note = ""

    def step_ended(self, fraction: float, loss: float) -> None:
        self._progress("Training", min(1.0, fraction), 1.0, f"loss {loss:.3f}{self._note}")

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None:
        self.log.write(records)
        dice = records[-1].validation_dice
        if dice:
            self._note = f", validation Dice {sum(dice.values()) / len(dice):.3f}"


def _settle_plan(
    manifest: Manifest, fold: int, run_folder: Path, wanted: Plan | Choice | None, budget: Budget, progress: Progress
) -> Plan:
    """The plan to follow, as it stands in the run folder afterwards."""
    path = run_folder / "plan.toml"
    if path.exists():
        there = read_plan(path)
        if isinstance(wanted, Plan) and wanted != there:
            raise PlanError(
                f"{run_folder} holds a run with another plan. Take another run folder, or leave out --plan."
            )
        if isinstance(wanted, Choice):
            _require_chosen(there, wanted, run_folder)
        return there
    if isinstance(wanted, Plan):
        plan = wanted
    else:
        plan, fingerprint = plan_training(manifest, fold, budget, progress, wanted or Choice())
        with whole_file(run_folder / "fingerprint.json") as unfinished:
            unfinished.write_text(fingerprint.model_dump_json(indent=1), encoding="utf-8")
        if plan.training.minutes is not None:
            spec = plan.training.model_copy(update={"minutes": plan.training.minutes * SHARE_OF_STEPS})
            plan = plan.model_copy(update={"training": spec})
    write_plan(plan, path)
    return plan


def _require_chosen(plan: Plan, choice: Choice, run_folder: Path) -> None:
    there = choice_of(plan.model.network, plan.training.loss)
    if choice.network != there.network or (choice.losses and choice.losses != there.losses):
        raise PlanError(
            f"{run_folder} holds a run of {there.network} with the loss {' + '.join(there.losses)}. "
            "Take another run folder, or leave out --network and --loss to go on with that run."
        )


def _require_same_task(plan: Plan, manifest: Manifest) -> None:
    if plan.model.task != manifest.task:
        raise PlanError(
            f"the plan is for the task {plan.model.task.name}, the data set {manifest.facts.name} is for "
            f"{manifest.task.name}{' in another version' if plan.model.task.name == manifest.task.name else ''}. "
            "Make a plan from this data set with `medseg plan`."
        )


def _write_environment(run_folder: Path, manifest: Manifest, fold: int, device: torch.device) -> None:
    facts: dict[str, Any] = {
        "medseg": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": _machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "dataset": manifest.facts.name,
        "fold": fold,
    }
    with whole_file(run_folder / "environment.json") as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _provenance(plan: Plan, manifest: Manifest, cases: Sequence[PreparedCase], final: Checkpoint) -> Provenance:
    return Provenance(
        created=datetime.now(UTC),
        medseg_version=__version__,
        torch_version=torch.__version__,
        machine=_machine(),
        dataset=manifest.facts.name,
        dataset_licence=manifest.facts.licence,
        dataset_citation=manifest.facts.citation,
        plan_toml=to_toml(plan),
        seed=plan.training.seed,
        epochs=final.progress.epochs_done,
        training_s=final.progress.elapsed_s,
        case_sha256={case.name: case.sha256 for case in cases},
    )


def _machine() -> str:
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads{gpu}"
