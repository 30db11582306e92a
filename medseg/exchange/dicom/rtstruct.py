"""read_structures: the contours of an RT structure set (PS3.3 A.19), and the voxels inside them on an image's grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.dicom.elements import DAMAGE, items, lenient, text, whole
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.patient_axes import lps_to_ras
from medseg.exchange.dicom.reading.kinds import a_kind_of, kind_of
from medseg.exchange.dicom.segments import Piece, Segment, Segmented

MOST_POINTS = 20_000_000

SLICE_TOLERANCE = 0.25
"""How far a contour may lie from the middle of its slice, in slices."""


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """One region of interest: its number, its name, and its closed contours, each (n, 3) in RAS+ mm."""

    number: int
    name: str
    contours: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """The regions of one structure set, and the frame of reference they were drawn in."""

    structures: tuple[Structure, ...]
    frame_of_reference: str
    series_uid: str
    warnings: tuple[str, ...] = ()

    def on(self, geometry: Geometry) -> Segmented:
        """The voxels whose centres lie inside the contours, on the grid of the image they were drawn on.

        Contours of one slice count by even and odd, so that one inside another is a hole. Raises InputError where the
        frames of reference differ or a contour lies between the slices.
        """
        theirs = geometry.frame_of_reference
        if theirs and self.frame_of_reference and theirs != self.frame_of_reference:
            raise InputError(
                f"the structures were drawn in the frame of reference {self.frame_of_reference}, the image lies in "
                f"{theirs}: they belong to different positions of the patient. Give the image they were drawn on."
            )
        pieces, warnings = [], list(self.warnings)
        for structure in self.structures:
            found, said = _filled(structure, geometry)
            pieces.extend(found)
            warnings.extend(said)
        segments = tuple(Segment(structure.number, structure.name) for structure in self.structures)
        return Segmented(geometry, segments, tuple(pieces), tuple(warnings))


def read_structures(path: Path) -> StructureSet:
    """The structures of an RTSTRUCT file. Raises InputError where it is none, or a contour is damaged."""
    with lenient():
        dataset = read_dataset(path, with_pixels=True)
        if kind_of(dataset) != "structure set":
            raise InputError(f"{path.name} is no RT structure set: it is {a_kind_of(dataset)}")
        names = {
            whole(item, "ROINumber", path.name): text(item, "ROIName")
            for item in items(dataset, "StructureSetROISequence", path.name)
        }
        structures, warnings = [], []
        for item in items(dataset, "ROIContourSequence", path.name):
            number = whole(item, "ReferencedROINumber", path.name)
            if number is None or number not in names:
                raise InputError(f"{path.name} has contours of structure {number}, which it does not name")
            contours, said = _contours(item, f"{path.name}, structure {names[number]!r}")
            warnings.extend(said)
            structures.append(Structure(number, names[number] or f"structure {number}", tuple(contours)))
        frame = _frame_of_reference(dataset, path.name)
    if not any(structure.contours for structure in structures):
        raise InputError(f"{path.name} holds no closed contour. Export the structures again.")
    return StructureSet(tuple(structures), frame, _series_uid(dataset, path.name), tuple(warnings))


def _contours(item: Dataset, where: str) -> tuple[list[NDArray[np.float64]], list[str]]:
    contours, skipped = [], 0
    total = 0
    for contour in items(item, "ContourSequence", where):
        if text(contour, "ContourGeometricType") not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
            skipped += 1
            continue
        try:
            points = np.array([float(value) for value in contour.ContourData], dtype=np.float64).reshape(-1, 3)
        except DAMAGE as error:
            raise InputError(f"{where}: a contour is damaged ({error}). Export the structures again.") from error
        total += len(points)
        if not np.isfinite(points).all() or total > MOST_POINTS:
            raise InputError(f"{where}: a contour holds points that cannot be. Export the structures again.")
        if len(points) >= 3:
            contours.append(lps_to_ras(points))
    return contours, [f"{where}: {skipped} points or open lines were left out"] if skipped else []


def _frame_of_reference(dataset: Dataset, name: str) -> str:
    for item in items(dataset, "ReferencedFrameOfReferenceSequence", name):
        return text(item, "FrameOfReferenceUID")
    return text(dataset, "FrameOfReferenceUID")


def _series_uid(dataset: Dataset, name: str) -> str:
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence", name):
        for study in items(frame, "RTReferencedStudySequence", name):
            for series in items(study, "RTReferencedSeriesSequence", name):
                return text(series, "SeriesInstanceUID")
    return ""


def _filled(structure: Structure, geometry: Geometry) -> tuple[list[Piece], list[str]]:
    columns, rows, slices = geometry.shape
    planes: dict[int, NDArray[np.bool_]] = {}
    outside = 0
    for contour in structure.contours:
        index = geometry.index(contour)
        depth = index[:, 2]
        k = round(float(depth.mean()))
        if np.abs(depth - k).max() > SLICE_TOLERANCE:
            raise InputError(
                f"a contour of {structure.name!r} lies between the slices of the image (at {depth.min():.2f} to "
                f"{depth.max():.2f} slices): it was drawn on another image. Give that image."
            )
        if not 0 <= k < slices:
            outside += 1
            continue
        plane = planes.setdefault(k, np.zeros((rows, columns), dtype=bool))
        plane ^= inside_polygon(index[:, :2], rows, columns)
    warnings = [f"{structure.name}: {outside} contours lie outside the image and were left out"] if outside else []
    drawn = sorted(planes)
    if len(drawn) > 1 and min(np.diff(drawn)) > 1:
        warnings.append(
            f"{structure.name}: it is drawn on every {min(np.diff(drawn))}. slice only; the others are empty"
        )
    return [Piece(structure.number, k, planes[k]) for k in drawn], warnings


def inside_polygon(points: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.bool_]:
    """Pixels (rows, columns) whose centres lie inside the closed polygon of points (i, j), by even and odd.

    Where an edge crosses the line through a row's centres, everything to the right of it changes sides; an edge counts
    its lower end and not its upper one, so that a corner on a row is counted once.
    """
    toggles = np.zeros((rows, columns + 1), dtype=np.int64)
    starts, ends = points, np.roll(points, -1, axis=0)
    for (i0, j0), (i1, j1) in zip(starts, ends, strict=True):
        if j0 == j1:
            continue
        low, high = min(j0, j1), max(j0, j1)
        crossed = np.arange(max(0, int(np.ceil(low))), min(rows, int(np.ceil(high))))
        if not len(crossed):
            continue
        crossings = i0 + (crossed - j0) * (i1 - i0) / (j1 - j0)
        first = np.clip(np.ceil(crossings), 0, columns).astype(int)
        np.add.at(toggles, (crossed, first), 1)
    return np.asarray(np.cumsum(toggles[:, :columns], axis=1) % 2 == 1)
