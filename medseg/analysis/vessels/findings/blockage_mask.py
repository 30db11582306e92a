"""The mask of the blockages: over each one's length, the healthy vessel as it would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medseg.analysis.vessels.findings.dips import Dip
from medseg.analysis.vessels.lumen.profiles import Lumens
from medseg.core.geometry import Geometry


def blockage_mask(dips: Sequence[Dip], lumens: Lumens, geometry: Geometry) -> NDArray[np.uint16]:
    """Where each blockage is (i, j, k), numbered from 1 in the order given, 0 elsewhere.

    A voxel belongs to a blockage when its nearest point of the lumen's centreline lies between the blockage's ends and
    is nearer than the reference radius there.
    """
    mask = np.zeros(geometry.shape, dtype=np.uint16)
    for number, dip in enumerate(dips, start=1):
        lumen = lumens.profiles[dip.branch]
        arc = lumen.arc_mm
        before = dip.before_mm if dip.before_mm is not None else dip.reference_mm
        after = dip.after_mm if dip.after_mm is not None else dip.reference_mm
        healthy = np.interp(arc, [dip.start_mm, dip.stop_mm], [before, after])
        reach = float(healthy.max()) + max(geometry.spacing_mm)
        inside = (arc >= dip.start_mm - reach) & (arc <= dip.stop_mm + reach)
        points = lumen.points_mm[inside]
        index = geometry.index(points)
        margin = reach / np.asarray(geometry.spacing_mm) + 1
        first = np.maximum(np.floor(index.min(axis=0) - margin), 0).astype(int)
        last = np.minimum(np.ceil(index.max(axis=0) + margin) + 1, geometry.shape).astype(int)
        if (last <= first).any():
            continue
        voxels = np.indices(last - first).reshape(3, -1).T + first
        distance, at = cKDTree(points).query(geometry.world(voxels), distance_upper_bound=reach)
        near = np.isfinite(distance)
        voxels, distance, at = voxels[near], distance[near], at[near]
        place = arc[inside][at]
        held = (place >= dip.start_mm) & (place <= dip.stop_mm) & (distance <= healthy[inside][at])
        mask[tuple(voxels[held].T)] = number
    return mask
