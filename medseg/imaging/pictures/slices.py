"""Slices as a radiologist sees them: from a volume of any stored orientation to grey pictures of the three planes.

Radiological convention: the patient's right is on the left of axial and coronal pictures, the front on the left of
sagittal ones; the front is at the top of axial pictures, the head at the top of the others. Voxels are only reordered
to the nearest anatomical axes, never resampled, so that what is seen is what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry, PlaneName, Reorientation
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.core.task import Window
from medseg.core.volume import Unit, Volume

PLANES: tuple[PlaneName, ...] = get_args(PlaneName)

SCREEN_AXES = "LPS"
"""The order in which voxels lie for display: with i to the left, j to the back and k to the head, an axial picture is
a plain plane of memory."""

OBLIQUE_LETTER_COSINE = float(np.sin(np.deg2rad(15.0)))
"""A picture edge gets a second letter when it is turned more than 15 degrees towards another anatomical axis."""

DEPTH: dict[PlaneName, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
"""The axis, in display order, along which the slices of a plane lie behind each other."""

_COLUMN: dict[PlaneName, int] = {"axial": 0, "coronal": 0, "sagittal": 1}
_ROW: dict[PlaneName, int] = {"axial": 1, "coronal": 2, "sagittal": 2}
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, slots=True)
class Edges:
    """The letters at the four edges of a picture: R, L, A, P, S or I, two where the grid is oblique."""

    left: str
    right: str
    top: str
    bottom: str


@dataclass(frozen=True, slots=True, eq=False)
class ScreenVolume:
    """A volume made ready for display: int16 (k, j, i), C order, i to the patient's left, j to the back, k to the head.

    A voxel's value in `unit` is stored * `slope` + `intercept`. `geometry` is that of (i, j, k); `turn` leads from the
    scan's own axes to these.
    """

    array: NDArray[np.int16]
    geometry: Geometry
    slope: float
    intercept: float
    unit: Unit
    turn: Reorientation

    def values(self, plane: PlaneName, index: int) -> NDArray[np.float64]:
        """One picture (rows, columns) of values in `unit`."""
        return np.asarray(picture(self.array, plane, index) * self.slope + self.intercept, dtype=np.float64)


def for_screen(volume: Volume, step: int = 1) -> ScreenVolume:
    """The volume in display order; exact where its values are whole numbers that span no more than 65535.

    Other values are rounded to the nearest of 65535 steps between the lowest and highest; what is not finite becomes
    the lowest. With a `step` every so many-th voxel along i and j, each with its own value and place; there are as many
    slices as before.
    """
    turn = volume.geometry.reorientation_to(SCREEN_AXES)
    source = turn.apply(volume.array).transpose(2, 1, 0)
    slope, intercept = _scale(source)
    source = source[:, ::step, ::step]
    array: NDArray[np.int16] = np.empty(source.shape, dtype=np.int16)
    for k, plane in enumerate(source):
        if slope == 1.0 and intercept == 0.0 and plane.dtype.kind != "f":
            array[k] = plane
            continue
        lowest = _INT16.min * slope + intercept
        finite = np.nan_to_num(plane.astype(np.float64), nan=lowest, posinf=lowest, neginf=lowest)
        array[k] = np.clip(np.floor((finite - intercept) / slope + 0.5), _INT16.min, _INT16.max)
    return ScreenVolume(array, _shown_grid(volume.geometry.reoriented(turn), step), slope, intercept, volume.unit, turn)


def _shown_grid(geometry: Geometry, step: int) -> Geometry:
    """The grid of every `step`-th voxel along i and j."""
    if step == 1:
        return geometry
    i, j, k = geometry.shape
    affine = geometry.affine @ np.diag((step, step, 1.0, 1.0))
    return Geometry((-(-i // step), -(-j // step), k), affine, geometry.frame_of_reference)


def mask_for_screen(label_map: LabelMap) -> NDArray[np.unsignedinteger[Any]]:
    """The labels (k, j, i) in display order, C order."""
    turn = label_map.geometry.reorientation_to(SCREEN_AXES)
    return np.ascontiguousarray(turn.apply(label_map.array).transpose(2, 1, 0))


def mask_from_screen(array: NDArray[np.unsignedinteger[Any]], geometry: Geometry, schema: LabelSchema) -> LabelMap:
    """Labels (k, j, i) in display order, back on the scan's own grid, voxel for voxel.

    Raises InputError when the shape is not that of the scan.
    """
    turn = geometry.reorientation_to(SCREEN_AXES)
    expected = tuple(geometry.shape[axis] for axis in reversed(turn.axes))
    if array.shape != expected:
        raise InputError(
            f"a mask of {array.shape} voxels (k, j, i) does not fit the scan, which is {expected} on the screen"
        )
    return LabelMap.from_numbers(turn.inverse().apply(array.transpose(2, 1, 0)), geometry, schema)


def to_screen_index(geometry: Geometry, index: tuple[int, int, int]) -> tuple[int, int, int]:
    """Where a voxel of the scan's own grid lies in display order (i, j, k)."""
    turn = geometry.reorientation_to(SCREEN_AXES)
    i, j, k = (
        geometry.shape[axis] - 1 - index[axis] if flip else index[axis]
        for axis, flip in zip(turn.axes, turn.flips, strict=True)
    )
    return i, j, k


def display_geometry(geometry: Geometry) -> Geometry:
    """The same voxels in display order (i, j, k)."""
    return geometry.reoriented(geometry.reorientation_to(SCREEN_AXES))


def picture_places(
    index: NDArray[np.float64], geometry: Geometry, plane: PlaneName
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows in that plane's picture of places (n, 3) given as an index in display order."""
    rows = index[:, _ROW[plane]]
    return index[:, _COLUMN[plane]], rows if plane == "axial" else geometry.shape[_ROW[plane]] - 1 - rows


def picture(array: NDArray[Any], plane: PlaneName, index: int) -> NDArray[Any]:
    """One plane (rows, columns) of an array (k, j, i) in display order; a view, its first row at the top.

    `index` counts from the feet (axial), from the front (coronal), from the patient's right (sagittal).
    Raises InputError when there is no such slice.
    """
    axis = 2 - DEPTH[plane]
    if not 0 <= index < array.shape[axis]:
        raise InputError(f"there is no {plane} slice {index}: the volume has slices 0 to {array.shape[axis] - 1}")
    cut = array[(slice(None),) * axis + (index,)]
    return cut if plane == "axial" else cut[::-1]


def pixel_mm(geometry: Geometry, plane: PlaneName) -> tuple[float, float]:
    """Height and width in mm of a pixel of that plane of a grid in display order."""
    return geometry.spacing_mm[_ROW[plane]], geometry.spacing_mm[_COLUMN[plane]]


def edges(geometry: Geometry, plane: PlaneName) -> Edges:
    """The orientation letters of that plane of a grid in display order."""
    across = geometry.directions[:, _COLUMN[plane]]
    down = geometry.directions[:, _ROW[plane]] * (1.0 if plane == "axial" else -1.0)
    return Edges(left=_letters(-across), right=_letters(across), top=_letters(-down), bottom=_letters(down))


def grey(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Values as grey levels 0-255: black at and below centre - width/2, white at and above centre + width/2.

    The linear window of DICOM PS3.3 C.11.2.1.3.2 (LINEAR_EXACT), rounded half up.
    """
    level = (np.asarray(values, dtype=np.float64) - window.centre) / window.width + 0.5
    return np.floor(np.clip(level, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def percentile_window(volume: Volume, low: float = 1.0, high: float = 99.5) -> Window:
    """The grey range from the low to the high percentile of what is not background, for images without fixed units.

    At most every 64th voxel or so is looked at; the lowest value counts as background, as air around the head does.
    """
    sample = volume.array[tuple(slice(None, None, max(1, n // 64)) for n in volume.geometry.shape)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    inside = sample[sample > sample.min()] if sample.size else sample
    if not inside.size:
        return Window(centre=float(sample[0]) if sample.size else 0.0, width=1.0)
    bottom, top = np.percentile(inside, (low, high))
    return Window(centre=float(bottom + top) / 2, width=max(float(top - bottom), 1e-6))


def _letters(direction: NDArray[np.float64]) -> str:
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [int(axis) for axis in order if abs(direction[axis]) >= OBLIQUE_LETTER_COSINE][:2]
    return "".join(_LETTERS[axis][int(direction[axis] > 0)] for axis in named)


def _scale(source: NDArray[Any]) -> tuple[float, float]:
    """Slope and intercept of the int16 steps that hold the values of an array."""
    lowest, highest, is_whole = np.inf, -np.inf, True
    for plane in source:
        finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
        if finite.size:
            lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
            is_whole = is_whole and (plane.dtype.kind != "f" or bool((finite == np.floor(finite)).all()))
    if lowest > highest:
        return 1.0, 0.0
    if is_whole and lowest >= _INT16.min and highest <= _INT16.max:
        return 1.0, 0.0
    if is_whole and highest - lowest <= _INT16.max - _INT16.min:
        return 1.0, lowest - _INT16.min
    slope = (highest - lowest) / (_INT16.max - _INT16.min) or 1.0
    return slope, lowest - _INT16.min * slope
