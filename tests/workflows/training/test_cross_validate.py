"""Cross-validation from end to end on balls in noise: three folds of two patients each, one of them with two scans."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.analysis.evaluation.foreground_bias import BIASES
from medseg.core.errors import InputError, PlanError, StoreError
from medseg.core.task import Region
from medseg.datasets.manifest import Manifest
from medseg.jobs.job import Job
from medseg.models.bundle import load_bundle
from medseg.models.inference.ensemble import load_ensemble
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, TrainingSpec, read_plan
from medseg.training.planning.rules import Budget
from medseg.workflows.models.evaluate_model import evaluate_bundle, read_case_scores, write_case_scores
from medseg.workflows.segmenting.process_batch import SegmentScans
from medseg.workflows.segmenting.segment_study import open_bundle, segment_study
from medseg.workflows.training import cross_validate as workflow
from medseg.workflows.training.choose_bias import BIASED, Decoding, choose_bias
from medseg.workflows.training.choose_mirroring import UNMIRRORED, Mirroring, choose_mirroring
from medseg.workflows.training.cross_validate import CrossValidation, cross_validate, what_is_known
from medseg.workflows.training.settle_folds import LEAST_SHARE, SHARE_OF_STEPS, share_minutes
from medseg.workflows.training.train_model import train_model

FOLDS = {"ball0": 0, "ball1": 0, "ball2": 1, "ball3": 1, "ball4": 2, "ball5": 2}


@pytest.fixture(scope="session")
def folded_data(ball_data: Manifest) -> Manifest:
    """The two scans of fold 1 are of one patient."""
    rows = [
        replace(row, fold=FOLDS[row.case], subject="twice" if FOLDS[row.case] == 1 else row.case)
        for row in ball_data.rows
    ]
    return replace(ball_data, rows=tuple(rows))


@pytest.fixture(scope="session")
def quick_plan(ball_plan: Plan) -> Plan:
    """A few steps, mirrored left to right."""
    window = ball_plan.model.window.model_copy(update={"mirror_axes": (0,)})
    training = TrainingSpec(batch_size=1, steps_per_epoch=6, epochs=1, average_decay=0.2, learning_rate=2e-2)
    return Plan(model=ball_plan.model.model_copy(update={"window": window}), training=training)


@pytest.fixture(scope="session")
def crossed(folded_data: Manifest, quick_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    return cross_validate(folded_data, tmp_path_factory.mktemp("crossed") / "run", plan=quick_plan)


@pytest.fixture
def run_folder(crossed: CrossValidation, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return shutil.copytree(crossed.folder.parent, tmp_path / "run", symlinks=True)


def test_every_case_is_scored_once_by_a_model_that_never_saw_its_patient(
    crossed: CrossValidation, folded_data: Manifest
) -> None:
    run = crossed.folder.parent
    with (run / "validation.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == list(FOLDS)
    subject_of = {case.name: case.subject for case in folded_data.cases}
    for fold in (0, 1, 2):
        bundle = load_bundle(run / f"fold_{fold}" / "model")
        learned = set(bundle.provenance.case_sha256)
        held_out = {case for case, number in FOLDS.items() if number == fold}
        assert learned == FOLDS.keys() - held_out
        assert not {subject_of[case] for case in learned} & {subject_of[case] for case in held_out}
        scores = read_case_scores(run / f"fold_{fold}" / "validation.csv", folded_data.task)
        assert {score.case for score in scores} == held_out
    dice = [case.value("sarcoma", "dice") for case in crossed.evaluation.cases]
    assert crossed.evaluation.summary.over_labels["dice"].mean == pytest.approx(sum(dice) / 6)
    assert crossed.fold_dice == pytest.approx([(dice[n] + dice[n + 1]) / 2 for n in (0, 2, 4)])
    assert max(dice) > 0


def test_all_folds_follow_one_plan_and_share_the_prepared_cases(crossed: CrossValidation, quick_plan: Plan) -> None:
    run = crossed.folder.parent
    assert [read_plan(folder / "plan.toml") for folder in (run, *sorted(run.glob("fold_*")))] == [quick_plan] * 4
    assert len(list((run / "prepared").iterdir())) == 6
    assert all((run / f"fold_{fold}" / "prepared").samefile(run / "prepared") for fold in (0, 1, 2))


def test_the_ensemble_says_what_is_known_of_it(crossed: CrossValidation) -> None:
    ensemble = load_ensemble(crossed.folder)
    assert ensemble.sha256 == crossed.ensemble.sha256
    assert len(ensemble.members) == 3
    scores = json.loads((crossed.folder / "scores.json").read_text())
    assert "each of the 6 cases scored by the one member that did not learn from it" in scores["split"]
    assert "the ensemble itself has not been scored on held-out data" in scores["split"]
    dice = next(score for score in scores["scores"] if (score["metric"], score["label"]) == ("dice", "mean"))
    assert dice["mean"] == crossed.evaluation.summary.over_labels["dice"].mean
    assert dice["cases"] == 6


def test_scores_of_weights_that_were_chosen_by_held_out_cases_say_so(quick_plan: Plan) -> None:
    def known(**changed: object) -> str:
        training = quick_plan.training.model_copy(update=changed)
        return what_is_known(quick_plan.model_copy(update={"training": training}), 6)

    assert known().endswith("held-out data")
    assert known(keep="best").endswith("which flatters")
    assert known(early_stop_looks=3).endswith("which flatters")


@pytest.mark.parametrize("least_gain", [-1.0, 1.0])
def test_what_was_decided_on_mirroring_is_what_is_kept_and_scored(
    run_folder: Path, folded_data: Manifest, monkeypatch: pytest.MonkeyPatch, least_gain: float
) -> None:
    def decide(*given: Any) -> Mirroring:
        return choose(*given).model_copy(update={"is_kept": least_gain < 0})

    choose = choose_mirroring
    monkeypatch.setattr(workflow, "choose_mirroring", decide)
    monkeypatch.setattr(workflow, "best_bias", lambda curves: 0.0)
    again = cross_validate(folded_data, run_folder)
    assert again.mirroring is not None
    source = "validation.csv" if least_gain < 0 else UNMIRRORED
    for fold, member in enumerate(again.ensemble.members):
        assert member.spec.window.mirror_axes == ((0,) if least_gain < 0 else ())
        expected = read_case_scores(run_folder / f"fold_{fold}" / source, folded_data.task)
        assert again.evaluation.cases[2 * fold : 2 * fold + 2] == expected
        assert member.scores is not None
        dice = next(s.mean for s in member.scores.scores if (s.metric, s.label) == ("dice", "mean"))
        assert dice == pytest.approx(again.fold_dice[fold], abs=1e-5)
    kept, original = again.ensemble.members[0], load_bundle(run_folder / "fold_0" / "model")
    assert (kept.sha256 == original.sha256) == (least_gain < 0)
    without = read_case_scores(run_folder / "fold_0" / UNMIRRORED, folded_data.task)
    assert without != read_case_scores(run_folder / "fold_0" / "validation.csv", folded_data.task)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_bias_is_fitted_on_the_other_folds_and_judged_on_its_own(
    run_folder: Path, folded_data: Manifest, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    def decide(*given: Any) -> Decoding:
        return choose_bias(*given).model_copy(update={"is_kept": is_kept})

    def told_biases(curves: np.ndarray) -> float:
        seen.append(curves)
        return biases[len(seen) - 1]

    (run_folder / "fold_0" / BIASED).unlink(missing_ok=True)
    seen: list[np.ndarray] = []
    biases = [-3.0, 0.25, 0.0, 0.5]  # of the folds, then of all
    monkeypatch.setattr(workflow, "best_bias", told_biases)
    monkeypatch.setattr(workflow, "choose_bias", decide)
    result = cross_validate(folded_data, run_folder)
    curves = seen[-1]
    assert len(curves) == 6
    for fold in (0, 1, 2):
        np.testing.assert_array_equal(seen[fold], np.delete(curves, [2 * fold, 2 * fold + 1], axis=0))
    assert result.decoding is not None
    assert (result.decoding.bias, result.decoding.fold_biases) == (0.5, (-3.0, 0.25, 0.0))
    biased = read_case_scores(run_folder / "fold_0" / BIASED, folded_data.task)
    assert (result.evaluation.cases[:2] == biased) == is_kept
    assert {member.spec.foreground_bias for member in result.ensemble.members} == {0.5 if is_kept else 0.0}
    # with a bias of -3 a mask shrinks; the curve and the scores of whole scans tell of the same masks
    plain = load_bundle(run_folder / "fold_0" / "model")
    assert plain.spec.foreground_bias == 0
    at = BIASES.index(-3.0)
    for score, curve in zip(biased, curves[:2], strict=True):
        assert score.value("sarcoma", "dice") == pytest.approx(curve[at, 0], abs=0.05)


def test_the_ensemble_answers_to_every_command_that_takes_a_model(
    crossed: CrossValidation, folded_data: Manifest, tmp_path: Path
) -> None:
    (channel, scan), *_ = folded_data.cases[0].channels.items()
    report = segment_study({channel: scan}, open_bundle(crossed.folder), tmp_path / "one")
    assert report.model.sha256 == crossed.ensemble.sha256
    evaluation = evaluate_bundle(crossed.folder, folded_data, 0)
    assert len(evaluation.cases) == 2
    assert evaluation.warnings[0].startswith("members of the ensemble learned from 2 of these 2 cases")
    assert evaluate_bundle(crossed.folder.parent / "fold_0" / "model", folded_data, 0).warnings == ()
    assert "the model learned from 2" in evaluate_bundle(crossed.folder / "fold_0", folded_data, 1).warnings[0]
    start = SegmentScans(crossed.folder, crossed.ensemble.sha256, tmp_path / "many", "cpu")
    start(1)(Job(workflow="segment_scan", arguments={"name": "a", "sources": {channel: str(scan)}, "series": {}}))
    assert (tmp_path / "many" / "a" / "segmentation.nii.gz").read_bytes()
    with pytest.raises(StoreError, match="was changed"):
        replace(start, model=crossed.folder / "fold_0")(1)


def test_what_was_killed_between_folds_goes_on_with_the_fold_that_is_missing(
    folded_data: Manifest, quick_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def dying(manifest: Manifest, fold: int, *rest: Any, **named: Any) -> Any:
        if fold == 1 and 1 not in trained:
            trained.append(1)
            raise KeyboardInterrupt
        trained.append(fold)
        return train_model(manifest, fold, *rest, **named)

    monkeypatch.setattr(workflow, "train_model", dying)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(folded_data, tmp_path / "run", plan=quick_plan)
    assert not (tmp_path / "run" / "model").exists()
    first = load_bundle(tmp_path / "run" / "fold_0" / "model").sha256
    result = cross_validate(folded_data, tmp_path / "run")
    assert trained == [0, 1, 1, 2]
    assert result.ensemble.members[0].provenance == load_bundle(tmp_path / "run" / "fold_0" / "model").provenance
    assert load_bundle(tmp_path / "run" / "fold_0" / "model").sha256 == first
    assert [case.case for case in result.evaluation.cases] == list(FOLDS)
    again = cross_validate(folded_data, tmp_path / "run")
    assert trained == [0, 1, 1, 2]
    assert again.ensemble.sha256 == result.ensemble.sha256


def test_deleted_scores_are_made_again_without_training(
    run_folder: Path, folded_data: Manifest, crossed: CrossValidation
) -> None:
    checkpoint = run_folder / "fold_0" / "checkpoint.safetensors"
    before = checkpoint.stat().st_mtime_ns
    for name in ("validation.csv", UNMIRRORED):
        (run_folder / "fold_0" / name).unlink()
    assert cross_validate(folded_data, run_folder).evaluation.cases == crossed.evaluation.cases
    assert checkpoint.stat().st_mtime_ns == before


class TestRefused:
    def test_a_run_of_other_folds_or_another_plan(
        self, run_folder: Path, folded_data: Manifest, quick_plan: Plan
    ) -> None:
        other = replace(folded_data, rows=folded_data.rows[:4])
        with pytest.raises(PlanError, match="other data, or of other folds"):
            cross_validate(other, run_folder)
        training = quick_plan.training.model_copy(update={"epochs": 9})
        with pytest.raises(PlanError, match="by another plan"):
            cross_validate(folded_data, run_folder, plan=quick_plan.model_copy(update={"training": training}))
        with pytest.raises(PlanError, match=r"of unet3d with the loss dice \+ focal.*leave out --network"):
            cross_validate(folded_data, run_folder, plan=Choice("pspnet"))
        with pytest.raises(PlanError, match="of unet3d with the loss"):
            cross_validate(folded_data, run_folder, plan=Choice("unet3d", ("dice",)))

    def test_a_fold_whose_model_knows_its_held_out_cases(self, run_folder: Path, folded_data: Manifest) -> None:
        (run_folder / "fold_0").rename(run_folder / "aside")
        (run_folder / "fold_1").rename(run_folder / "fold_0")
        (run_folder / "aside").rename(run_folder / "fold_1")
        with pytest.raises(PlanError, match="learned from case ball0, which its fold holds out"):
            cross_validate(folded_data, run_folder)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda lines: lines[:-1], "not those of each case once: ball1"),
            (lambda lines: [*lines, lines[-1]], "each label and region of case ball1 once"),
            (lambda lines: [lines[0], lines[1].replace("ball0", "ball9"), lines[2]], "each case once: ball0"),
            (lambda lines: [line.replace(",", ";") for line in lines], "does not hold the scores of cases"),
            (lambda lines: [lines[0], lines[1].replace("0.", "o."), lines[2]], "does not hold the scores of cases"),
        ],
    )
    def test_scores_that_are_not_of_each_case_once(
        self, run_folder: Path, folded_data: Manifest, damage: Callable[[list[str]], list[str]], message: str
    ) -> None:
        for name in ("validation.csv", UNMIRRORED):
            path = run_folder / "fold_0" / name
            path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
        with pytest.raises(InputError, match=message):
            cross_validate(folded_data, run_folder)

    def test_data_that_cannot_be_cross_validated(self, folded_data: Manifest, tmp_path: Path) -> None:
        def refused(rows: list[Any], message: str) -> None:
            with pytest.raises(InputError, match=message):
                cross_validate(replace(folded_data, rows=tuple(rows)), tmp_path / "run")
            assert not (tmp_path / "run").exists()

        rows = folded_data.rows
        refused([replace(row, fold=0) for row in rows], "needs two folds or more, .* has 1")
        refused([replace(rows[2], fold=0), *rows[3:]], "divides subject twice between folds")
        refused([replace(rows[0], label=None), *rows[1:]], "case ball0 .* has no reference mask")


def test_one_plan_is_made_from_all_cases_and_the_minutes_are_shared(
    folded_data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (replace(folded_data.rows[0], fold=None), *folded_data.rows[1:])  # one case is kept for the test
    given: list[Plan] = []

    def stop(*_: Any, plan: Plan, **__: Any) -> Any:
        given.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "train_model", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            cross_validate(replace(folded_data, rows=rows), tmp_path / "run", budget=Budget(minutes=30.0))
    assert given[0] == given[1] == read_plan(tmp_path / "run" / "plan.toml")
    fingerprint = json.loads((tmp_path / "run" / "fingerprint.json").read_text())
    assert len(fingerprint["cases"]) == 5
    minutes = given[0].training.minutes
    assert minutes is not None
    assert LEAST_SHARE * 30 / 3 <= minutes < SHARE_OF_STEPS * 30 / 3


def test_minutes_are_shared_after_what_preparing_and_scoring_need() -> None:
    assert share_minutes(10.0, spent_s=60, scoring_s=120) == pytest.approx(7 * SHARE_OF_STEPS)
    assert share_minutes(10.0, spent_s=60, scoring_s=6000) == 10 * LEAST_SHARE


def test_scores_come_back_as_they_were_written(crossed: CrossValidation, folded_data: Manifest, tmp_path: Path) -> None:
    case = crossed.evaluation.cases[0]
    missed = replace(case, labels=(replace(case.labels[0], dice=0.0, hd95_mm=float("inf")),))
    write_case_scores([case, replace(missed, case="missed")], tmp_path / "scores.csv")
    assert read_case_scores(tmp_path / "scores.csv", folded_data.task) == (case, replace(missed, case="missed"))
    region = Region(name="whole", labels=("sarcoma",))
    whole = replace(case, regions=(replace(case.labels[0], label="whole", dice=0.25),))
    write_case_scores([whole], tmp_path / "regions.csv")
    task = folded_data.task.model_copy(update={"regions": (region,)})
    assert read_case_scores(tmp_path / "regions.csv", task) == (whole,)
