"""Train a model: plan, prepare, train, evaluate, and pack the bundle. Killed at any moment, it goes on when run again.

A run folder holds

    plan.toml                what was done; edit it before the first run to do something else
    environment.json         machine, versions, data set, fold
    fingerprint.json         what the plan was made from
    parent.json              where the training starts from another model's weights: which, and what they lack
    prepared/                the cases as the network sees them
    checkpoint.safetensors   the state after the last epoch
    run.lock                 while a training runs there: no other begins
    metrics.csv, curves.png
    tensorboard/             or mlflow.db and mlflow_artifacts/, or nothing: as tracking.json has it
    forecast.json            what the training was to take, where that was forecast, and what it took
    validation.csv           the scores of each held-out case
    model/                   the bundle

Several processes may train together: all prepare and train, the first also plans, evaluates, and writes what is not
under prepared/.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from medseg import __version__
from medseg.core.atomic import whole_file
from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.models.bundle import ModelBundle, Provenance, save_bundle
from medseg.models.inference.device import choose_device
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.spec import to_toml
from medseg.training.cases import PreparedCase, prepare_cases
from medseg.training.checkpoint import Checkpoint, EpochRecord
from medseg.training.distributed import Seat, Team, assembled
from medseg.training.planning.checks import require_foreground, require_possible
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan
from medseg.training.planning.rules import Budget
from medseg.training.probe.clock import StepClock
from medseg.training.run_log import RunLog
from medseg.training.tracking.choice import open_tracker
from medseg.training.tracking.tracker import RunFacts
from medseg.training.train import train
from medseg.workflows.models.evaluate_model import Evaluation, bundle_scores, evaluate_model, write_case_scores
from medseg.workflows.progress import Progress, silent
from medseg.workflows.training.fine_tune import FineTuning, begin_from, require_parent
from medseg.workflows.training.make_plan import training_budget
from medseg.workflows.training.run_lock import alone_in
from medseg.workflows.training.run_record import RunWatch
from medseg.workflows.training.settle_plan import require_same_task, settle_plan

__all__ = ["Run", "Seat", "TrainedModel", "train_model", "train_together"]

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be trained, into which folder; `wanted` is a plan, or what one is to be made with."""

    manifest: Manifest
    fold: int
    folder: Path
    wanted: Plan | Choice | FineTuning | None
    budget: Budget


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
    plan: Plan | Choice | FineTuning | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> TrainedModel:
    """The model trained with `fold` held out, as RUN_FOLDER/model, and its scores on that fold.

    A run folder that holds an unfinished training of the same plan and data is continued. Without a plan the one in
    the run folder is followed, or one is made for the budget, with the network and losses chosen; without a budget the
    GPU is used where there is one. Raises PlanError where plan, data and run folder do not belong together, InputError
    where the data cannot be used or another training runs in the folder.
    """
    begin = time.monotonic()
    run = Run(manifest, fold, run_folder, plan, budget or training_budget())
    team = Team(choose_device(run.budget.device))
    with alone_in(run_folder):
        return _score(run, _train(run, team, progress), team.device, progress, begin)


def train_together(run: Run, seat: Seat, progress: Progress = silent) -> TrainedModel | None:
    """As `train_model`, in one of the processes that torchrun has started; None in all but the first of them."""
    begin = time.monotonic()
    progress = progress if seat.rank == 0 else silent
    with ExitStack() as alone:
        with assembled(seat, choose_device(run.budget.device)) as team:
            if team.is_leader:
                alone.enter_context(alone_in(run.folder))
            trained = _train(run, team, progress)
        return _score(run, trained, team.device, progress, begin) if team.is_leader else None


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    plan: Plan
    cases: list[PreparedCase]
    final: Checkpoint
    watch: RunWatch
    log: RunLog | None = None
    """Of the leader."""


def _train(run: Run, team: Team, progress: Progress) -> _Trained:
    """The end of the training, the same in every process of the team."""
    if team.is_leader:
        settle_plan(run.manifest, run.fold, run.folder, run.wanted, run.budget, progress)
    team.wait()
    watch = RunWatch(team.device)
    plan = read_plan(run.folder / "plan.toml")
    require_same_task(plan, run.manifest)
    if not (run.folder / CHECKPOINT).exists():
        require_possible(plan, run.budget)
    if team.is_leader:
        _write_environment(run, team)
    training = _prepared("training", run.manifest.training(run.fold), run.folder, plan, team, progress)
    validation = _prepared("validation", run.manifest.validation(run.fold), run.folder, plan, team, progress)
    require_foreground(training, plan)
    checkpoint = run.folder / CHECKPOINT
    if team.is_leader and plan.training.parent_sha256 and not checkpoint.exists():
        begin_from(require_parent(run.wanted, run.folder), plan, training, run.folder, progress)
    team.wait()
    if not team.is_leader:
        return _Trained(plan, training, train(plan, training, validation, checkpoint, team, _Nobody()), watch)
    tracker = open_tracker(RunFacts(run.folder, run.manifest.facts.name, run.fold, plan))
    log = RunLog(run.folder, [label.name for label in plan.model.task.labels], tracker)
    final = train(plan, training, validation, checkpoint, team, _Teller(log, progress, watch.clock))
    log.write(final.progress.records)
    return _Trained(plan, training, final, watch, log)


def _prepared(
    part: str, cases: Sequence[Case], run_folder: Path, plan: Plan, team: Team, progress: Progress
) -> list[PreparedCase]:
    """The prepared cases; each process prepares its share of them, then reads those of the others."""

    def prepare(chosen: Sequence[Case]) -> list[PreparedCase]:
        return prepare_cases(
            chosen,
            plan.model.task,
            plan.model.preparation,
            run_folder / "prepared",
            lambda done, total: progress(f"Preparing {part} cases", done, total),
        )

    if team.size > 1:
        prepare(cases[team.rank :: team.size])
        team.wait()
    return prepare(cases)


def _score(run: Run, trained: _Trained, device: torch.device, progress: Progress, begin: float) -> TrainedModel:
    """The bundle, with its scores on the held-out fold."""
    model, weights = trained.plan.model, trained.final.kept(trained.plan.training.keep)
    provenance = _provenance(trained, run)
    draft = ModelBundle("model", "", model, weights, provenance, None)
    held_out = run.manifest.validation(run.fold)
    evaluation = evaluate_model(NetworkSegmenter(draft, device), model.task, held_out, progress)
    write_case_scores(evaluation.cases, run.folder / "validation.csv")
    scores = bundle_scores(evaluation, run.manifest.facts.name, f"fold {run.fold}, held out from training")
    bundle = save_bundle(run.folder / "model", model, weights, provenance, scores)
    if trained.log is not None:
        trained.log.close({f"final/{score.metric}/{score.label}": score.mean for score in scores.scores})
    trained.watch.write(run.folder)
    return TrainedModel(bundle, run.folder / "model", evaluation, time.monotonic() - begin)


class _Teller:
    """Passes the training's news on to the log and the progress display."""

    def __init__(self, log: RunLog, progress: Progress, clock: StepClock) -> None:
        self._log = log
        self._clock = clock
        self._progress = progress
        self._note = ""

    def step_ended(self, fraction: float, loss: float) -> None:
        self._progress("Training", min(1.0, fraction), 1.0, f"loss {loss:.3f}{self._note}")
        self._clock.step_ended()

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None:
        self._log.write(records)
        looked = [record.mean_dice for record in records if record.mean_dice is not None]
        self._note = f", validation Dice {looked[-1]:.3f}" if looked else ""
        if records[-1].patches_at_once is not None:
            self._note += f", memory ran out: {records[-1].patches_at_once} patches at a time"
        self._clock.epoch_ended()


class _Nobody:
    """The observer in all processes but the first."""

    def step_ended(self, fraction: float, loss: float) -> None: ...

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None: ...


def _write_environment(run: Run, team: Team) -> None:
    facts: dict[str, Any] = {
        "medseg": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": _machine(),
        "device": team.device.type,
        "processes": team.size,
        "threads": torch.get_num_threads(),
        "dataset": run.manifest.facts.name,
        "fold": run.fold,
    }
    with whole_file(run.folder / "environment.json") as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _provenance(trained: _Trained, run: Run) -> Provenance:
    """Where the model comes from; made when the training ended, so that a run scored again keeps its hash."""
    plan, final, manifest = trained.plan, trained.final, run.manifest
    return Provenance(
        created=datetime.fromtimestamp((run.folder / CHECKPOINT).stat().st_mtime, UTC),
        medseg_version=__version__,
        torch_version=torch.__version__,
        machine=_machine(),
        dataset=manifest.facts.name,
        dataset_licence=manifest.facts.licence,
        dataset_citation=manifest.facts.citation,
        dataset_notes=manifest.facts.notes,
        plan_toml=to_toml(plan),
        parent_sha256=plan.training.parent_sha256,
        seed=plan.training.seed,
        epochs=final.progress.epochs_done,
        training_s=final.progress.elapsed_s,
        case_sha256={case.name: case.sha256 for case in trained.cases},
    )


def _machine() -> str:
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads{gpu}"
