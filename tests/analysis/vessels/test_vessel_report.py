"""What a vessel report says in files: grades that follow from the rest, old files, and veins without grades."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from medseg.analysis.vessels.findings.report import Blockage, BranchReport, VesselReport

FOLLOWS = {"length_mm", "area_percent", "area_interval", "cad_rads", "nascet_percent", "nascet"}


def blockage(percent: float = 50.0, branch: int = 0, number: int = 1, *, is_graded: bool = True) -> Blockage:
    return Blockage(
        number=number,
        branch=branch,
        kind="stenosis",
        centre_mm=(1.0, 2.0, 3.0),
        position_mm=14.0,
        start_mm=10.0,
        stop_mm=18.5,
        minimal_diameter_mm=4.0 * (1 - percent / 100),
        reference_diameter_mm=4.0,
        before_diameter_mm=4.0,
        after_diameter_mm=4.0,
        diameter_percent=percent,
        interval=(percent - 10, percent + 10),
        diameter_interval_mm=(1.5, 2.5),
        gap_mm=0.0,
        is_calcified=False,
        narrowings=1,
        fork_mm=None,
        confidence="confident",
        reasons=(),
        is_graded=is_graded,
    )


def branch(index: int, not_assessable: str | None = None) -> BranchReport:
    return BranchReport(
        index=index,
        parent=None,
        generation=0,
        length_mm=40.0,
        tortuosity=1.1,
        mean_diameter_mm=4.0,
        minimal_diameter_mm=2.0,
        not_assessable=not_assessable,
    )


REPORT = VesselReport(
    source="image",
    branches=(branch(0), branch(1), branch(2, "below resolution")),
    blockages=(blockage(70.0), blockage(30.0, number=2)),
    cad_rads="4A",
)


def test_a_file_holds_what_follows_and_is_read_back_the_same() -> None:
    text = REPORT.model_dump_json()
    said = json.loads(text)
    assert (
        said["blockages"][0]
        | {
            "length_mm": 8.5,
            "cad_rads": "4A",
            "nascet_percent": pytest.approx(70),
            "nascet": "severe",
        }
        == said["blockages"][0]
    )
    assert said["count_by_branch"] == {"0": 2, "1": 0}
    assert VesselReport.model_validate_json(text) == REPORT


def test_a_file_of_before_grades_were_kept_is_read() -> None:
    said = json.loads(REPORT.model_dump_json())
    del said["count_by_branch"]
    for one in said["blockages"]:
        for name in FOLLOWS | {"is_graded"}:
            del one[name]
    assert VesselReport.model_validate_json(json.dumps(said)) == REPORT


def test_a_grade_in_a_file_is_not_believed_but_made_anew() -> None:
    said = json.loads(blockage(70.0).model_dump_json()) | {"cad_rads": "1", "area_percent": 3.0}
    assert Blockage.model_validate_json(json.dumps(said)).cad_rads == "4A"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Blockage.model_validate_json(json.dumps(said | {"colour": "red"}))


def test_the_area_has_the_interval_of_the_diameter() -> None:
    one = blockage(50.0)
    assert one.area_percent == pytest.approx(75)
    assert one.area_interval == pytest.approx((64, 84))
    assert blockage(80.0).model_copy(update={"interval": (0.0, 100.0)}).area_interval == (0, 100)


def test_what_is_not_graded_has_sizes_and_no_category() -> None:
    one = blockage(70.0, is_graded=False)
    assert (one.cad_rads, one.nascet_percent, one.nascet) == (None, None, None)
    assert one.area_percent == pytest.approx(91)
