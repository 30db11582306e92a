"""Touching balls of known overlap, bridges of known width."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.geometry import Spacing
from medseg.imaging.regions.components import Component, connected_components
from medseg.imaging.regions.split_touching import cut_bridges, split_touching


def balls(spacing_mm: Spacing, *centres_and_radii_mm: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    shape = [round(60 / step) for step in spacing_mm]
    grid = np.moveaxis(np.indices(shape), 0, -1) * spacing_mm
    mask = np.zeros(shape, bool)
    for x, y, z, radius in centres_and_radii_mm:
        mask |= ((grid - (x, y, z)) ** 2).sum(-1) <= radius**2
    return mask


def whole(mask: NDArray[np.bool_]) -> Component:
    (component,) = connected_components(mask)
    return component


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_two_balls_are_parted_down_to_the_stated_overlap(spacing_mm: Spacing, direction: tuple[int, int, int]) -> None:
    # Radius 10 mm, depth 2 mm: a neck of 8 mm radius, middles 12 mm apart. Distances to voxel centres blur the
    # neck by half a voxel, which moves that limit by up to two (three towards the middle, where the neck fills slowly).
    step = np.array(direction) / math.sqrt(sum(axis**2 for axis in direction))
    for apart_mm, parts in ((12 + 2 * max(spacing_mm), 2), (12 - 3 * max(spacing_mm), 1)):
        first, second = (
            np.array((30.0, 30.0, 30.0)) - step * apart_mm / 2,
            np.array((30.0, 30.0, 30.0)) + step * apart_mm / 2,
        )
        mask = balls(spacing_mm, (*first, 10.0), (*second, 10.0))
        found = split_touching(whole(mask), spacing_mm, depth_mm=2.0)
        assert len(found) == parts, apart_mm


def test_parts_share_out_every_voxel_and_each_holds_its_middle() -> None:
    mask = balls((1.0, 1.0, 1.0), (20, 30, 30, 9), (34, 30, 30, 7))
    parts = split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=1.5)
    assert len(parts) == 2
    total = np.zeros(mask.shape, int)
    for part in parts:
        total[part.box] += part.mask
    assert np.array_equal(total, mask.astype(int))
    assert parts[0].voxel_count > parts[1].voxel_count
    for part, (x, radius) in zip(parts, ((20, 9), (34, 7)), strict=True):
        assert (part.indices() == (x, 30, 30)).all(axis=1).any()
        # Cut along the plane in which the two balls meet: the cap that each loses to the other is small.
        assert part.voxel_count == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.1)


def test_three_in_a_row() -> None:
    mask = balls((1.0, 1.0, 1.0), (14, 30, 30, 8), (28, 30, 30, 8), (42, 30, 30, 8))
    assert len(split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=2.0)) == 3


def test_a_single_ball_an_ellipsoid_and_a_rod_stay_whole() -> None:
    grid = np.moveaxis(np.indices((60, 30, 30)), 0, -1) - (30, 15, 15)
    for mask in (
        balls((1.0, 1.0, 1.0), (30, 30, 30, 13)),
        ((grid / (25, 8, 8)) ** 2).sum(-1) <= 1,
        (np.abs(grid[..., 0]) < 25) & ((grid[..., 1:] ** 2).sum(-1) <= 25),
    ):
        assert len(split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=1.0)) == 1


def test_a_part_that_is_too_small_goes_to_its_neighbour() -> None:
    mask = balls((1.0, 1.0, 1.0), (25, 30, 30, 10), (39, 30, 30, 5))
    assert len(split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=1.0)) == 2
    (together,) = split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=1.0, minimum_voxels=1000)
    assert together.voxel_count == mask.sum()


def test_a_bridge_of_a_few_voxels_is_cut_and_a_broad_one_is_not() -> None:
    for half_width, parts in ((0, 2), (1, 2), (3, 1)):
        mask = balls((1.0, 1.0, 1.0), (15, 30, 30, 8), (45, 30, 30, 8))
        middle = slice(30 - half_width, 30 + half_width + 1)
        mask[15:46, middle, middle] = True
        found = cut_bridges(whole(mask), (1.0, 1.0, 1.0), width_mm=3.0)
        assert len(found) == parts, half_width
        assert sum(part.voxel_count for part in found) == mask.sum()


def test_what_is_thin_all_over_stays_as_it_is() -> None:
    mask = np.zeros((20, 5, 5), bool)
    mask[2:18, 2, 2] = True
    component = whole(mask)
    assert cut_bridges(component, (1.0, 1.0, 1.0), width_mm=3.0) == (component,)
    assert split_touching(component, (1.0, 1.0, 1.0), depth_mm=1.0) == (component,)


def test_parts_lie_where_the_whole_lay() -> None:
    mask = balls((1.0, 1.0, 1.0), (18, 40, 25, 8), (32, 40, 25, 8))
    for part in split_touching(whole(mask), (1.0, 1.0, 1.0), depth_mm=2.0):
        assert mask[tuple(part.indices().T)].all()


def test_a_depth_is_positive() -> None:
    with pytest.raises(ValueError, match="more than 0 mm"):
        split_touching(whole(np.ones((2, 2, 2), bool)), (1.0, 1.0, 1.0), depth_mm=0.0)
