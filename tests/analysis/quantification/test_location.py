"""In which organ and on which side a drawn lesion lies."""

import numpy as np
import pytest

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.core.task import Task, load_task

GRID = Geometry.from_spacing((20, 9, 9), (1.0, 1.0, 1.0))
LEFT = Code(value="7771000", scheme="SCT", meaning="Left")
RIGHT = Code(value="24028007", scheme="SCT", meaning="Right")


@pytest.fixture(scope="module")
def task() -> Task:
    """A right and a left kidney (1 and 3) and lesions (2)."""
    made = load_task("phantom_ct")
    organ, lesion, vessel, _ = made.labels
    kidneys = (
        organ.model_copy(update={"name": "right_kidney", "modifier": RIGHT}),
        vessel.model_copy(update={"name": "kidney", "modifier": LEFT}),
    )
    return made.model_copy(update={"labels": (kidneys[0], lesion, kidneys[1]), "min_finding_ml": 0.0})


def test_a_lesion_lies_in_the_organ_around_it_and_on_its_side(task: Task) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    array[0:7, 0:7, 0:7], array[9:16, 0:7, 0:7] = 1, 3
    array[2:5, 2:5, 2:5] = 2  # wholly in the right one
    array[15:17, 3, 3] = 2  # at the edge of the left one
    array[18:20, 8, 8] = 2  # beside both
    findings = measure_findings(LabelMap(array, GRID, task.label_schema), task)
    lesions = [finding for finding in findings if finding.label.name == "lesion"]
    assert [(one.organ.name if one.organ else None, one.side) for one in lesions] == [
        ("right_kidney", "right"), ("kidney", "left"), (None, None),
    ]  # fmt: skip
    assert [one.place for one in lesions] == ["right kidney", "left kidney", ""]
    assert [one.side for one in findings if not one.label.is_counted] == ["right", "left"]


def test_without_an_organ_the_side_that_was_imaged_is_told(task: Task) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    array[2:5, 2:5, 2:5] = 2
    mask = LabelMap(array, GRID, task.label_schema)
    for laterality, side in (("L", "left"), ("R", "right"), ("B", None), ("", None)):
        (lesion,) = measure_findings(mask, task, laterality=laterality)
        assert (lesion.organ, lesion.side, lesion.place) == (None, side, side or "")
