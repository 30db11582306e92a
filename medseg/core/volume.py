"""Volume: one three-dimensional scalar image on its grid, with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry

Unit = Literal["HU", "SUVbw", "Bq/ml", "arbitrary"]
"""What a voxel value measures; MR intensities and anything undeclared are "arbitrary"."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A scalar image; `array` is (i, j, k) on `geometry` and read-only.

    Raises GeometryError when the array does not have the grid's shape.
    """

    array: NDArray[Any]
    geometry: Geometry
    unit: Unit = "arbitrary"

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", _read_only_on(self.geometry, self.array))

    def reoriented(self, axis_codes: str) -> Volume:
        """The same voxels with axes permuted and flipped towards `axis_codes`; a view, nothing is resampled."""
        turn = self.geometry.reorientation_to(axis_codes)
        return Volume(turn.apply(self.array), self.geometry.reoriented(turn), self.unit)


def _read_only_on(geometry: Geometry, array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of the array, after a check that it has the grid's shape and one number a voxel."""
    if array.shape != geometry.shape:
        raise GeometryError(f"an array of shape {array.shape} does not fit a grid of shape {geometry.shape}")
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise GeometryError(f"an image holds one number a voxel, got {array.dtype}")
    view = array.view()
    view.flags.writeable = False
    return view
