"""Narrowings of known degree cut into vessels that somebody else drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.shapes import Points
from medseg.datasets.phantoms.tubes import Tube, resampled

PARTS = 4
SMOOTHING_VOXELS = 0.7
"""A drawn mask steps from voxel to voxel; its surface is taken where its smoothed copy is one half."""

LEAST_SCALE = 1e-3


@dataclass(frozen=True)
class Cut:
    """A narrowing to make: its middle and length in mm along a centreline, and how much of the diameter goes."""

    position_mm: float
    length_mm: float
    percent: float


def narrowed(
    mask: NDArray[np.bool_], geometry: Geometry, centreline_mm: Points, reach_mm: float, cuts: Sequence[Cut]
) -> NDArray[np.float32]:
    """The share of each voxel (i, j, k) that is lumen, 0 to 1, after narrowings along a centreline (n, 3) of a mask.

    Each cross-section is shrunk towards the centreline, so its diameter falls by the percentage whatever its shape.
    Voxels further than `reach_mm` from the centreline, and those outside the cuts, keep the mask's 0 or 1.
    """
    share = mask.astype(np.float32)
    points = resampled(centreline_mm)
    tube = Tube(points, np.full(len(points), reach_mm))
    smooth = gaussian_filter(share, SMOOTHING_VOXELS)
    for cut in cuts:
        index = _voxels_near(tube, cut, reach_mm, geometry)
        if len(index):
            share[tuple(index.T)] = _shrunk(index, smooth, geometry, tube, cut)
    return share


def _voxels_near(tube: Tube, cut: Cut, reach_mm: float, geometry: Geometry) -> NDArray[np.int64]:
    """Indices (n, 3) of the voxels whose nearest place on the centreline lies in the cut."""
    start, stop = cut.position_mm - cut.length_mm / 2, cut.position_mm + cut.length_mm / 2
    held = tube.points_mm[(tube.arc_mm >= start - reach_mm) & (tube.arc_mm <= stop + reach_mm)]
    margin = reach_mm / np.asarray(geometry.spacing_mm) + 1
    index = geometry.index(held)
    first = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
    last = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, geometry.shape).astype(int)
    if (last <= first).any():
        return np.empty((0, 3), dtype=np.int64)
    voxels = np.indices(last - first).reshape(3, -1).T + first
    place, distance = tube.nearest(geometry.world(voxels))
    return np.asarray(voxels[(place > start) & (place < stop) & (distance <= reach_mm)])


def _shrunk(
    index: NDArray[np.int64], smooth: NDArray[np.float32], geometry: Geometry, tube: Tube, cut: Cut
) -> NDArray[np.float32]:
    """The share (n,) of voxels inside the shrunk sections: a point is inside where the point it came from was."""
    total = np.zeros(len(index), dtype=np.float32)
    steps = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    for step in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T:
        points = geometry.world(index + step)
        place, _ = tube.nearest(points)
        middle = np.stack([np.interp(place, tube.arc_mm, tube.points_mm[:, axis]) for axis in range(3)], axis=1)
        lost = cut.percent / 100 * narrowing_profile((place - cut.position_mm) / (cut.length_mm / 2), flat=0.3)
        origin = middle + (points - middle) / np.maximum(1 - lost, LEAST_SCALE)[:, None]
        total += map_coordinates(smooth, geometry.index(origin).T, order=1, mode="constant") >= 0.5
    return np.asarray(total / PARTS**3, dtype=np.float32)
