"""Train every fold by one plan, score each case by the model that never saw it, and keep the models as an ensemble.

A run folder holds

    plan.toml          the one plan of all folds, made from the cases of all of them
    fingerprint.json   what the plan was made from
    folds.json         which case stood in which fold, so that no other data is mixed in
    prepared/          the cases as the network sees them, once for all folds
    fold_0/ ...        the run folder of each fold, as `medseg train` leaves it, and its held-out scores in other ways
    validation.csv     the scores of every case, out of fold
    mirroring.json     what seeing windows mirrored gained, and whether it is kept; where the plan trains with it
    decoding.json      what a bias towards or away from foreground gained, and whether it is kept; where one was found
    model/             the ensemble

Killed at any moment, it goes on when run again; a fold that is finished is not repeated.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from medseg.analysis.evaluation.foreground_bias import best_bias
from medseg.analysis.evaluation.scores import CaseScores
from medseg.analysis.evaluation.summary import summarise
from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, PlanError
from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.models.bundle import LISTING, ModelBundle, load_bundle
from medseg.models.inference.ensemble import Ensemble, save_ensemble
from medseg.training.cases import prepare_cases
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan
from medseg.training.planning.rules import Budget
from medseg.workflows.models.evaluate_model import Evaluation, bundle_scores, read_case_scores, write_case_scores
from medseg.workflows.progress import Progress, silent
from medseg.workflows.training.choose_bias import Decoding, biased, choose_bias, dice_curves, score_biased
from medseg.workflows.training.choose_mirroring import Mirroring, choose_mirroring, score_unmirrored, unmirrored
from medseg.workflows.training.make_plan import training_budget
from medseg.workflows.training.run_lock import alone_in
from medseg.workflows.training.settle_folds import PLAN, PREPARED, remember_folds, require_folds, settle_shared_plan
from medseg.workflows.training.train_model import train_model

VALIDATION, MIRRORING, DECODING = "validation.csv", "mirroring.json", "decoding.json"


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The ensemble of the folds' models, and the out-of-fold scores of every case.

    The scores are of single models, each on cases it did not learn from; no held-out case is left to score the
    ensemble on. `fold_dice` is the mean Dice of each fold. `mirroring` is None where the plan does not mirror,
    `decoding` where no fold's cases asked for a bias.
    """

    ensemble: Ensemble
    folder: Path
    evaluation: Evaluation
    fold_dice: tuple[float, ...]
    mirroring: Mirroring | None
    decoding: Decoding | None
    duration_s: float


def cross_validate(
    manifest: Manifest,
    run_folder: Path,
    *,
    plan: Plan | Choice | None = None,
    budget: Budget | None = None,
    progress: Progress = silent,
) -> CrossValidation:
    """Every fold trained into RUN_FOLDER/fold_N, every case scored out of fold, and the ensemble in RUN_FOLDER/model.

    The budget's minutes are for the whole; those of a plan that is given are for each fold. Raises InputError where
    the data has fewer than two folds, a case without a mask, or a subject in two folds, or another cross-validation
    runs in the folder; PlanError where plan, data and run folder do not belong together.
    """
    begin = time.monotonic()
    require_folds(manifest)
    with alone_in(run_folder):
        remember_folds(manifest, run_folder)
        budget = budget or training_budget()
        run = _Run(
            manifest, run_folder, settle_shared_plan(manifest, run_folder, plan, budget, progress), budget, progress
        )
        folds = [_run_fold(run, number) for number in manifest.folds]
        mirroring, folds = _choose_mirroring(run, folds)
        decoding, folds = _choose_bias(run, folds)
        evaluation = _evaluation([score for fold in folds for score in fold.evaluation.cases], manifest.in_folds)
        write_case_scores(evaluation.cases, run_folder / VALIDATION)
        scores = bundle_scores(evaluation, manifest.facts.name, what_is_known(run.plan, len(evaluation.cases)))
        ensemble = save_ensemble(run_folder / "model", {fold.folder.name: fold.bundle for fold in folds}, scores)
        return CrossValidation(
            ensemble=ensemble,
            folder=run_folder / "model",
            evaluation=evaluation,
            fold_dice=tuple(fold.evaluation.summary.over_labels["dice"].mean for fold in folds),
            mirroring=mirroring,
            decoding=decoding,
            duration_s=time.monotonic() - begin,
        )


def what_is_known(plan: Plan, cases: int) -> str:
    """What the scores of an ensemble are scores of, and what they are not."""
    looked = plan.training.keep == "best" or plan.training.early_stop_looks is not None
    return (
        f"out of fold: each of the {cases} cases scored by the one member that did not learn from it; "
        "the ensemble itself has not been scored on held-out data"
        + ("; when to stop, or which weights to keep, was chosen by looks at held-out cases, which flatters" * looked)
    )


@dataclass(frozen=True, slots=True)
class _Run:
    manifest: Manifest
    folder: Path
    plan: Plan
    budget: Budget
    progress: Progress

    def progress_of(self, fold: int) -> Progress:
        def told(stage: str, done: float, total: float, note: str = "") -> None:
            self.progress(f"Fold {fold}: {stage}", done, total, note)

        return told


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """A fold's model and the scores of its held-out cases, as the model stands."""

    number: int
    folder: Path
    bundle: ModelBundle
    evaluation: Evaluation

    def changed(self, bundle: ModelBundle, evaluation: Evaluation, dataset: str) -> _Fold:
        """The fold with its model run in another way, and the scores of that way."""
        scores = bundle_scores(evaluation, dataset, f"fold {self.number}, held out from training")
        return replace(self, bundle=replace(bundle, scores=scores), evaluation=evaluation)


def _run_fold(run: _Run, number: int) -> _Fold:
    """The fold, trained where it is not yet."""
    folder = run.folder / f"fold_{number}"
    is_whole = (folder / "model" / LISTING).is_file() and (folder / VALIDATION).is_file()
    if is_whole and read_plan(folder / PLAN) == run.plan:
        bundle = load_bundle(folder / "model")
    else:
        _share_prepared(run.folder, folder)
        told = run.progress_of(number)
        bundle = train_model(run.manifest, number, folder, plan=run.plan, budget=run.budget, progress=told).bundle
    held_out = run.manifest.validation(number)
    seen = sorted({case.name for case in held_out} & bundle.provenance.case_sha256.keys())
    if seen:
        raise PlanError(
            f"the model in {folder} learned from case {seen[0]}, which its fold holds out. Delete {folder}."
        )
    return _Fold(
        number, folder, bundle, _evaluation(read_case_scores(folder / VALIDATION, run.manifest.task), held_out)
    )


def _share_prepared(run_folder: Path, folder: Path) -> None:
    """Let a fold find the cases that were prepared for all; a relative link, so that the run folder can be moved."""
    (run_folder / PREPARED).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if not (folder / PREPARED).exists():
        (folder / PREPARED).symlink_to(Path("..") / PREPARED, target_is_directory=True)


def _choose_mirroring(run: _Run, folds: list[_Fold]) -> tuple[Mirroring | None, list[_Fold]]:
    """The decision, written down, and the folds after it; None where the plan does not mirror."""
    axes = run.plan.model.window.mirror_axes
    if not axes:
        return None, folds
    plain = []
    for fold in folds:
        held_out, told = run.manifest.validation(fold.number), run.progress_of(fold.number)
        scores = score_unmirrored(fold.bundle, held_out, fold.folder, device=run.budget.device, progress=told)
        plain.append(_evaluation(scores, held_out))
    mirroring = choose_mirroring(
        axes, _joined(plain), _joined([fold.evaluation for fold in folds]), _subjects(run), [f.folder for f in folds]
    )
    _write(mirroring, run.folder / MIRRORING)
    if mirroring.is_kept:
        return mirroring, folds
    name = run.manifest.facts.name
    return mirroring, [f.changed(unmirrored(f.bundle), e, name) for f, e in zip(folds, plain, strict=True)]


def _choose_bias(run: _Run, folds: list[_Fold]) -> tuple[Decoding | None, list[_Fold]]:
    """The decision, written down, and the folds after it; None where every fold's best bias is 0."""
    model, device = run.plan.model, run.budget.device
    curves = []
    for fold in folds:
        told = run.progress_of(fold.number)
        held_out = run.manifest.validation(fold.number)
        prepared = prepare_cases(held_out, model.task, model.preparation, run.folder / PREPARED)
        curves.append(dice_curves(fold.bundle, prepared, fold.folder, device=device, progress=told))
    others = [np.concatenate(curves[:n] + curves[n + 1 :]) for n in range(len(curves))]
    fold_biases = [best_bias(curve) for curve in others]
    bias = best_bias(np.concatenate(curves))
    if not any(fold_biases) or not bias:
        return None, folds
    tried = []
    for fold, its_bias in zip(folds, fold_biases, strict=True):
        held_out, told = run.manifest.validation(fold.number), run.progress_of(fold.number)
        scores = score_biased(biased(fold.bundle, its_bias), held_out, fold.folder, device=device, progress=told)
        tried.append(_evaluation(scores, held_out))
    before = _joined([fold.evaluation for fold in folds])
    decoding = choose_bias(bias, fold_biases, before, _joined(tried), _subjects(run))
    _write(decoding, run.folder / DECODING)
    if not decoding.is_kept:
        return decoding, folds
    name = run.manifest.facts.name
    return decoding, [f.changed(biased(f.bundle, bias), e, name) for f, e in zip(folds, tried, strict=True)]


def _joined(evaluations: Sequence[Evaluation]) -> list[CaseScores]:
    return [score for evaluation in evaluations for score in evaluation.cases]


def _subjects(run: _Run) -> list[str]:
    """The patients of the cases, fold by fold."""
    return [case.subject for fold in run.manifest.folds for case in run.manifest.validation(fold)]


def _write(decision: BaseModel, path: Path) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(decision.model_dump_json(indent=1), encoding="utf-8")


def _evaluation(scores: Sequence[CaseScores], cases: Sequence[Case]) -> Evaluation:
    """The scores in the order of the cases, each once; patients are drawn for the intervals."""
    by_name = {score.case: score for score in scores}
    if len(by_name) != len(scores) or by_name.keys() != {case.name for case in cases}:
        odd = sorted(by_name.keys() ^ {case.name for case in cases})
        raise InputError(
            f"the held-out scores are not those of each case once: {odd[0] if odd else 'one is there twice'}. "
            "Delete the fold's validation files to score it again."
        )
    ordered = tuple(by_name[case.name] for case in cases)
    return Evaluation(ordered, summarise(ordered, subjects=[case.subject for case in cases]))
