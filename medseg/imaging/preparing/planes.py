"""PreparedPlanes: what a network sees of a scan, made plane by plane when asked for, and never held as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry, Reorientation, Shape
from medseg.core.volume import Volume
from medseg.imaging.preparing.normalize import Normalize
from medseg.imaging.resample import resample_volume

PART_VOXELS = 4_000_000
"""About how many voxels of a scan are made at a time where all of it is looked through."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPlanes:
    """The volumes (a channel each) on the grid `geometry`, normalised: the same numbers as `Preparation.apply` gives.

    `scan_geometry` is the scan's own grid; `resample` brings a volume onto a grid.
    """

    volumes: tuple[Volume, ...]
    normalize: tuple[Normalize, ...]
    geometry: Geometry
    scan_geometry: Geometry
    resample: Callable[[Volume, Geometry], Volume] = resample_volume

    def along(self, axes: Shape) -> PreparedPlanes:
        """The same with its axes in another order: planes then run along the first of `axes`."""
        geometry = self.geometry.reoriented(Reorientation(axes, (False, False, False)))
        return replace(self, geometry=geometry)

    def planes(self, start: int, stop: int) -> NDArray[np.float32]:
        """The planes from `start` up to `stop` along the first axis, (channel, stop - start, j, k)."""
        part = planes_of(self.geometry, start, stop)
        result = np.empty((len(self.volumes), *part.shape), dtype=np.float32)
        for index, (volume, normalize) in enumerate(zip(self.volumes, self.normalize, strict=True)):
            result[index] = normalize(np.asarray(self.resample(volume, part).array))
        return result

    def lowest(self) -> NDArray[np.float32]:
        """The lowest value of each channel (channel,), for which all planes are made once."""
        lowest = np.full(len(self.volumes), np.inf, dtype=np.float32)
        for start, stop in parts(self.geometry.shape):
            lowest = np.minimum(lowest, self.planes(start, stop).min(axis=(1, 2, 3)))
        return lowest


def parts(shape: Shape) -> Iterator[tuple[int, int]]:
    """Where parts of about `PART_VOXELS` begin and end along the first axis."""
    thickness = max(1, PART_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        yield start, min(start + thickness, shape[0])


def planes_of(geometry: Geometry, start: int, stop: int) -> Geometry:
    """The grid of the planes from `start` up to `stop` along the first axis."""
    return geometry.cropped((start, 0, 0), (stop - start, geometry.shape[1], geometry.shape[2]))
