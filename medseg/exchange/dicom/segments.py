"""Segmented: named regions from DICOM, plane by plane, overlapping or not, and the label map they make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema

_FINDING_SUFFIX = re.compile(r" (\d+|\(not counted\))$")
"""What medseg's own writers put behind a counted label's name: the finding's number, or that it is none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One region as its object names it: number, name, and the code of what it shows where one is given."""

    number: int
    name: str
    code: Code | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Where one segment is in one slice: `plane` is (rows, columns) boolean."""

    segment: int
    k: int
    plane: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """Segments on one grid; a voxel may belong to several."""

    geometry: Geometry
    segments: tuple[Segment, ...]
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...] = ()

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Where the segment of that number is, as a boolean array (i, j, k)."""
        array = np.zeros(self.geometry.shape, dtype=bool)
        for piece in self.pieces:
            if piece.segment == number:
                array[:, :, piece.k] |= piece.plane.T
        return array

    def label_map(self, schema: LabelSchema, names: Mapping[str, str] | None = None) -> LabelMap:
        """The segments as one label a voxel, matched to the schema by code, by name, or by `names` (segment to label).

        Raises InputError where a segment matches no label, or two segments overlap.
        """
        labels = {segment.number: _label_of(segment, self.segments, schema, names or {}) for segment in self.segments}
        largest = max(schema.indices)
        array: NDArray[np.unsignedinteger[Any]] = np.zeros(
            self.geometry.shape, dtype=np.uint8 if largest <= 255 else np.uint16
        )
        for piece in self.pieces:
            plane, here = array[:, :, piece.k], piece.plane.T
            index = labels[piece.segment].index
            taken = here & (plane != 0) & (plane != index)
            if taken.any():
                other = schema[int(plane[taken][0])].name
                raise InputError(
                    f"{labels[piece.segment].name} and {other} overlap in {int(taken.sum())} voxels of slice "
                    f"{piece.k}; a label map holds one label a voxel. Read the segments one by one."
                )
            plane[here] = index
        return LabelMap(array, self.geometry, schema)


def _label_of(
    segment: Segment, all_segments: tuple[Segment, ...], schema: LabelSchema, names: Mapping[str, str]
) -> Label:
    if segment.name in names:
        wanted = names[segment.name]
        found = [label for label in schema.labels if label.name == wanted]
    else:
        found = [label for label in schema.labels if _plain(label.name) == _plain(segment.name)]
        if not found:  # one finding of a label, as medseg's own objects name it
            stem = _FINDING_SUFFIX.sub("", _plain(segment.name))
            found = [label for label in schema.labels if label.is_counted and _plain(label.name) == stem]
        if not found and segment.code is not None:
            same = [label for label in schema.labels if _key(label.code) == _key(segment.code)]
            twins = [
                other for other in all_segments if other.code is not None and _key(other.code) == _key(segment.code)
            ]
            found = same if len(same) == len(twins) == 1 else []
        if not found and len(all_segments) == len(schema.labels) == 1:
            found = list(schema.labels)
    if len(found) != 1:
        raise InputError(
            f"segment {segment.number} is called {segment.name!r}, which matches no label "
            f"({', '.join(label.name for label in schema.labels)}) by name or code. Say which label it is."
        )
    return found[0]


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _key(code: Code) -> tuple[str, str]:
    return code.scheme, code.value
