"""Surfaces and sphericities of shapes with known ones."""

import math

import numpy as np
import pytest

from medseg.analysis.quantification.shape import Shape, shape_of
from medseg.core.geometry import Geometry
from medseg.imaging.regions.components import connected_components


def shape(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], affine: np.ndarray | None = None) -> Shape:
    (component,) = connected_components(mask)
    i, j, k = mask.shape
    return shape_of(component, Geometry((i, j, k), np.eye(4) if affine is None else affine))


def test_one_voxel_is_an_octahedron_between_its_neighbours() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    measured = shape(mask)
    # Eight equilateral triangles with sides of sqrt(1/2) mm.
    assert measured.surface_mm2 == pytest.approx(8 * math.sqrt(3) / 4 / 2)
    assert measured.mesh_volume_mm3 == pytest.approx(1 / 6)


def test_a_large_box_has_its_faces_but_for_the_bevelled_edges() -> None:
    mask = np.zeros((44, 44, 44), bool)
    mask[2:42, 2:42, 2:42] = True
    assert shape(mask).surface_mm2 == pytest.approx(6 * 40**2, rel=0.02)
    assert shape(mask).mesh_volume_mm3 == pytest.approx(40**3, rel=0.02)


def test_a_ball_reads_as_the_docstring_says() -> None:
    grid = np.moveaxis(np.indices((50, 50, 50)), 0, -1) - 24.5
    ball = shape((grid**2).sum(-1) <= 20**2)
    assert ball.surface_mm2 == pytest.approx(4 * math.pi * 400, rel=0.1)
    assert ball.mesh_volume_mm3 == pytest.approx(4 / 3 * math.pi * 8000, rel=0.02)
    assert ball.sphericity == pytest.approx(0.92, abs=0.02)
    rod = shape((np.abs(grid[..., 0]) < 23) & ((grid[..., 1:] ** 2).sum(-1) <= 16))
    assert rod.sphericity < 0.7


def test_a_turned_mirrored_or_scaled_grid_changes_the_scale_only() -> None:
    mask = np.random.default_rng(0).random((8, 8, 8)) < 0.7
    mask[1:-1, 1:-1, 1:-1] = True
    mask &= np.pad(np.ones((6, 6, 6), bool), 1)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = 2 * turn @ np.diag((1, 1, -1))
    assert shape(mask, affine).surface_mm2 == pytest.approx(4 * shape(mask).surface_mm2, rel=1e-5)
    assert shape(mask, affine).mesh_volume_mm3 == pytest.approx(8 * shape(mask).mesh_volume_mm3, rel=1e-5)
    assert shape(mask, affine).sphericity == pytest.approx(shape(mask).sphericity, rel=1e-5)
