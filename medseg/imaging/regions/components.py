"""The connected pieces of a mask: a semantic mask says what is tumour, its pieces say which tumours there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.geometry import Shape

Connectivity = Literal[6, 18, 26]
"""Which neighbours touch: those that share a face (6), also an edge (18), also a corner (26)."""

PART_VOXELS = 1_000_000
"""About how many voxels of a bounding box are looked at in a part."""

_RANKS: dict[Connectivity, int] = {6: 1, 18: 2, 26: 3}

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One connected piece: its voxels as a boolean array inside its bounding box, and where that box lies."""

    mask: NDArray[np.bool_]
    box: Box
    voxel_count: int

    @property
    def start(self) -> Shape:
        """The index (i, j, k) of the box's first voxel on the whole grid."""
        i, j, k = (side.start for side in self.box)
        return int(i), int(j), int(k)

    def indices(self) -> NDArray[np.intp]:
        """The voxels' indices (n, 3) on the whole grid, in order of index."""
        return np.asarray(np.argwhere(self.mask) + np.asarray(self.start))

    def indices_in_parts(self) -> Iterator[NDArray[np.intp]]:
        """What `indices` gives, in parts of some planes each: a large organ's take more memory than its scan."""
        planes = max(1, PART_VOXELS // (self.mask.shape[1] * self.mask.shape[2]))
        for first in range(0, len(self.mask), planes):
            start = np.asarray(self.start)
            start[0] += first
            yield np.asarray(np.argwhere(self.mask[first : first + planes]) + start)

    def touches_border(self, shape: Shape) -> bool:
        """Whether a voxel lies on the outermost layer of a grid of this shape, so that more may lie beyond it."""
        return any(side.start == 0 or side.stop == n for side, n in zip(self.box, shape, strict=True) if n > 1)


def connected_components(
    mask: NDArray[np.bool_], *, minimum_voxels: int = 1, connectivity: Connectivity = 26
) -> tuple[Component, ...]:
    """The pieces of a mask (i, j, k) of at least `minimum_voxels`, largest first, equal ones in order of index.

    An empty mask has none. With the default connectivity, voxels that share only a corner are one piece, as nnU-Net and
    cc3d count, so that a thin oblique structure stays whole.
    """
    region = _occupied_box(mask)
    if region is None:
        return ()
    structure = ndimage.generate_binary_structure(3, _RANKS[connectivity])
    numbers, _ = ndimage.label(mask[region], structure)
    return largest_first(numbers, region, minimum_voxels)


def largest_first(numbers: NDArray[np.int32], region: Box, minimum_voxels: int = 1) -> tuple[Component, ...]:
    """The pieces of an array that numbers them from 1 within a region of the grid, largest first."""
    sizes = np.bincount(numbers.ravel())
    boxes = ndimage.find_objects(numbers)
    # Pieces are numbered in order of their first voxel: a stable sort keeps that among equals.
    order = np.argsort(-sizes[1:], kind="stable") + 1
    return tuple(
        Component(numbers[boxes[number - 1]] == number, shifted(boxes[number - 1], region), int(sizes[number]))
        for number in order
        if sizes[number] >= minimum_voxels
    )


def _occupied_box(mask: NDArray[np.bool_]) -> Box | None:
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found else None


def shifted(inner: Box, outer: Box) -> Box:
    """A box given inside another, on the grid that the outer one is given on."""
    i, j, k = (slice(a.start + b.start, a.stop + b.start) for a, b in zip(inner, outer, strict=True))
    return i, j, k
