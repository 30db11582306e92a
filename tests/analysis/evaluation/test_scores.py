"""Scores of a case: every label, refused where grids or labels differ."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.analysis.evaluation.scores import METRICS, score_case
from medseg.analysis.evaluation.summary import summarise
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema

CODE = Code(value="4147007", scheme="SCT", meaning="Mass")


def schema(*names: str) -> LabelSchema:
    return LabelSchema(
        labels=tuple(
            Label(index=number, name=name, code=CODE, category=CODE, colour=(255, 0, 0))
            for number, name in enumerate(names, start=1)
        )
    )


def label_map(array: NDArray[np.uint8], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> LabelMap:
    return LabelMap(array, Geometry.from_spacing((8, 8, 8), spacing_mm), schema("first", "second", "third"))


@pytest.fixture
def reference() -> NDArray[np.uint8]:
    array = np.zeros((8, 8, 8), np.uint8)
    array[1:4, 1:4, 1:4] = 1
    array[5:7, 5:7, 5:7] = 2
    return array


def test_each_label_has_its_own_scores(reference: NDArray[np.uint8]) -> None:
    prediction = reference.copy()
    prediction[6, 5:7, 5:7] = 0  # half of the second label is missed
    scores = score_case(label_map(prediction), label_map(reference), tolerance_mm=1.0, case="a")
    assert scores.case == "a"
    assert [label.label for label in scores.labels] == ["first", "second", "third"]
    assert scores.value("first", "dice") == scores.value("first", "nsd") == 1
    assert scores.value("first", "hd95_mm") == scores.value("first", "assd_mm") == 0
    assert scores.value("second", "dice") == pytest.approx(8 / 12)
    assert scores.value("second", "volume_difference_ml") == pytest.approx(-0.008)
    assert scores.value("second", "volume_difference_percent") == pytest.approx(-50)
    assert scores.value("second", "hd95_mm") == pytest.approx(1.0)
    assert scores.labels[1].prediction_ml == pytest.approx(0.008)
    assert scores.labels[1].reference_ml == pytest.approx(0.016)


def test_a_label_in_neither_mask_is_undefined_not_perfect(reference: NDArray[np.uint8]) -> None:
    scores = score_case(label_map(reference), label_map(reference), tolerance_mm=1.0)
    assert all(math.isnan(scores.value("third", metric)) for metric in METRICS if metric != "volume_difference_ml")
    assert scores.value("third", "volume_difference_ml") == 0


def test_a_missed_and_an_invented_label(reference: NDArray[np.uint8]) -> None:
    prediction = np.where(reference == 2, 3, reference).astype(np.uint8)
    scores = score_case(label_map(prediction), label_map(reference), tolerance_mm=1.0)
    for name in ("second", "third"):
        assert [scores.value(name, metric) for metric in METRICS[:4]] == [0, 0, math.inf, math.inf]


def test_other_grids_are_refused_with_their_difference(reference: NDArray[np.uint8]) -> None:
    with pytest.raises(GeometryError, match=r"reference mask of case a are on different grids.*7\.000 mm apart"):
        score_case(label_map(reference), label_map(reference, spacing_mm=(1.0, 1.0, 1.0)), tolerance_mm=1.0, case="a")


def test_other_labels_are_refused(reference: NDArray[np.uint8]) -> None:
    other = LabelMap(reference, Geometry.from_spacing((8, 8, 8), (1.0, 1.0, 2.0)), schema("liver", "tumour"))
    with pytest.raises(InputError, match=r"name different labels.*'liver'"):
        score_case(other, label_map(reference), tolerance_mm=1.0)


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.nan, math.inf])
def test_a_tolerance_is_a_length(reference: NDArray[np.uint8], tolerance_mm: float) -> None:
    with pytest.raises(InputError, match="tolerance of the surface Dice"):
        score_case(label_map(reference), label_map(reference), tolerance_mm=tolerance_mm)


def test_a_region_is_scored_as_one_structure(reference: NDArray[np.uint8]) -> None:
    swapped = np.where(reference > 0, 3 - reference, 0).astype(np.uint8)  # first and second change names
    wholes = {"both": (1, 2), "second and third": (2, 3)}
    scores = score_case(label_map(swapped), label_map(reference), tolerance_mm=1.0, regions=wholes)
    assert scores.value("first", "dice") == 0
    assert scores.value("both", "dice") == scores.value("both", "nsd") == 1
    assert scores.value("second and third", "dice") == 0
    assert [region.label for region in scores.regions] == ["both", "second and third"]
    summary = summarise([scores, scores])
    assert list(summary.by_label) == ["first", "second", "third"]
    assert summary.by_region["both"]["dice"].mean == 1
    assert summary.over_labels["dice"].mean == 0  # of the labels alone
    plain = score_case(label_map(swapped), label_map(reference), tolerance_mm=1.0)
    with pytest.raises(InputError, match="scored for other labels"):
        summarise([scores, plain])
