"""Which voxels lie near the middle of a vessel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medseg.analysis.vessels.lumen.sections import Points
from medseg.core.geometry import Geometry

BLOCK = 4
"""Points that lie in one cube of so many voxels are looked around together."""


def voxels_near(
    geometry: Geometry, points_mm: Points, reach_mm: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The voxels (m, 3) whose nearest point (n, 3) is within that point's reach (n,), and which point it is (m,).

    Time and memory go with the voxels found, not with those of the grid.
    """
    most_mm = float(reach_mm.max())
    reach = np.ceil(most_mm / np.asarray(geometry.spacing_mm)).astype(int) + 1
    blocks = np.unique(np.round(geometry.index(points_mm)).astype(np.int64) // BLOCK, axis=0)
    touched = np.zeros(geometry.shape, dtype=bool)
    for first in blocks * BLOCK:
        low, high = np.maximum(first - reach, 0), np.maximum(first + BLOCK + reach, 0)
        touched[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = True
    voxels = np.argwhere(touched)
    distance, at = cKDTree(points_mm).query(geometry.world(voxels), distance_upper_bound=most_mm)
    found = np.isfinite(distance)
    found[found] &= distance[found] <= reach_mm[at[found]]
    return voxels[found], at[found]
