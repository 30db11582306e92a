"""read_segmentation: a DICOM segmentation object (PS3.3 A.51), BINARY, FRACTIONAL or LABELMAP, by its plain headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydicom.dataset import Dataset, FileDataset

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.labels import Code
from medseg.exchange.dicom.elements import DAMAGE, items, lenient, number, text, whole
from medseg.exchange.dicom.files import read_dataset, transfer_syntax
from medseg.exchange.dicom.patient_axes import affine_ras
from medseg.exchange.dicom.reading.grid import SAME_PLACE_MM, places_mm, require_alike, tolerance_mm
from medseg.exchange.dicom.reading.image_file import Frame, ImageFile, image_file
from medseg.exchange.dicom.reading.kinds import a_kind_of, kind_of
from medseg.exchange.dicom.reading.pixels import NATIVE_SYNTAXES, stored_pixels
from medseg.exchange.dicom.segments import Piece, Segment, Segmented

HALF = 0.5
"""The fraction from which a voxel of a FRACTIONAL segmentation belongs to the segment."""

MOST_VOXELS = 4 << 30


def read_segmentation(path: Path) -> Segmented:
    """The segments of a DICOM SEG file on their own grid in RAS+ mm; slices without a frame are empty.

    Raises InputError where the file is no segmentation, is damaged, or its frames lie on no grid.
    """
    with lenient():
        dataset = read_dataset(path, with_pixels=True)
        if kind_of(dataset) != "segmentation":
            raise InputError(f"{path.name} is no DICOM segmentation: it is {a_kind_of(dataset)}")
        file = image_file(path, dataset)
        if file.problem:
            raise InputError(file.problem)
        geometry, slices = _grid(file, dataset)
        segments = _segments(dataset, path.name)
        kind = text(dataset, "SegmentationType").upper()
        readers = {"BINARY": _binary, "FRACTIONAL": _fractional, "LABELMAP": _labelmap}
        if kind not in readers:
            raise InputError(f"{path.name} is a segmentation of the unknown type {kind or 'missing'!r}")
        pieces = readers[kind](dataset, file, slices)
    known = {segment.number for segment in segments}
    strange = sorted({piece.segment for piece in pieces} - known)
    if strange:
        raise InputError(
            f"{path.name} has frames of segment {strange[0]}, which it does not describe. Export it again."
        )
    warnings = ("fractions of one half and more count as inside",) if kind == "FRACTIONAL" else ()
    return Segmented(geometry, tuple(segments), tuple(pieces), warnings)


def _segments(dataset: Dataset, name: str) -> list[Segment]:
    found = []
    for item in items(dataset, "SegmentSequence", name):
        index = whole(item, "SegmentNumber", name)
        if index is None:
            raise InputError(f"{name} has a segment without a number. Export it again.")
        if index > 0:  # 0 is the background of a LABELMAP
            code = (items(item, "SegmentedPropertyTypeCodeSequence", name) or [Dataset()])[0]
            found.append(Segment(index, text(item, "SegmentLabel") or f"segment {index}", coded(code)))
    if not found:
        raise InputError(f"{name} describes no segment. Export it again.")
    return found


def coded(item: Dataset) -> Code | None:
    """A code sequence's item as a Code; None where it is not complete."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    try:
        return Code(value=value, scheme=text(item, "CodingSchemeDesignator"), meaning=text(item, "CodeMeaning"))
    except ValidationError:
        return None


def _grid(file: ImageFile, dataset: Dataset) -> tuple[Geometry, list[int]]:
    """The grid that holds every frame, and each frame's slice number on it."""
    frames = file.frames
    if file.rows * file.columns * len(frames) > MOST_VOXELS:
        raise InputError(f"{file.path.name} promises {len(frames)} frames of {file.columns} x {file.rows}: too many")
    require_alike(frames)
    places = places_mm(frames)
    first, last = frames[int(places.argmin())], frames[int(places.argmax())]
    distances = np.diff(np.unique(np.round(places / SAME_PLACE_MM))) * SAME_PLACE_MM
    spacing = _spacing_mm(distances, _declared_mm(dataset, file.path.name), first, file.path.name)
    count = round(float(places.max() - places.min()) / spacing)
    step = (last.plane.position - first.plane.position) / count if count else first.plane.normal * spacing
    slices = np.rint((places - places.min()) / spacing).astype(int)
    expected = first.plane.position + np.outer(slices, step)
    off = np.linalg.norm(np.array([frame.plane.position for frame in frames]) - expected, axis=1)
    if off.max() > tolerance_mm(spacing):
        raise InputError(
            f"{frames[int(off.argmax())].name} lies {off.max():.3f} mm from its place on the segmentation's grid "
            f"(spacing {spacing:.3f} mm). Export it again."
        )
    plane = first.plane
    columns = np.column_stack([plane.row * plane.column_spacing_mm, plane.column * plane.row_spacing_mm, step])
    frame_of_reference = text(dataset, "FrameOfReferenceUID") or None
    shape = (file.columns, file.rows, count + 1)
    return Geometry(shape, affine_ras(columns, plane.position), frame_of_reference), slices.tolist()


def _declared_mm(dataset: Dataset, name: str) -> float | None:
    shared = (items(dataset, "SharedFunctionalGroupsSequence", name) or [Dataset()])[0]
    measures = (items(shared, "PixelMeasuresSequence", name) or [Dataset()])[0]
    declared = number(measures, "SpacingBetweenSlices", name)
    return abs(declared) if declared else None


def _spacing_mm(distances: NDArray[np.float64], declared: float | None, first: Frame, name: str) -> float:
    """The declared slice spacing where all distances are multiples of it, else the shortest distance where they are."""
    if not len(distances):
        return declared or first.plane.thickness_mm or 1.0
    for spacing in (declared, float(distances.min())):
        if spacing is not None and spacing >= SAME_PLACE_MM:
            steps = np.maximum(1, np.rint(distances / spacing))
            # positions and spacing are rounded in the file: the error grows with the number of steps
            if (np.abs(distances - steps * spacing) <= 2 * tolerance_mm(spacing) + steps * 1e-3).all():
                return float(distances.sum() / steps.sum())
    raise InputError(f"the frames of {name} are not evenly spaced (distances {np.unique(distances)[:6].tolist()} mm)")


def _segment_numbers(dataset: Dataset, file: ImageFile) -> list[int]:
    shared = (items(dataset, "SharedFunctionalGroupsSequence", file.path.name) or [Dataset()])[0]
    found = []
    for index, group in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence", file.path.name)):
        where = f"{file.path.name} frame {index + 1}"
        said = items(group, "SegmentIdentificationSequence", where) or items(
            shared, "SegmentIdentificationSequence", where
        )
        segment = whole(said[0], "ReferencedSegmentNumber", where) if said else None
        if segment is None:
            raise InputError(f"{where} does not say its segment. Export the segmentation again.")
        found.append(segment)
    return found


def _binary(dataset: FileDataset, file: ImageFile, slices: list[int]) -> list[Piece]:
    """Frames of one bit a pixel, packed without gaps from one to the next (PS3.5 8.1.1, Annex D)."""
    numbers = _segment_numbers(dataset, file)
    if whole(dataset, "BitsAllocated", file.path.name) != 1:
        return _thresholded(file, slices, numbers, 1)
    if transfer_syntax(dataset) not in NATIVE_SYNTAXES:
        raise InputError(f"{file.path.name} holds compressed single bits, which are not read. Send it uncompressed.")
    try:
        data = bytes(dataset["PixelData"].value or b"")
    except DAMAGE as error:
        raise InputError(f"{file.path.name}: its pixel data cannot be read ({error}). Send it again.") from error
    per_frame = file.rows * file.columns
    needed = (per_frame * len(file.frames) + 7) // 8
    if not needed <= len(data) <= needed + needed % 2:
        raise InputError(
            f"{file.path.name}: its pixel data has {len(data)} bytes where {len(file.frames)} frames of "
            f"{file.columns} x {file.rows} bits are {needed}. It is damaged or truncated. Send the file again."
        )
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    frames = bits[: per_frame * len(file.frames)].reshape(len(file.frames), file.rows, file.columns).astype(bool)
    return [Piece(segment, k, plane) for segment, k, plane in zip(numbers, slices, frames, strict=True)]


def _fractional(dataset: FileDataset, file: ImageFile, slices: list[int]) -> list[Piece]:
    most = whole(dataset, "MaximumFractionalValue", file.path.name)
    if not most or most < 1:
        raise InputError(f"{file.path.name} does not say what fraction is whole (MaximumFractionalValue)")
    return _thresholded(file, slices, _segment_numbers(dataset, file), most)


def _thresholded(file: ImageFile, slices: list[int], numbers: list[int], most: int) -> list[Piece]:
    return [
        Piece(numbers[position], slices[position], plane >= most * HALF)
        for position, _, plane in stored_pixels(tuple(file.frames))
    ]


def _labelmap(dataset: FileDataset, file: ImageFile, slices: list[int]) -> list[Piece]:
    padding = whole(dataset, "PixelPaddingValue", file.path.name)
    pieces = []
    for position, _, plane in stored_pixels(tuple(file.frames)):
        for value in np.unique(plane).tolist():
            if value not in (0, padding):
                pieces.append(Piece(int(value), slices[position], np.asarray(plane == value)))
    return pieces
