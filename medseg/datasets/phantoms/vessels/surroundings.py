"""What lies around made vessels and may be taken for them: chambers, bone, lung, veins, uneven tissue."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class MisleadingSolids:
    """Two ellipsoids each of this value and mean semi-axis, which is a share of the grid's mean side.

    A value is in the image's unit, or in lumens where `is_in_lumens`.
    """

    value: float
    size: float
    is_in_lumens: bool = False


CT_SURROUNDINGS = (
    MisleadingSolids(-850.0, 0.22),  # lung
    MisleadingSolids(1.0, 0.16, is_in_lumens=True),  # chambers, as bright as the vessels
    MisleadingSolids(500.0, 0.08),  # bone
)
TOF_SURROUNDINGS = (
    MisleadingSolids(0.0, 0.2),  # air of the sinuses
    MisleadingSolids(0.7, 0.1, is_in_lumens=True),  # fat of the orbit and the scalp
    MisleadingSolids(0.4, 0.15, is_in_lumens=True),  # brain
)

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
    solids: tuple[MisleadingSolids, ...] = CT_SURROUNDINGS,
) -> None:
    """Paint, into the image, solids that may be taken for vessels, and a few veins. All keep clear of the vessels."""
    finder = cKDTree(np.concatenate([branch.tube.points_mm for branch in grown]))
    reach = max(float(branch.tube.radii_mm.max()) for branch in grown) + CLEARANCE_MM
    extent = np.asarray(geometry.shape) * geometry.spacing_mm
    for kind in solids:
        value = kind.value * lumen_hu if kind.is_in_lumens else kind.value
        for _ in range(2):
            solid = _free_ellipsoid(extent, kind.size, geometry, finder, reach, generator)
            if solid is not None:
                box, filled = coverage(solid, geometry, parts=2)
                image[box] += filled * (value - image[box])
    for _ in range(3):
        vein = _free_vein(extent, geometry, finder, reach, generator)
        if vein is not None:
            box, filled = coverage(vein, geometry, parts=2)
            image[box] += filled * (float(generator.uniform(0.45, 0.75)) * lumen_hu - image[box])


def paint_origins(
    image: NDArray[np.float32],
    geometry: Geometry,
    grown: list[GrownBranch],
    lumen_hu: float,
    generator: Generator,
) -> None:
    """Paint, into the image, the chamber or wide vessel that each root leaves, filled like the lumen.

    Left out where it would swallow another branch.
    """
    for at, branch in enumerate(grown):
        if branch.parent is not None:
            continue
        semi_axes = generator.uniform(6.0, 16.0, 3)
        start, direction = branch.tube.points_mm[0], branch.tube.tangents[0]
        axes = rotation(*generator.uniform(-90, 90, 3))
        unit = direction @ axes  # the surface point opposite to the root's direction becomes the ostium
        depth = 1.0 / np.linalg.norm(unit / semi_axes)
        solid = Ellipsoid(start - (depth - 0.5) * direction, semi_axes, axes)
        others = [other.tube.points_mm for number, other in enumerate(grown) if number != at]
        own = branch.tube.points_mm[branch.tube.arc_mm > 6.0]
        if (solid.signed_bound_mm(np.concatenate([own, *others])) > CLEARANCE_MM).all():
            box, filled = coverage(solid, geometry, parts=2)
            image[box] += filled * (lumen_hu - image[box])


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
