"""LabelMap: a mask of integer labels on its grid, named by a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelSchema


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """A mask; `array` is (i, j, k) uint8 or uint16 on `geometry`, read-only, 0 is background.

    A reference may also hold the schema's `ignored` value, where nobody judged.

    Raises InputError when a value is not in the schema, GeometryError when the shape is not the grid's.
    """

    array: NDArray[np.unsignedinteger[Any]]
    geometry: Geometry
    schema: LabelSchema

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise GeometryError(
                f"a mask of shape {self.array.shape} does not fit a grid of shape {self.geometry.shape}"
            )
        if self.array.dtype not in (np.uint8, np.uint16):
            raise InputError(f"a mask holds uint8 or uint16 labels, got {self.array.dtype}; use LabelMap.from_numbers")
        strange = sorted(_present(self.array) - {*self.schema.indices, self.schema.ignored})
        if strange:
            raise InputError(
                f"the mask holds {_listed(strange)}, which the schema does not name "
                f"(it names {_listed([label.index for label in self.schema.labels])}). "
                "Add the label to the task, or map the mask's values to the task's."
            )
        view = self.array.view()
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    @classmethod
    def from_numbers(cls, array: NDArray[Any], geometry: Geometry, schema: LabelSchema) -> LabelMap:
        """A mask from an array of any number type that holds whole label numbers.

        Raises InputError when a value is negative, fractional, not finite or above 65535.
        """
        if array.dtype == np.uint8 or array.dtype == np.uint16:
            return cls(array, geometry, schema)
        if not np.isfinite(array).all():
            raise InputError("the mask holds values that are not finite numbers; a mask holds whole label numbers")
        lowest, highest = float(array.min()), float(array.max())
        if lowest < 0 or highest > 65535:
            raise InputError(f"the mask holds values from {lowest:g} to {highest:g}; labels lie between 0 and 65535")
        whole: NDArray[np.unsignedinteger[Any]] = array.astype(np.uint8 if highest <= 255 else np.uint16)
        if np.issubdtype(array.dtype, np.floating) and not np.array_equal(whole, array):
            worst = float(array.reshape(-1)[np.flatnonzero((whole != array).reshape(-1))[0]])
            raise InputError(
                f"the mask holds fractions such as {worst:g}; a mask holds whole label numbers. "
                "Is this a probability map or an image?"
            )
        return cls(whole, geometry, schema)

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Where this label is, as a boolean array (i, j, k)."""
        return np.asarray(self.array == index)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Where somebody judged, as a boolean array (i, j, k): everywhere, unless the schema has an `ignored` value."""
        if self.schema.ignored is None:
            return np.ones(self.array.shape, dtype=np.bool_)
        return np.asarray(self.array != self.schema.ignored)

    def reoriented(self, axis_codes: str) -> LabelMap:
        """The same voxels with axes permuted and flipped towards `axis_codes`; a view, nothing is resampled."""
        turn = self.geometry.reorientation_to(axis_codes)
        return LabelMap(turn.apply(self.array), self.geometry.reoriented(turn), self.schema)


def _present(array: NDArray[np.unsignedinteger[Any]]) -> set[int]:
    """The values an array holds; counted plane by plane, since counting widens what it counts to eight bytes."""
    found = np.zeros(65536, dtype=bool)
    outermost = int(np.argmax(np.abs(array.strides)))  # planes that lie in one piece are read many times faster
    for plane in np.moveaxis(array, outermost, 0):
        counts = np.bincount(plane.ravel(order="K"))
        found[: len(counts)] |= counts > 0
    return set(np.flatnonzero(found).tolist())


def _listed(numbers: list[int], most: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return f"label {shown}" if len(numbers) == 1 else f"labels {shown}{' ...' if len(numbers) > most else ''}"
