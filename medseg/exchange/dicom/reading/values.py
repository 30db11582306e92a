"""Stored pixels of a stack into one array of real values with their unit: rescale or Modality LUT, gaps, damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.volume import Unit
from medseg.exchange.dicom.elements import DAMAGE, items, text
from medseg.exchange.dicom.reading.grid import Stack
from medseg.exchange.dicom.reading.image_file import Frame
from medseg.exchange.dicom.reading.pixels import stored_pixels
from medseg.exchange.dicom.reading.suv import pet_scale

_HU_TYPES = ("", "HU", "HU_MOD")
_AIR_HU = -900.0
_DAMAGED_TAIL = 0.25
"""The last part of a slice that is zero where its neighbours are not, from which it counts as damage."""


@dataclass(frozen=True, slots=True)
class Values:
    """The array (i, j, k) of a stack, its unit, and what to tell the user."""

    array: NDArray[Any]
    unit: Unit
    warnings: tuple[str, ...]


def real_values(stack: Stack, modality: str, *, allow_gaps: bool) -> Values:
    """HU for CT, SUVbw or Bq/ml for PET, and the scanner's own numbers otherwise.

    Missing slices, which `allow_gaps` lets through, are interpolated. Whole numbers stay integers; other values are
    float32. Raises InputError for pixel data that is missing, damaged, or cannot be turned into values.
    """
    planes, tables = _load(stack)
    damaged = _zeroed(planes, stack, modality)
    warnings = []
    if damaged:
        names = ", ".join(stack.frames[position].name for position in damaged[:4])
        if not allow_gaps or len(damaged) == len(planes):
            raise InputError(
                f"the pixels of {names}{' ...' if len(damaged) > 4 else ''} are zero where their neighbours are not: "
                "the file was cut off on its way. Send it again, or pass --allow-gaps to interpolate."
            )
        warnings.append(f"the zeroed slices {names} were replaced by interpolation")
    unit, factor, said = _unit(stack, modality, bool(tables))
    warnings.extend(said)
    array = _assemble(planes, stack, tables, factor)
    gaps = sorted({*stack.missing, *(stack.indices[position] for position in damaged)})
    if gaps:
        array = _interpolated(array, gaps)
        warnings.append(
            f"{len(gaps)} of {array.shape[0]} slices were interpolated from their neighbours: {_listed(gaps)}"
        )
    return Values(array.transpose(2, 1, 0), unit, tuple(warnings))


def _load(stack: Stack) -> tuple[list[NDArray[Any]], dict[int, NDArray[Any]]]:
    """Stored planes by position, and the values by Modality LUT of those that have one."""
    planes: list[NDArray[Any]] = [np.empty(0)] * len(stack.frames)
    tables: dict[int, NDArray[Any]] = {}
    for position, dataset, plane in stored_pixels(stack.frames):
        frame = stack.frames[position]
        if plane.shape != (frame.file.rows, frame.file.columns):
            raise InputError(f"{frame.name} changed while it was being read. Try again.")
        if np.issubdtype(plane.dtype, np.floating) and not np.isfinite(plane).all():
            raise InputError(f"{frame.name} holds pixels that are not finite numbers. Export the series again.")
        planes[position] = plane
        lut = items(dataset, "ModalityLUTSequence", frame.name)
        if lut:
            tables[position] = _looked_up(plane, lut[0], frame.name)
    return planes, tables


def _looked_up(plane: NDArray[Any], lut: Dataset, where: str) -> NDArray[Any]:
    """The plane through a Modality LUT (PS3.3 C.11.1); values outside the table take its first or last entry."""
    try:
        count, first, bits = (int(value) for value in lut.LUTDescriptor)
        count = count or 65536
        first = first - 65536 if first > 32767 and np.issubdtype(plane.dtype, np.signedinteger) else first
        data = lut.LUTData
        if isinstance(data, bytes):
            table = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * count else "u1")
        else:
            table = np.asarray(data, dtype=np.int64) & 0xFFFF
    except DAMAGE as error:
        raise InputError(f"{where}: its Modality LUT is damaged ({error}). Send the file again.") from error
    if len(table) < count or bits not in (8, 16):
        raise InputError(
            f"{where}: its Modality LUT promises {count} entries of {bits} bits and has {len(table)}. "
            "Send the file again."
        )
    index = np.clip(plane.astype(np.int64) - first, 0, count - 1)
    return table[:count].astype(np.int32)[index]


def _zeroed(planes: list[NDArray[Any]], stack: Stack, modality: str) -> list[int]:
    """Positions of slices that are zero, wholly or from some point on, where the slices beside them are not."""
    if len(planes) < 2 or np.issubdtype(planes[0].dtype, np.floating):
        return []
    tails = np.array([_zero_tail(plane) for plane in planes])
    full = tails == 1.0
    found = []
    for position in range(len(planes)):
        before, after = tails[:position], tails[position + 1 :]
        if full[position]:
            inside = bool((before < 1.0).any() and (after < 1.0).any())
            slope, intercept = stack.frames[position].rescale or (1.0, 0.0)
            is_tissue = modality == "CT" and intercept > _AIR_HU and slope != 0 and not full.all()
            if inside or is_tissue:
                found.append(position)
        elif len(before) and len(after):
            beside = max(before[-1], after[0])
            if (
                beside < 1.0
                and tails[position] > beside + _DAMAGED_TAIL
                and abs(before[-1] - after[0]) < _DAMAGED_TAIL / 5
            ):
                found.append(position)
    return found


def _zero_tail(plane: NDArray[Any]) -> float:
    """The part of the plane, from its end, that is zero."""
    flat = plane.reshape(-1)
    if flat[-1] != 0:
        return 0.0
    rows = np.flatnonzero(plane.any(axis=1))
    if not len(rows):
        return 1.0
    last = int(rows[-1]) * plane.shape[1] + int(np.flatnonzero(plane[rows[-1]])[-1])
    return float(1.0 - (last + 1) / flat.size)


def _unit(stack: Stack, modality: str, has_table: bool) -> tuple[Unit, float, list[str]]:
    """The unit, what values are multiplied by to be in it, and warnings."""
    headers = [frame.file.header for frame in stack.frames]
    if modality == "CT":
        types = {text(header, "RescaleType").upper() for header in headers}
        if not types <= set(_HU_TYPES):
            return "arbitrary", 1.0, [f"CT values are of the type {', '.join(sorted(types))}, not Hounsfield units"]
        if not has_table and any(frame.rescale is None for frame in stack.frames):
            return (
                "arbitrary",
                1.0,
                ["the CT does not say how to turn its pixels into Hounsfield units (no RescaleSlope)"],
            )
        return "HU", 1.0, []
    if modality == "PT":
        scales = {pet_scale(header, stack.frames[0].file.path.name) for header in headers}
        if len({scale.unit for scale in scales}) > 1 or max(s.factor for s in scales) > 1.0001 * min(
            s.factor for s in scales
        ):
            raise InputError(
                "the slices of this PET differ in unit, dose, weight or time of scan: "
                f"{stack.frames[0].name} and others. Export the series again."
            )
        scale = scales.pop()
        return scale.unit, scale.factor, [scale.warning] if scale.warning else []
    return "arbitrary", 1.0, []


def _assemble(planes: list[NDArray[Any]], stack: Stack, tables: dict[int, NDArray[Any]], factor: float) -> NDArray[Any]:
    """All planes as real values (k, j, i), in the smallest type that holds them; missing slices are zero."""
    rescales = [_rescale(frame, position in tables, factor) for position, frame in enumerate(stack.frames)]
    sources = [tables.get(position, plane) for position, plane in enumerate(planes)]
    dtype = _value_type(sources, rescales)
    rows, columns = planes[0].shape
    array = np.zeros((stack.geometry.shape[2], rows, columns), dtype=dtype)
    for source, (slope, intercept), index in zip(sources, rescales, stack.indices, strict=True):
        if (slope, intercept) == (1.0, 0.0):
            array[index] = source
        elif dtype.kind == "f":
            array[index] = source * np.float64(slope) + np.float64(intercept)
        else:
            array[index] = (
                source.astype(np.int64) * int(slope) + int(intercept)
                if abs(slope) != 1.0
                else (source.astype(np.int32) * int(slope) + int(intercept))
            )
    return array


def _rescale(frame: Frame, is_looked_up: bool, factor: float) -> tuple[float, float]:
    slope, intercept = (1.0, 0.0) if is_looked_up or frame.rescale is None else frame.rescale
    return slope * factor, intercept * factor


def _value_type(sources: list[NDArray[Any]], rescales: list[tuple[float, float]]) -> np.dtype[Any]:
    if any(source.dtype == np.float64 for source in sources):
        return np.dtype(np.float64)
    is_whole = all(slope == int(slope) and intercept == int(intercept) for slope, intercept in rescales)
    if not is_whole or any(source.dtype.kind == "f" for source in sources):
        return np.dtype(np.float32)
    ends = [
        slope * float(end) + intercept
        for source, (slope, intercept) in zip(sources, rescales, strict=True)
        for end in (source.min(), source.max())
    ]
    for kind in (np.int16, np.uint16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= min(ends) and max(ends) <= limits.max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def _interpolated(array: NDArray[Any], gaps: list[int]) -> NDArray[Any]:
    """The array (k, j, i) with the slices in `gaps` made from the nearest kept slices on both sides, or on one."""
    kept = np.array(sorted(set(range(array.shape[0])) - set(gaps)))
    for index in gaps:
        below, above = kept[kept < index], kept[kept > index]
        if not len(below) or not len(above):
            array[index] = array[above[0] if len(above) else below[-1]]
            continue
        low, high = int(below[-1]), int(above[0])
        weight = (index - low) / (high - low)
        mixed = array[low] * (1 - weight) + array[high] * weight
        array[index] = np.rint(mixed) if array.dtype.kind in "iu" else mixed
    return array


def _listed(numbers: list[int], most: int = 8) -> str:
    return ", ".join(str(number) for number in numbers[:most]) + (" ..." if len(numbers) > most else "")
