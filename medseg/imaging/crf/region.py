"""Where a model is unsure: the only voxels that a random field has anything to say about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from medseg.core.errors import PlanError
from medseg.core.geometry import Shape, Spacing
from medseg.imaging.regions.components import Box


class UncertainRegion(BaseModel):
    """The voxels that a random field may change: those the model is unsure of, and all within a margin of them.

    All others keep their probabilities; those next to the region still count as neighbours where the field says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sure_from: Annotated[float, Field(gt=0, le=1)] = 0.99
    """A voxel whose likeliest class has at least this probability is sure. 1 leaves only exact ones out."""

    margin_mm: Annotated[float, Field(ge=0)] = 3.0

    def find(self, probabilities: NDArray[np.float32], spacing_mm: Spacing) -> Region | None:
        """The region of class probabilities (class, i, j, k); None where the model is sure everywhere."""
        unsure = probabilities.max(axis=0) < self.sure_from
        found = ndimage.find_objects(unsure.view(np.uint8))
        if not found:
            return None
        shape: Shape = (unsure.shape[0], unsure.shape[1], unsure.shape[2])
        box = grown(found[0], reach_voxels(self.margin_mm, spacing_mm), shape)
        apart_mm = ndimage.distance_transform_edt(~unsure[box], sampling=spacing_mm)
        return Region(box, np.asarray(apart_mm <= self.margin_mm + 1e-6))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Voxels of a grid: a mask within a box."""

    box: Box
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of a region: `context` is the box it is worked in, `core` its voxels whose result is kept, in that box.

    `voxels` are all of the region's in that box, the core's and those around it that only lend their votes.
    """

    context: Box
    voxels: NDArray[np.bool_]
    core: NDArray[np.bool_]


def tiles(region: Region, *, halo: Shape, max_voxels: int) -> Iterator[Tile]:
    """The region in parts of at most `max_voxels` voxels each, halo included, whose cores share out the region.

    Raises PlanError where the halo alone holds more than that.
    """
    shape: Shape = (region.mask.shape[0], region.mask.shape[1], region.mask.shape[2])
    waiting: list[Box] = [(slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))]
    while waiting:
        inner = waiting.pop()
        if not region.mask[inner].any():
            continue
        outer = grown(inner, halo, shape)
        voxels = region.mask[outer]
        if int(np.count_nonzero(voxels)) > max_voxels:
            waiting += _halves(inner, max_voxels)
            continue
        core = np.zeros_like(voxels)
        inside = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
        core[inside] = region.mask[inner]
        i, j, k = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(region.box, outer, strict=True))
        yield Tile((i, j, k), voxels, core)


def grown(box: Box, reach: Shape, shape: Shape) -> Box:
    """The box with so many voxels more on each side, where the grid has them."""
    i, j, k = (
        slice(max(0, side.start - more), min(n, side.stop + more))
        for side, more, n in zip(box, reach, shape, strict=True)
    )
    return i, j, k


def reach_voxels(length_mm: float, spacing_mm: Spacing) -> Shape:
    """How many voxels a length spans along each axis, rounded up."""
    i, j, k = (int(np.ceil(length_mm / step - 1e-6)) for step in spacing_mm)
    return i, j, k


def _halves(box: Box, max_voxels: int) -> list[Box]:
    sides = [side.stop - side.start for side in box]
    longest = int(np.argmax(sides))
    if sides[longest] < 2:
        raise PlanError(
            f"the random field needs more than {max_voxels} voxels around a single one: its widths in mm are large for "
            "this spacing. Lower them, or raise max_voxels."
        )
    start, stop = box[longest].start, box[longest].stop
    middle = (start + stop) // 2
    first, second = list(box), list(box)
    first[longest], second[longest] = slice(start, middle), slice(middle, stop)
    return [(second[0], second[1], second[2]), (first[0], first[1], first[2])]
