"""What to read next, and what the model's quality control expects of a result, as the pages are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from apps.viewer import desk as desks
from apps.viewer.desk import Desk
from apps.viewer.page_data import predicted_dice
from medseg.core.report import Report
from medseg.models.quality.control import ResultQuality
from medseg.models.quality.dice_prediction import PredictedDice
from medseg.review.corrections import Signature
from medseg.review.records import mask_sha256
from medseg.review.worklist import Candidate
from medseg.workflows.results.open_study import StudyEntry
from medseg.workflows.reviewing.plan_reading import candidate_of, plan_reading


def expect(folder: Path, dice: float | None) -> None:
    """Let the model's quality control have said that of a result; None where it cannot predict."""
    quality = ResultQuality(
        predicted=None if dice is None else PredictedDice(dice=dice, interval=(dice - 0.1, dice + 0.1), coverage=0.9),
        distances={"noise": 0.2},
        warnings=(),
    )
    (folder / "quality.json").write_text(quality.model_dump_json(), encoding="utf-8")


@pytest.fixture
def desk(write_result: Callable[..., Path], tmp_path: Path) -> Desk:
    for number, dice in enumerate((0.8, 0.4, 0.6)):
        expect(write_result(f"study_{number}", turned_deg=float(number)), dice)
    return Desk(tmp_path / "results")


def names(desk: Desk) -> list[str]:
    by_id = {entry.id: entry.name for entry in desk.entries()}
    return [by_id[study] for study in desk.reading_order()]


def test_the_order_is_that_of_the_command_and_leaves_out_what_is_decided(desk: Desk) -> None:
    assert names(desk) == [candidate.study for candidate in plan_reading(desk.folder)]
    study = desk.open(desk.entries()[1].id).opened
    assert study.report is not None
    assert study.label_map is not None
    by = Signature("jane", model_sha256=study.report.model.sha256)
    desk.reviews.decide(
        mask_sha256(study.label_map), "accepted", None, study.source_sha256, study.report.task.name, by=by
    )
    assert sorted(names(desk)) == ["study_0", "study_2"]


def test_a_result_is_judged_once_and_again_when_it_changes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def judge(entry: StudyEntry, _: Report) -> Candidate:
        judged.append(entry.name)
        return Candidate(entry.name)

    monkeypatch.setattr(desks, "candidate_of", judge)
    desk.reading_order()
    desk.reading_order()
    assert sorted(judged) == ["study_0", "study_1", "study_2"]
    report = desk.folder / "study_1" / "report.json"
    report.write_text(report.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    desk.reading_order()
    assert judged[3:] == ["study_1"]


def test_the_predicted_dice_is_told_until_the_mask_is_corrected(desk: Desk) -> None:
    entry = desk.entries()[0]
    shown = desk.open(entry.id)
    told = predicted_dice(shown)
    assert told is not None
    assert (told["dice"], told["interval"], told["coverage"]) == (0.8, pytest.approx([0.7, 0.9]), 0.9)
    opened = shown.opened
    assert opened.label_map is not None
    assert opened.report is not None
    array = opened.label_map.array.copy()
    array[0, 0, 0] = 2
    by = Signature("jane", model_sha256=opened.report.model.sha256)
    corrected = type(opened.label_map)(array, opened.label_map.geometry, opened.label_map.schema)
    desk.reviews.correct(corrected, opened.label_map, opened.source_sha256, opened.report.task.name, by=by)
    assert predicted_dice(desk.open(entry.id)) is None
    assert predicted_dice(desk.open(desk.entries()[2].id)) is not None


def test_a_gate_without_a_prediction_tells_no_dice_and_the_distance_still_counts(desk: Desk) -> None:
    """The doubt is then that of the kept probabilities, as without quality control."""
    entry = desk.entries()[1]
    report = desk.open(entry.id).opened.report
    assert report is not None
    (entry.path / "quality.json").unlink()
    by_probabilities = candidate_of(entry, report)
    expect(entry.path, None)
    assert predicted_dice(desk.open(entry.id)) is None
    assert candidate_of(entry, report) == replace(by_probabilities, strangeness=0.2)
