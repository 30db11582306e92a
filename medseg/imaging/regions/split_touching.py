"""Touching lesions taken apart: where a piece of mask narrows to a neck, it is likely two lesions and not one.

Both rules look at the distance in mm from each voxel to the nearest background. Its maxima are the middles of what is
bulky, and its value at the narrowest passage between two of them is the radius of the neck. Every voxel stays in one of
the parts (a watershed without lines), so that no volume is lost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from medseg.core.geometry import Spacing
from medseg.imaging.regions.components import Component, largest_first

_ALL_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)

Seeds = Callable[[NDArray[np.float64]], NDArray[np.int32]]


def split_touching(
    component: Component, spacing_mm: Spacing, *, depth_mm: float, minimum_voxels: int = 1
) -> tuple[Component, ...]:
    """The parts of a piece of mask between necks, largest first; the piece itself where there is no neck.

    A neck parts two bulks where its radius is smaller than that of both by at least `depth_mm` (the h of h-maxima). Two
    balls of radius R with their middles d apart have a neck of radius sqrt(R² - d²/4): with R = 10 mm and a depth of
    2 mm they are parted from d = 12 mm on, an overlap of 8 mm, give or take two voxels. A part of fewer than
    `minimum_voxels` goes to its neighbour. Distances follow the spacing; on a sheared grid they are those of the
    grid set upright.
    """
    if depth_mm <= 0:
        raise ValueError(f"the depth of a neck is more than 0 mm, got {depth_mm}")

    def seeds(distance_mm: NDArray[np.float64]) -> NDArray[np.int32]:
        # Filling every dent shallower than the depth leaves one plateau for each bulk that stands out by it. The small
        # allowance keeps a depth that is met exactly.
        lowered = np.maximum(distance_mm - depth_mm + 1e-6, 0)
        plateaus = local_maxima(reconstruction(lowered, distance_mm, footprint=_ALL_NEIGHBOURS), connectivity=3)
        return _numbered(plateaus & (distance_mm > 0))

    return _parted(component, spacing_mm, seeds, minimum_voxels)


def cut_bridges(
    component: Component, spacing_mm: Spacing, *, width_mm: float, minimum_voxels: int = 1
) -> tuple[Component, ...]:
    """The parts of a piece of mask that only bridges narrower than `width_mm` join, largest first.

    What is narrower than that all over is a part of its own nowhere, and stays with its neighbour.
    """

    def seeds(distance_mm: NDArray[np.float64]) -> NDArray[np.int32]:
        # The nearest background voxel's centre lies half a voxel beyond the edge.
        return _numbered(distance_mm > width_mm / 2 + min(spacing_mm) / 2)

    return _parted(component, spacing_mm, seeds, minimum_voxels)


def _parted(component: Component, spacing_mm: Spacing, find_seeds: Seeds, minimum_voxels: int) -> tuple[Component, ...]:
    distance_mm = ndimage.distance_transform_edt(np.pad(component.mask, 1), sampling=spacing_mm)
    seeds = find_seeds(distance_mm)
    while seeds.max(initial=0) > 1:
        parts = watershed(-distance_mm, seeds, connectivity=_ALL_NEIGHBOURS, mask=np.pad(component.mask, 1))
        sizes = np.bincount(parts.ravel())
        smallest = int(np.argmin(sizes[1:])) + 1
        if sizes[smallest] >= minimum_voxels:
            return largest_first(parts[1:-1, 1:-1, 1:-1], component.box)
        seeds = _numbered(np.asarray((seeds > 0) & (seeds != smallest)))
    return (component,)


def _numbered(markers: NDArray[np.bool_]) -> NDArray[np.int32]:
    numbers, _ = ndimage.label(markers, _ALL_NEIGHBOURS)
    return np.asarray(numbers, dtype=np.int32)
