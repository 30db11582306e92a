"""Solids against the volumes that geometry gives them."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.anatomy import rotation
from medseg.datasets.phantoms.shapes import CutEllipsoid, Ellipsoid, Shape, coverage
from medseg.datasets.phantoms.tubes import Tube, TubeStretch, bezier

GRID = Geometry.from_spacing((60, 60, 50), (1.0, 1.1, 1.3), (-29.5, -32.0, -31.0))
UPRIGHT = np.eye(3)


def filled_ml(shape: Shape, geometry: Geometry = GRID) -> float:
    return float(coverage(shape, geometry)[1].sum(dtype=np.float64)) * geometry.voxel_volume_ml


def straight_tube(radius_mm: float, length_mm: float = 40.0) -> Tube:
    points = np.stack([np.zeros(81), np.zeros(81), np.linspace(-length_mm / 2, length_mm / 2, 81)], axis=1)
    return Tube(points, np.full(81, radius_mm))


def test_an_ellipsoid_fills_its_volume() -> None:
    axes = rotation(30, -20, 65)
    shape = Ellipsoid(np.array([1.0, -2.0, 0.5]), np.array([6.0, 11.0, 15.0]), axes)
    assert filled_ml(shape) == pytest.approx(4 / 3 * np.pi * 6 * 11 * 15 / 1000, rel=0.003)


def test_partial_voxels_hold_fractions() -> None:
    _, filled = coverage(Ellipsoid(np.zeros(3), np.full(3, 5.0), UPRIGHT), GRID)
    assert ((filled > 0.05) & (filled < 0.95)).any()
    assert filled.max() == 1


@pytest.mark.parametrize("depth_mm", [-8.0, 0.0, 5.0, 30.0])
def test_a_cut_ellipsoid_fills_what_its_formula_says(depth_mm: float) -> None:
    whole = Ellipsoid(np.zeros(3), np.array([10.0, 14.0, 18.0]), rotation(10, 20, 30))
    normal = np.array([0.6, 0.0, 0.8])
    shape = CutEllipsoid(whole, normal, depth_mm)
    assert filled_ml(shape) == pytest.approx(shape.volume_ml, rel=0.004)


def test_half_an_ellipsoid_has_half_its_volume() -> None:
    whole = Ellipsoid(np.zeros(3), np.array([10.0, 14.0, 18.0]), UPRIGHT)
    half = CutEllipsoid(whole, np.array([0.0, 0.0, 1.0]), 0.0)
    assert half.volume_ml == pytest.approx(0.5 * 4 / 3 * np.pi * 10 * 14 * 18 / 1000)


def test_a_tube_has_round_ends() -> None:
    expected = np.pi * 4.0**2 * 40 + 4 / 3 * np.pi * 4.0**3
    assert filled_ml(straight_tube(4.0)) == pytest.approx(expected / 1000, rel=0.005)


def test_a_stretch_of_a_bent_tube_has_the_volume_of_a_straight_one() -> None:
    points = bezier(np.array([[-20.0, -10.0, -15.0], [0.0, 22.0, 0.0], [20.0, -10.0, 15.0]]))
    stretch = TubeStretch(Tube(points, np.full(len(points), 3.5)), 10.0, 35.0)
    assert stretch.volume_ml == pytest.approx(np.pi * 3.5**2 * 25 / 1000, rel=1e-6)
    assert filled_ml(stretch) == pytest.approx(stretch.volume_ml, rel=0.005)


def test_a_closed_lumen_fills_nothing() -> None:
    assert filled_ml(straight_tube(0.0)) == 0


def test_the_nearest_place_on_a_straight_tube_is_exact() -> None:
    tube = straight_tube(2.0)
    place, distance = tube.nearest(np.array([[3.0, 4.0, 7.3], [0.0, 1.0, -30.0]]))
    np.testing.assert_allclose(place, [27.3, 0.0], atol=1e-9)
    np.testing.assert_allclose(distance, [5.0, np.hypot(1.0, 10.0)], atol=1e-9)


def test_a_shape_beside_the_grid_fills_nothing() -> None:
    assert filled_ml(Ellipsoid(np.full(3, 500.0), np.full(3, 5.0), UPRIGHT)) == 0


def test_a_shape_over_the_edge_is_cut_there() -> None:
    corner = GRID.world((-0.5, 29.5, 24.5))
    assert filled_ml(Ellipsoid(corner, np.full(3, 9.0), UPRIGHT)) == pytest.approx(
        0.5 * 4 / 3 * np.pi * 9**3 / 1000, rel=0.01
    )
