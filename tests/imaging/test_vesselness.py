"""Bright tubes stand out, plates, blobs and dark tubes do not; eigenvalues as numpy has them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.imaging.vesselness import _eigenvalues, vesselness

SHAPE, SPACING = (48, 40, 32), (0.5, 0.6, 0.8)


def of_shape(distance_mm: NDArray[np.float64], height: float = 100.0) -> float:
    """The greatest vesselness within half a millimetre of the middle of a shape of 1.5 mm radius."""
    array = np.where(distance_mm < 1.5, height, 0.0).astype(np.float32)
    volume = Volume(array, Geometry.from_spacing(SHAPE, SPACING))
    return float(vesselness(volume, 100.0, distance_mm < 0.5).max())


def axes() -> list[NDArray[np.float64]]:
    grids = np.indices(SHAPE).astype(float)
    return [grids[axis] * SPACING[axis] - SHAPE[axis] * SPACING[axis] / 2 for axis in range(3)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tube_along_any_axis_is_one(axis: int) -> None:
    across = [one for at, one in enumerate(axes()) if at != axis]
    assert of_shape(np.hypot(*across)) > 0.75


def test_what_is_no_bright_tube_is_little() -> None:
    x, y, z = axes()
    assert of_shape(np.abs(x)) < 0.1
    assert of_shape(np.sqrt(x**2 + y**2 + z**2)) < 0.2
    assert of_shape(np.hypot(x, y), height=-100.0) == 0.0


def test_it_is_reckoned_only_where_it_is_asked_for() -> None:
    x, y, _ = axes()
    volume = Volume((np.hypot(x, y) < 1.5).astype(np.float32), Geometry.from_spacing(SHAPE, SPACING))
    where = np.zeros(SHAPE, dtype=bool)
    where[24, 20, 0] = where[24, 20, 31] = where[0, 0, 0] = True
    found = vesselness(volume, 1.0, where)
    assert found[24, 20, 0] > 0.5
    assert found[24, 20, 31] > 0.5
    assert found[~where].max() == 0.0
    assert vesselness(volume, 1.0, np.zeros(SHAPE, dtype=bool)).max() == 0.0


def test_eigenvalues() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 3, 3)).astype(np.float32)
    matrix = matrix + matrix.transpose(0, 2, 1)
    matrix[0] = 0.0
    matrix[1] = np.diag([2.0, 2.0, -1.0])
    np.testing.assert_allclose(np.sort(_eigenvalues(matrix), axis=1), np.linalg.eigvalsh(matrix), atol=2e-3)
