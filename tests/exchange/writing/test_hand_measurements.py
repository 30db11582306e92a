"""What readers measured by hand in a structured report: numbers and places by the plain items, each lie refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_results import Result, require_valid, result_on
from pydicom.dataset import Dataset

from medseg.analysis.quantification.by_hand import measure_by_hand
from medseg.core.errors import InputError
from medseg.core.findings import Mark, MarkKind
from medseg.exchange.dicom.writing.measurement_report import write_measurement_report
from medseg.exchange.dicom.writing.report_check import read_groups, require_same_numbers
from medseg.exchange.dicom.writing.segmentation import write_segmentation

DRAWN: dict[MarkKind, tuple[tuple[float, float, float], ...]] = {
    "length": ((1, 2, 1), (5, 6, 1)),
    "diameters": ((1, 2, 1), (5, 6, 1), (2, 5, 1), (4, 3, 1)),
    "angle": ((6, 4, 1), (2, 4, 1), (2, 8, 1)),
    "roi": ((1, 1, 1), (6, 9, 1)),
}


def drawn_on(folder: Path) -> Result:
    """A result on which a reader drew one mark of each kind."""
    result = result_on(folder)
    world = result.volume.geometry.world
    made = []
    for kind, points in DRAWN.items():
        places = tuple((float(x), float(y), float(z)) for x, y, z in world(points))
        made.append(measure_by_hand(Mark(kind=kind, plane="axial", points_mm=places), "Jane^Doe", result.volume))
    assert None not in made
    return replace(result, report=result.report.model_copy(update={"by_hand": tuple(made)}))


def written(folder: Path, result: Result) -> Path:
    write_segmentation(result.label_map, folder / "seg.dcm", result.made, None, result.regions)
    write_measurement_report(result.report, result.regions, folder / "sr.dcm", result.made, folder / "seg.dcm")
    return folder / "sr.dcm"


def test_numbers_and_places_stand_in_it(tmp_path: Path) -> None:
    result = drawn_on(tmp_path)
    path = written(tmp_path, result)
    require_valid(path)
    groups = [group for group in read_groups(path) if any(number.places for number in group.numbers)]
    assert [group.tracking_name for group in groups] == [
        "length 1, drawn by Jane^Doe", "two diameters 2, drawn by Jane^Doe", "angle 3, drawn by Jane^Doe",
        "ellipse 4, drawn by Jane^Doe",
    ]  # fmt: skip
    assert len({group.tracking_uid for group in groups}) == 4
    length = groups[0].numbers[0]
    ends = result.volume.geometry.world(DRAWN["length"])
    assert (length.code, length.scheme, length.unit) == ("410668003", "SCT", "mm")
    assert length.value == pytest.approx(float(np.linalg.norm(ends[0] - ends[1])), rel=1e-12)
    # RAS+ becomes LPS+: x and y change their sign.
    np.testing.assert_allclose(np.reshape(length.places, (2, 3)), ends * (-1, -1, 1), atol=1e-3)
    assert [(number.code, number.unit) for number in groups[1].numbers] == [("103339001", "mm"), ("103340004", "mm")]
    assert [number.unit for number in groups[3].numbers] == ["[hnsf'U]"] * 4 + ["mm2"]
    dataset = pydicom.dcmread(path)
    frames = {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedFrameOfReferenceUID"}
    assert frames == {result.volume.geometry.frame_of_reference}


def first_number(dataset: Dataset) -> Dataset:
    """The first number of the file that is inferred from a place."""
    waiting = [dataset]
    while waiting:
        item = waiting.pop(0)
        below = list(item.get("ContentSequence", []))
        if item.get("ValueType") == "NUM" and any(one.ValueType == "SCOORD3D" for one in below):
            return item
        waiting += below
    raise AssertionError("no number is inferred from a place")


def _value(number: Dataset) -> None:
    measured = number.MeasuredValueSequence[0]
    measured.NumericValue = "1.5"
    measured.FloatingPointValue = 1.5


def _place(number: Dataset) -> None:
    place = number.ContentSequence[0]
    place.GraphicData = [value + 1 for value in place.GraphicData]


def _no_place(number: Dataset) -> None:
    number.ContentSequence = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_value, "numbers of a length by"), (_place, "numbers of a length by"), (_no_place, "3 measurements by hand")],
    ids=["value", "place", "no place"],
)
def test_a_report_that_says_otherwise_is_not_delivered(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    result = drawn_on(tmp_path)
    dataset = pydicom.dcmread(written(tmp_path, result))
    marked = pydicom.dcmread(tmp_path / "seg.dcm")
    change(first_number(dataset))
    dataset.save_as(tmp_path / "changed.dcm")
    with pytest.raises(InputError, match=reason):
        require_same_numbers(result.report, result.regions, marked, tmp_path / "changed.dcm")
