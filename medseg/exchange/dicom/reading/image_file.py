"""ImageFile: what the header of one DICOM image says, frame by frame, before any pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import items, number, numbers, text, whole

PHASE_KEYWORDS = (
    "TemporalPositionIdentifier", "TemporalPositionIndex", "NominalPercentageOfCardiacPhase",
    "NominalPercentageOfRespiratoryPhase", "AcquisitionNumber", "EchoNumbers", "EffectiveEchoTime", "EchoTime",
    "InversionTime", "DiffusionBValue", "DiffusionGradientOrientation", "FrameType", "ImageType", "StackID",
    "ConvolutionKernel", "KVP", "TriggerTime", "NominalCardiacTriggerDelayTime", "FlipAngle", "ComplexImageComponent",
    "ContrastBolusAgent", "ContrastBolusAgentPhase", "FrameAcquisitionNumber", "FrameReferenceTime",
    "FrameReferenceDateTime", "AcquisitionDateTime", "FrameAcquisitionDateTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
"""What may tell the phases (echoes, time points, kernels ...) of one series apart, the most telling first."""

ENHANCED_PHASE_SEQUENCES = (
    "FrameContentSequence", "MREchoSequence", "MRDiffusionSequence", "DiffusionGradientDirectionSequence",
    "CardiacSynchronizationSequence", "RespiratorySynchronizationSequence", "TemporalPositionSequence",
    "CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence", "CTReconstructionSequence", "CTXRayDetailsSequence",
    "MRImagingModifierSequence",
)  # fmt: skip

_PHASE_TAGS = {int(tag_for_keyword(name) or 0): name for name in (*PHASE_KEYWORDS, *ENHANCED_PHASE_SEQUENCES)}

_ORTHOGONAL = 1e-3
"""Largest cosine between a row and a column, and error of their lengths, that is rounding: 0.06 degrees."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where one image lies, in LPS+ mm: the centre of its first pixel, row and column directions, spacings."""

    position: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    row_spacing_mm: float
    column_spacing_mm: float
    thickness_mm: float | None

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the image, right-handed with row and column."""
        return np.cross(self.row, self.column)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image: which file and frame it is, its plane, its rescale, and what may tell its phase."""

    file: ImageFile
    number: int
    plane: Plane
    rescale: tuple[float, float] | None
    phase_values: dict[str, str]

    @property
    def name(self) -> str:
        """The file, with the frame's number where the file has several, for people."""
        return self.file.path.name if self.file.frame_count == 1 else f"{self.file.path.name} frame {self.number + 1}"

    def has_same_look(self, other: Frame) -> bool:
        """Whether both have as many rows and columns."""
        return (self.file.rows, self.file.columns) == (other.file.rows, other.file.columns)


@dataclass(slots=True)
class ImageFile:
    """What one DICOM image's header says; `problem` says why it has no usable frames, empty where it has."""

    path: Path
    header: FileDataset
    rows: int = 0
    columns: int = 0
    frame_count: int = 1
    is_multiframe: bool = False
    frames: list[Frame] = field(default_factory=list)
    problem: str = ""

    def said(self, keyword: str) -> str:
        """An element of the header as text, empty where it is absent."""
        return text(self.header, keyword)

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType's values in capitals (PS3.3 C.7.6.1.1.2)."""
        return tuple(part.strip().upper() for part in self.said("ImageType").split("\\"))


def image_file(path: Path, header: FileDataset) -> ImageFile:
    """The header's facts and frames; where they cannot be had, `problem` says why and there are no frames."""
    file = ImageFile(path, header)
    try:
        file.rows, file.columns = _size(header, path.name)
        if text(header, "SamplesPerPixel") not in ("", "1"):
            file.problem = f"{path.name} is a colour image; a scan has one value a pixel"
            return file
        file.is_multiframe = "PerFrameFunctionalGroupsSequence" in header
        file.frame_count = whole(header, "NumberOfFrames", path.name) or 1
        file.frames = _enhanced_frames(file) if file.is_multiframe else [_single_frame(file)]
    except InputError as error:
        file.problem = str(error)
    return file


def _size(header: FileDataset, name: str) -> tuple[int, int]:
    rows, columns = whole(header, "Rows", name) or 0, whole(header, "Columns", name) or 0
    if min(rows, columns) < 1:
        raise InputError(f"{name} has {rows} rows and {columns} columns: its header is damaged. Send the file again.")
    return rows, columns


def _single_frame(file: ImageFile) -> Frame:
    name, header = file.path.name, file.header
    if file.frame_count != 1:
        raise InputError(
            f"{name} holds {file.frame_count} frames and does not say where they lie "
            "(no functional groups). Export it as an enhanced multi-frame or a single-frame series."
        )
    plane = _plane([header], name)
    values = {keyword: text(header, keyword) for keyword in PHASE_KEYWORDS if keyword in header}
    return Frame(file, 0, plane, _rescale([header], name), values)


def _enhanced_frames(file: ImageFile) -> list[Frame]:
    """The frames of an enhanced multi-frame image: per-frame functional groups over shared ones (PS3.3 C.7.6.16)."""
    name = file.path.name
    per_frame = items(file.header, "PerFrameFunctionalGroupsSequence", name)
    if len(per_frame) != file.frame_count:
        raise InputError(
            f"{name} says that it holds {file.frame_count} frames and describes {len(per_frame)}. Send the file again."
        )
    shared = _members((items(file.header, "SharedFunctionalGroupsSequence", name) or [Dataset()])[0], name)
    frames = []
    for number_, group in enumerate(per_frame):
        where = f"{name} frame {number_ + 1}"
        groups = [*_members(group, where), *shared]
        plane = _plane(groups, where)
        rescale = _rescale([*groups, file.header], where)
        frames.append(Frame(file, number_, plane, rescale, _enhanced_phase(group, where)))
    return frames


def _members(group: Dataset, where: str) -> list[Dataset]:
    """The datasets inside the functional groups that say geometry and rescale."""
    found = []
    for keyword in (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    ):
        found.extend(items(group, keyword, where)[:1])
    return found


def _enhanced_phase(group: Dataset, where: str) -> dict[str, str]:
    values: dict[str, str] = {}
    waiting = [group]
    while waiting:
        dataset = waiting.pop()
        for tag, _ in tuple(dataset.items()):  # few, where the keywords are many
            keyword = _PHASE_TAGS.get(tag, "")
            if keyword in ENHANCED_PHASE_SEQUENCES:
                waiting.extend(items(dataset, keyword, where)[:1])
            elif keyword:
                values[keyword] = text(dataset, keyword)
    return values


def _first(datasets: list[Dataset], keyword: str, count: int, where: str) -> tuple[float, ...] | None:
    for dataset in datasets:
        found = numbers(dataset, keyword, count, where)
        if found is not None:
            return found
    return None


def _plane(datasets: list[Dataset], where: str) -> Plane:
    position = _first(datasets, "ImagePositionPatient", 3, where)
    orientation = _first(datasets, "ImageOrientationPatient", 6, where)
    spacing = _first(datasets, "PixelSpacing", 2, where)
    missing = [
        keyword
        for keyword, found in (
            ("ImagePositionPatient", position),
            ("ImageOrientationPatient", orientation),
            ("PixelSpacing", spacing),
        )
        if found is None
    ]
    if position is None or orientation is None or spacing is None:
        raise InputError(f"{where} does not say where it lies: it has no {', no '.join(missing)}. Export it again.")
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1)) > _ORTHOGONAL:
        raise InputError(
            f"{where}: the directions in ImageOrientationPatient have the lengths {lengths[0]:.4g} and "
            f"{lengths[1]:.4g} where they must be 1. Export it again."
        )
    cosine = float(row @ column)
    if abs(cosine) > _ORTHOGONAL:
        raise InputError(
            f"{where}: rows and columns stand at {np.degrees(np.arccos(cosine)):.2f} degrees in "
            "ImageOrientationPatient where they must be at right angles. Export it again."
        )
    if min(spacing) < 0.001 or max(spacing) > 100:
        raise InputError(f"{where}: PixelSpacing is {spacing[0]:g} x {spacing[1]:g} mm, which no scanner makes")
    thickness = _first(datasets, "SliceThickness", 1, where)
    return Plane(
        np.array(position), row / lengths[0], column / lengths[1], spacing[0], spacing[1],
        thickness[0] if thickness and thickness[0] > 0 else None,
    )  # fmt: skip


def _rescale(datasets: list[Dataset], where: str) -> tuple[float, float] | None:
    slope = intercept = None
    for dataset in datasets:
        slope = number(dataset, "RescaleSlope", where) if slope is None else slope
        intercept = number(dataset, "RescaleIntercept", where) if intercept is None else intercept
    if slope == 0:
        raise InputError(f"{where}: RescaleSlope is 0, which makes every voxel the same. Export it again.")
    if slope is None and intercept is None:
        return None
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
