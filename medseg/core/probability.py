"""ProbabilityMap: how likely each voxel is to be of one label, in a byte a voxel; and what a model tells of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume

CERTAIN = 255
"""The number that stands for a probability of 1: the step is 0.4 per cent, finer than any model is calibrated."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityMap:
    """A number from 0 to 1 at each voxel; `array` is (i, j, k) uint8 on `geometry`, 255 for 1, read-only.

    Raises GeometryError where the array does not have the grid's shape.
    """

    array: NDArray[np.uint8]
    geometry: Geometry

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", Volume(self.array, self.geometry).array)

    @classmethod
    def of(cls, volume: Volume) -> ProbabilityMap:
        """The map of numbers from 0 to 1, rounded to the nearest step."""
        return cls(np.rint(np.clip(volume.array, 0, 1) * CERTAIN).astype(np.uint8), volume.geometry)

    @property
    def volume(self) -> Volume:
        """The numbers, 0 to 1, as an image of float32."""
        return Volume(self.array / np.float32(CERTAIN), self.geometry)

    def within(self, box: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """The numbers, 0 to 1, in a box of the grid."""
        return np.asarray(self.array[box] / np.float32(CERTAIN), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What a model tells of every voxel of a scan, beside the mask.

    `of_label` holds maps by the name of the label. `agreement` is the share of the model's answers (of its members, and
    of one patch mirrored) that give the class which their mean gives; None where there is one answer only.
    """

    of_label: Mapping[str, ProbabilityMap]
    agreement: ProbabilityMap | None = None
