"""Loose ends go on along what a soft map faintly shows, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from medseg.analysis.vessels.tree.faint import follow_ends
from medseg.analysis.vessels.tree.skeleton import skeleton_graph
from medseg.core.geometry import Geometry

SPACING_MM = 0.5


def bent_vessel(faint: float, gap_mm: float = 6.0) -> NDArray[np.float32]:
    """A vessel 3 mm wide along an arc of 15 mm radius, seen only faintly over a stretch in its middle."""
    shape = (90, 90, 24)
    x, y, z = (np.arange(size) * SPACING_MM for size in shape)
    across, up = np.hypot(x[:, None] - 22, y[None, :] - 8)[:, :, None] - 15.0, (z - 6.0)[None, None, :]
    share = (np.hypot(across, up) < 1.5).astype(np.float32)
    along_mm = 15.0 * np.abs(np.arctan2(x[:, None] - 22, y[None, :] - 8))[:, :, None]
    thin = (np.hypot(across, up) < 0.9) * faint
    share = np.where(along_mm < gap_mm / 2, thin, share) * (y[None, :, None] > 10)
    return np.asarray(gaussian_filter(share, 0.8), dtype=np.float32)


def followed(faint: float) -> tuple[int, int]:
    """How many ways were found, and how many pieces are left."""
    soft = bent_vessel(faint)
    geometry = Geometry.from_spacing(soft.shape, (SPACING_MM,) * 3)
    mask = soft > 0.5
    graph = skeleton_graph(mask, geometry, 1.0)
    assert len(graph.edges) == 2
    return follow_ends(graph, soft, mask, geometry), len(graph.edges)


def test_a_faint_lumen_joins_the_vessel_around_a_bend() -> None:
    assert followed(0.35) == (1, 1)


def test_where_nothing_shows_nothing_is_joined() -> None:
    assert followed(0.0) == (0, 2)


@pytest.mark.parametrize("gap_mm", [1.6, 2.4])
def test_the_rims_of_neighbours_are_no_way(gap_mm: float) -> None:
    share = np.zeros((60, 60, 24), dtype=np.float32)
    share[28:32, 2:30, 10:14] = 1.0  # a vessel that ends in front of another
    start = 30 + round(gap_mm / SPACING_MM)
    share[2:58, start : start + 4, 10:14] = 1.0
    soft = gaussian_filter(share, 0.9).astype(np.float32)
    geometry = Geometry.from_spacing(soft.shape, (SPACING_MM,) * 3)
    graph = skeleton_graph(soft > 0.5, geometry, 1.0)
    assert follow_ends(graph, soft, soft > 0.5, geometry) == 0
