"""The Dice that probabilities promise, by hand."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import load_task
from medseg.models.quality.expected_dice import expected_dice

GRID = Geometry.from_spacing((4, 1, 1), (1.0, 1.0, 1.0))
SCHEMA = load_task("hippocampus_mr").label_schema


def test_by_hand() -> None:
    mask = LabelMap(np.array([1, 1, 0, 0], np.uint8).reshape(4, 1, 1), GRID, SCHEMA)
    likely = ProbabilityMap(np.array([255, 153, 102, 0], np.uint8).reshape(4, 1, 1), GRID)  # 1, 0.6, 0.4, 0
    nothing = ProbabilityMap(np.zeros((4, 1, 1), np.uint8), GRID)
    told = Probabilities({"anterior_hippocampus": likely, "posterior_hippocampus": nothing})
    assert expected_dice(mask, told) == {"anterior_hippocampus": pytest.approx(2 * 1.6 / (2 + 2))}
