"""Balls, tubes and plates of known size, on cubic and on thick voxels, along and across the grid."""

import math

import numpy as np
import pytest

from medseg.analysis.quantification.shapefinders import Shapefinders, pattern_counts, shapefinders
from medseg.core.geometry import Spacing

CUBIC, THICK = (1.0, 1.0, 1.0), (0.7, 0.7, 2.0)
ALONG, ACROSS, OBLIQUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.3, 0.5, 0.8)


def place(size_mm: float, spacing_mm: Spacing) -> np.ndarray:
    """World coordinates (i, j, k, 3) around 0 of a grid that holds a body of that size."""
    sides = [int(size_mm / length) + 5 for length in spacing_mm]
    index = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in sides), indexing="ij"), axis=-1)
    return np.asarray(index * np.asarray(spacing_mm))


def cylinder(radius_mm: float, height_mm: float, axis: Spacing, spacing_mm: Spacing) -> Shapefinders:
    """The shapefinders of a tube, or of a disc where it is low."""
    points = place(max(height_mm, 2 * radius_mm), spacing_mm)
    unit = np.asarray(axis) / np.linalg.norm(axis)
    along = points @ unit
    away = np.linalg.norm(points - along[..., None] * unit, axis=-1)
    return measured((away <= radius_mm) & (np.abs(along) <= height_mm / 2), spacing_mm)


def measured(mask: np.ndarray, spacing_mm: Spacing) -> Shapefinders:
    found = shapefinders(mask, spacing_mm)
    assert found is not None
    return found


@pytest.mark.parametrize("spacing_mm", [CUBIC, THICK])
@pytest.mark.parametrize("radius_mm", [5.0, 10.0])
def test_all_three_are_a_balls_radius(spacing_mm: Spacing, radius_mm: float) -> None:
    ball = measured(np.linalg.norm(place(2 * radius_mm, spacing_mm), axis=-1) <= radius_mm, spacing_mm)
    for length in (ball.thickness_mm, ball.breadth_mm, ball.length_mm):
        assert length == pytest.approx(radius_mm, rel=0.08)
    assert ball.volume_mm3 == pytest.approx(4 / 3 * math.pi * radius_mm**3, rel=0.08)
    assert abs(ball.filamentarity) < 0.05
    assert abs(ball.planarity) < 0.05


@pytest.mark.parametrize("spacing_mm", [CUBIC, THICK])
@pytest.mark.parametrize("axis", [ALONG, ACROSS, OBLIQUE])
@pytest.mark.parametrize("radius_mm", [1.5, 4.0])
def test_a_tube_is_filamentary_wherever_it_runs(spacing_mm: Spacing, axis: Spacing, radius_mm: float) -> None:
    length_mm = 30 * radius_mm
    tube = cylinder(radius_mm, length_mm, axis, spacing_mm)
    # Its ends count: S = 2 pi r (l + r) and a mean breadth of (l + pi r) / 2.
    thickness_mm = 1.5 * radius_mm * length_mm / (length_mm + radius_mm)
    finder_mm = (length_mm + math.pi * radius_mm) / 4
    assert tube.length_mm == pytest.approx(finder_mm, rel=0.1 if spacing_mm == CUBIC else 0.2)
    assert tube.thickness_mm == pytest.approx(thickness_mm, rel=0.35 if radius_mm < 2 else 0.15)
    assert tube.tube_radius_mm == tube.thickness_mm / 1.5
    assert 0.5 < tube.filamentarity < 0.8
    assert tube.planarity < 0.25


@pytest.mark.parametrize("spacing_mm", [CUBIC, THICK])
@pytest.mark.parametrize("axis", [ALONG, ACROSS, OBLIQUE])
def test_a_disc_is_planar_and_no_tube(spacing_mm: Spacing, axis: Spacing) -> None:
    disc = cylinder(25.0, 4.0, axis, spacing_mm)
    # S = 2 pi a (a + h) and a mean breadth of (h + pi a) / 2.
    assert disc.length_mm == pytest.approx((4 + math.pi * 25) / 4, rel=0.1)
    assert disc.breadth_mm == pytest.approx(
        2 * 25 * (25 + 4) / (4 + math.pi * 25), rel=0.1 if spacing_mm == CUBIC else 0.15
    )
    assert disc.filamentarity < 0.15
    assert disc.planarity > 0.4


def test_size_does_not_matter() -> None:
    mask = np.zeros((40, 12, 12), bool)
    mask[2:38, 4:8, 4:8] = True
    once, thrice = measured(mask, CUBIC), measured(mask, (3.0, 3.0, 3.0))
    assert thrice.length_mm == pytest.approx(3 * once.length_mm)
    assert thrice.filamentarity == pytest.approx(once.filamentarity)
    assert thrice.planarity == pytest.approx(once.planarity)


def test_the_patterns_of_one_voxel_and_of_two() -> None:
    one = pattern_counts(np.ones((1, 1, 1), bool))
    assert [int(one[1 << bit]) for bit in range(8)] == [1] * 8  # seen from each corner
    assert one.sum() == 8
    two = pattern_counts(np.ones((1, 1, 2), bool))
    assert two.sum() == 2 * 2 * 3
    assert two[0b11] == 1  # both along k, at the corner (0, 0)


def test_nothing_and_a_sponge_have_no_shape() -> None:
    assert shapefinders(np.zeros((3, 3, 3), bool), CUBIC) is None
    sponge = np.ones((9, 9, 9), bool)
    sponge[1::2, 1::2, 1::2] = False  # every plane through the holes has sixteen, and one piece
    assert shapefinders(sponge, CUBIC) is None
