"""Probabilities in a byte a voxel."""

import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.probability import ProbabilityMap
from medseg.core.volume import Volume

GRID = Geometry.from_spacing((3, 1, 1), (1.0, 1.0, 1.0))


def test_numbers_come_back_to_half_a_step_and_the_ends_exactly() -> None:
    kept = ProbabilityMap.of(Volume(np.array([0.0, 0.3, 1.0]).reshape(GRID.shape), GRID))
    assert kept.array.ravel().tolist() == [0, 76, 255]  # 0.3 is 76.5 steps: the even one
    shown = kept.volume.array.ravel()
    assert (shown[0], shown[2]) == (0.0, 1.0)
    assert shown[1] == pytest.approx(0.3, abs=0.5 / 255 + 1e-7)
    assert kept.within((slice(1, 3), slice(None), slice(None))).ravel().tolist() == shown[1:].tolist()


def test_a_map_of_another_shape_is_refused_and_none_can_be_changed() -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        ProbabilityMap(np.zeros((2, 1, 1), np.uint8), GRID)
    with pytest.raises(ValueError, match="read-only"):
        ProbabilityMap(np.zeros(GRID.shape, np.uint8), GRID).array[0] = 1
