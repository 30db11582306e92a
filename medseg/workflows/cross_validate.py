"""Train every fold by one plan, score each case by the model that never saw it, and keep the models as an ensemble.

A run folder holds

    plan.toml          the one plan of all folds, made from the cases of all of them
    fingerprint.json   what the plan was made from
    folds.json         which case stood in which fold, so that no other data is mixed in
    prepared/          the cases as the network sees them, once for all folds
    fold_0/ ...        the run folder of each fold, as `medseg train` leaves it
    validation.csv     the scores of every case, out of fold
    mirroring.json     what seeing windows mirrored gained, and whether it is kept; where the plan trains with it
    model/             the ensemble

Killed at any moment, it goes on when run again; a fold that is finished is not repeated. The plan's fingerprint
(spacings, sizes, grey levels) is the only thing that a fold's model shares with its held-out cases, as in nnU-Net.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.analysis.evaluation.scores import CaseScores
from medseg.analysis.evaluation.summary import summarise
from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, PlanError
from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.datasets.splits import require_whole_subjects
from medseg.models.bundle import LISTING, ModelBundle, load_bundle
from medseg.models.ensemble import Ensemble, save_ensemble
from medseg.training.cases import prepare_cases
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import DEFAULT_CHOICE, Budget
from medseg.workflows.choose_mirroring import Mirroring, choose_mirroring, score_unmirrored, unmirrored
from medseg.workflows.evaluate_model import Evaluation, bundle_scores, read_case_scores, write_case_scores
from medseg.workflows.make_plan import plan_training
from medseg.workflows.progress import Progress, silent
from medseg.workflows.train_model import require_chosen, train_model

PLAN, FOLDS, PREPARED = "plan.toml", "folds.json", "prepared"
VALIDATION, MIRRORING = "validation.csv", "mirroring.json"

SHARE_OF_STEPS = 0.8
"""Of the minutes that are left after the cases were prepared, this part goes to training steps, shared evenly among the
folds; the rest to scoring every case with and without mirroring."""

LEAST_SHARE = 0.5
"""Of all minutes, at least this part counts as left, however long preparing took: a fold must learn something."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The ensemble of the folds' models, and the out-of-fold scores of every case.

    The scores are of single models, each on cases it did not learn from; no held-out case is left to score the
    ensemble on. `fold_dice` is the mean Dice of each fold. `mirroring` is None where the plan does not mirror.
    """

    ensemble: Ensemble
    folder: Path
    evaluation: Evaluation
    fold_dice: tuple[float, ...]
    mirroring: Mirroring | None
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
    the data has fewer than two folds, a case without a mask, or a subject in two folds; PlanError where plan, data and
    run folder do not belong together.
    """
    begin = time.monotonic()
    budget = budget or Budget()
    _require_folds(manifest)
    _remember_folds(manifest, run_folder / FOLDS)
    plan = _settle_plan(manifest, run_folder, plan, budget, progress)
    folds = [_run_fold(manifest, number, run_folder, plan, budget, progress) for number in manifest.folds]
    mirroring = _choose_mirroring(manifest, plan, folds, run_folder)
    if mirroring is not None and not mirroring.is_kept:
        folds = [_without_mirroring(fold, manifest) for fold in folds]
    evaluation = _evaluation([score for fold in folds for score in fold.evaluation.cases], manifest.in_folds)
    write_case_scores(evaluation.cases, run_folder / VALIDATION)
    known = (
        f"out of fold: each of the {len(evaluation.cases)} cases scored by the one member that did not learn from it; "
        "the ensemble itself has not been scored on held-out data"
    )
    scores = bundle_scores(evaluation, manifest.facts.name, known)
    ensemble = save_ensemble(run_folder / "model", {fold.folder.name: fold.bundle for fold in folds}, scores)
    fold_dice = tuple(fold.evaluation.summary.over_labels["dice"].mean for fold in folds)
    return CrossValidation(ensemble, run_folder / "model", evaluation, fold_dice, mirroring, time.monotonic() - begin)


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """A fold's model and its held-out scores, as planned and without mirroring; None where the plan does not mirror."""

    number: int
    folder: Path
    bundle: ModelBundle
    evaluation: Evaluation
    unmirrored: Evaluation | None


def _run_fold(
    manifest: Manifest, number: int, run_folder: Path, plan: Plan, budget: Budget, progress: Progress
) -> _Fold:
    """The fold, trained where it is not yet."""

    def told(stage: str, done: float, total: float, note: str = "") -> None:
        progress(f"Fold {number}: {stage}", done, total, note)

    folder = run_folder / f"fold_{number}"
    is_whole = (folder / "model" / LISTING).is_file() and (folder / VALIDATION).is_file()
    if is_whole and read_plan(folder / PLAN) == plan:
        bundle = load_bundle(folder / "model")
    else:
        _share_prepared(run_folder, folder)
        bundle = train_model(manifest, number, folder, plan=plan, budget=budget, progress=told).bundle
    held_out = manifest.validation(number)
    seen = sorted({case.name for case in held_out} & bundle.provenance.case_sha256.keys())
    if seen:
        raise PlanError(
            f"the model in {folder} learned from case {seen[0]}, which its fold holds out. Delete {folder}."
        )
    evaluation = _evaluation(read_case_scores(folder / VALIDATION, manifest.task), held_out)
    plain = None
    if plan.model.window.mirror_axes:
        scores = score_unmirrored(bundle, held_out, folder, device=budget.device, progress=told)
        plain = _evaluation(scores, held_out)
    return _Fold(number, folder, bundle, evaluation, plain)


def _share_prepared(run_folder: Path, folder: Path) -> None:
    """Let a fold find the cases that were prepared for all; a relative link, so that the run folder can be moved."""
    (run_folder / PREPARED).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if not (folder / PREPARED).exists():
        (folder / PREPARED).symlink_to(Path("..") / PREPARED, target_is_directory=True)


def _settle_plan(
    manifest: Manifest, run_folder: Path, wanted: Plan | Choice | None, budget: Budget, progress: Progress
) -> Plan:
    """The one plan, as it stands in the run folder afterwards, with each fold's share of the minutes."""
    path = run_folder / PLAN
    if path.exists():
        there = read_plan(path)
        if isinstance(wanted, Plan) and wanted != there:
            raise PlanError(
                f"{run_folder} holds a cross-validation by another plan. Take another run folder, or leave out --plan."
            )
        if isinstance(wanted, Choice):
            require_chosen(there, wanted, run_folder)
        return there
    begin = time.monotonic()
    if isinstance(wanted, Plan):
        plan = wanted
    else:
        plan, fingerprint = plan_training(manifest, None, budget, progress, wanted or DEFAULT_CHOICE)
        with whole_file(run_folder / "fingerprint.json") as unfinished:
            unfinished.write_text(fingerprint.model_dump_json(indent=1), encoding="utf-8")
        prepare_cases(
            manifest.in_folds,
            plan.model.task,
            plan.model.preparation,
            run_folder / PREPARED,
            lambda done, total: progress("Preparing all cases", done, total),
        )
        if budget.minutes is not None:
            left = max(budget.minutes - (time.monotonic() - begin) / 60, LEAST_SHARE * budget.minutes)
            spec = plan.training.model_copy(update={"minutes": left * SHARE_OF_STEPS / len(manifest.folds)})
            plan = plan.model_copy(update={"training": spec})
    write_plan(plan, path)
    return plan


def _choose_mirroring(manifest: Manifest, plan: Plan, folds: Sequence[_Fold], run_folder: Path) -> Mirroring | None:
    """The decision over all folds, written down; None where the plan does not mirror."""
    subject_of = {case.name: case.subject for case in manifest.in_folds}
    mirrored = [score for fold in folds for score in fold.evaluation.cases]
    plain = [score for fold in folds if fold.unmirrored for score in fold.unmirrored.cases]
    if not plain:
        return None
    subjects = [subject_of[score.case] for score in plain]
    axes = plan.model.window.mirror_axes
    mirroring = choose_mirroring(axes, plain, mirrored, subjects, [fold.folder for fold in folds])
    with whole_file(run_folder / MIRRORING) as unfinished:
        unfinished.write_text(mirroring.model_dump_json(indent=1), encoding="utf-8")
    return mirroring


def _without_mirroring(fold: _Fold, manifest: Manifest) -> _Fold:
    if fold.unmirrored is None:
        return fold
    scores = bundle_scores(fold.unmirrored, manifest.facts.name, f"fold {fold.number}, held out from training")
    return replace(fold, bundle=replace(unmirrored(fold.bundle), scores=scores), evaluation=fold.unmirrored)


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


def _require_folds(manifest: Manifest) -> None:
    name = manifest.facts.name
    if len(manifest.folds) < 2:
        raise InputError(
            f"cross-validation needs two folds or more, data set {name} has {len(manifest.folds)}. "
            "Fill the fold column of its cases.csv, or let `medseg data list` do so."
        )
    in_folds = [row for row in manifest.rows if row.fold is not None]
    require_whole_subjects(
        {row.case: row.fold for row in in_folds}, {row.case: row.subject for row in in_folds}, f"data set {name}"
    )
    for case in manifest.in_folds:
        if case.label is None:
            raise InputError(f"case {case.name} of {name} has no reference mask; give it one, or make its fold test")


def _remember_folds(manifest: Manifest, path: Path) -> None:
    """Write down which case stands in which fold. Raises PlanError where the file says otherwise already."""
    cases = {
        row.case: {"fold": row.fold, "subject": row.subject, "sha256": {f.path: f.sha256 for f in row.files}}
        for row in manifest.rows
        if row.fold is not None
    }
    text = json.dumps({"dataset": manifest.facts.name, "cases": cases}, indent=1)
    if not path.exists():
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise PlanError(
            f"{path.parent} holds a cross-validation of other data, or of other folds. Take another run folder."
        )
