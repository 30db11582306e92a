"""What lies around made vessels and may be taken for them: chambers, bone, lung, veins, uneven tissue."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.spatial import cKDTree

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.anatomy import rotation
from medseg.datasets.phantoms.shapes import Ellipsoid, Points, coverage
from medseg.datasets.phantoms.tubes import Tube, resampled
from medseg.datasets.phantoms.vessels.tree import GrownBranch

BONE_HU, LUNG_HU = 500.0, -850.0

CLEARANCE_MM = 1.5
"""The least tissue between a vessel and what misleads: nearer than that no mask could tell them apart either."""


def uneven_tissue(geometry: Geometry, mean_hu: float, spread_hu: float, generator: Generator) -> NDArray[np.float32]:
    """Soft tissue (i, j, k) whose value drifts by `spread_hu` (standard deviation) over about two centimetres."""
    extent = np.asarray(geometry.shape) * geometry.spacing_mm
    coarse_shape = np.maximum(3, np.ceil(extent / 20.0)).astype(int)
    coarse = generator.normal(mean_hu, spread_hu, size=coarse_shape).astype(np.float32)
    drift = zoom(coarse, np.asarray(geometry.shape) / coarse_shape, order=1, mode="nearest", grid_mode=True)
    return np.asarray(drift, dtype=np.float32)


def paint_surroundings(
    image: NDArray[np.float32],
    geometry: Geometry,
    grown: list[GrownBranch],
    lumen_hu: float,
    generator: Generator,
) -> None:
    """Paint, into the image in HU, lung, one or two chambers as bright as the vessels, bone, and a few veins.

    All keep clear of the vessels.
    """
    finder = cKDTree(np.concatenate([branch.tube.points_mm for branch in grown]))
    reach = max(float(branch.tube.radii_mm.max()) for branch in grown) + CLEARANCE_MM
    extent = np.asarray(geometry.shape) * geometry.spacing_mm
    for intensity, count, size in ((LUNG_HU, 2, 0.22), (lumen_hu, 2, 0.16), (BONE_HU, 2, 0.08)):
        for _ in range(count):
            solid = _free_ellipsoid(extent, size, geometry, finder, reach, generator)
            if solid is not None:
                box, filled = coverage(solid, geometry, parts=2)
                image[box] += filled * (intensity - image[box])
    for _ in range(3):
        vein = _free_vein(extent, geometry, finder, reach, generator)
        if vein is not None:
            box, filled = coverage(vein, geometry, parts=2)
            image[box] += filled * (float(generator.uniform(0.45, 0.75)) * lumen_hu - image[box])


def _free_ellipsoid(
    extent_mm: Points, size: float, geometry: Geometry, finder: cKDTree, reach_mm: float, generator: Generator
) -> Ellipsoid | None:
    for _ in range(30):
        centre = geometry.centre_mm + generator.uniform(-0.5, 0.5, 3) * extent_mm
        semi_axes = size * extent_mm.mean() * generator.uniform(0.6, 1.2, 3)
        axes = rotation(*generator.uniform(-90, 90, 3))
        solid = Ellipsoid(centre, semi_axes, axes)
        if (solid.signed_bound_mm(np.asarray(finder.data)) > reach_mm).all():
            return solid
    return None


def _free_vein(
    extent_mm: Points, geometry: Geometry, finder: cKDTree, reach_mm: float, generator: Generator
) -> Tube | None:
    for _ in range(30):
        ends = geometry.centre_mm + generator.uniform(-0.45, 0.45, (2, 3)) * extent_mm
        points = resampled(np.linspace(ends[0], ends[1], 50))
        radius = float(generator.uniform(1.0, 2.5))
        if len(points) > 20 and finder.query(points)[0].min() > reach_mm + radius:
            return Tube(points, np.full(len(points), radius))
    return None
