"""write_segmentation: a label map as a DICOM segmentation (PS3.3 A.51), read back by plain headers and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label
from medseg.core.report import ModelIdentity
from medseg.core.volume import Volume
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.patient_axes import ras_to_lps
from medseg.exchange.dicom.seg import read_segmentation
from medseg.exchange.dicom.uids import uid_from
from medseg.exchange.scan import volume_sha256

SegmentationKind = Literal["BINARY", "LABELMAP"]

MOST_BINARY_SEGMENTS = 20
"""With more labels than this, one byte a voxel is smaller than one bit a voxel and label."""

SERIES_NUMBER = 900
"""Far from the numbers scanners give, so that a result is not mistaken for an acquisition."""

_ALWAYS_NAMED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)

_PLACE_TOLERANCE = 0.02
"""How far, in voxels, a written plane may lie from its place in the mask; rounding to 16 characters is far below."""


@dataclass(frozen=True, slots=True)
class Made:
    """By which model, from which files, and when a mask was made."""

    model: ModelIdentity
    source_files: tuple[Path, ...]
    created: datetime


def write_segmentation(label_map: LabelMap, path: Path, made: Made, kind: SegmentationKind | None = None) -> None:
    """A DICOM SEG of the labels that are present, on the mask's grid, referring to the images it was made from.

    BINARY up to MOST_BINARY_SEGMENTS labels, LABELMAP above, unless said otherwise. UIDs follow from the source, the
    model and the mask. The file is read back and compared voxel by voxel before it appears.

    Raises InputError for an empty mask (DICOM has no segmentation of nothing), images of another frame of reference,
    or a file that does not read back the same.
    """
    present = [label for label in label_map.schema.labels if label_map.mask(label.index).any()]
    if not present:
        raise InputError(
            "nothing was found, and a DICOM segmentation of nothing does not exist. Write the report alone."
        )
    with lenient():
        sources = [_completed(read_dataset(file)) for file in made.source_files]
        _require_source(label_map, sources, made)
        written_as = kind or ("BINARY" if len(present) <= MOST_BINARY_SEGMENTS else "LABELMAP")
        dataset = _segmentation(label_map, present, sources, made, written_as)
        with whole_file(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
            require_same_mask(label_map, temporary)


def require_same_mask(label_map: LabelMap, path: Path) -> None:
    """Refuse a written segmentation whose planes, placed by their own headers, are not the mask.

    The reader is this package's own; the library that wrote the file has no part in it.
    """
    found = read_segmentation(path)
    by_code = {segment.number: segment for segment in found.segments}
    present = [label for label in label_map.schema.labels if label_map.mask(label.index).any()]
    if len(by_code) != len(present):
        raise InputError(
            f"the written segmentation has {len(by_code)} segments where the mask has {len(present)} labels"
        )
    array = np.zeros_like(label_map.array)
    for piece in found.pieces:
        index = label_map.geometry.index(found.geometry.world([(0, 0, piece.k), (1, 1, piece.k)]))
        whole = np.rint(index).astype(int)
        step = whole[1] - whole[0]
        is_on_grid = np.abs(index - whole).max() <= _PLACE_TOLERANCE and step[:2].tolist() == [1, 1] and step[2] == 0
        if not is_on_grid or whole[0][:2].any() or not 0 <= whole[0][2] < array.shape[2]:
            raise InputError(
                f"the written segmentation lies off the mask's grid, at index {np.round(index[0], 3).tolist()}"
            )
        label = next(label for label in present if _title(label) == by_code[piece.segment].name)
        array[:, :, whole[0][2]][piece.plane.T] = label.index
    if not np.array_equal(array, label_map.array):
        wrong = int((array != label_map.array).sum())
        raise InputError(f"the written segmentation differs from the mask in {wrong} voxels; it is not delivered")


def _completed(source: FileDataset) -> FileDataset:
    """The header with what every object must name, empty where it does not (type 2, PS3.5 7.4.3)."""
    for keyword in _ALWAYS_NAMED:
        if keyword not in source:
            setattr(source, keyword, "")
    return source


def _require_source(label_map: LabelMap, sources: Sequence[FileDataset], made: Made) -> None:
    if not sources:
        raise InputError("the images that the mask was made from are needed for a DICOM segmentation: give their files")
    theirs, mine = text(sources[0], "FrameOfReferenceUID"), label_map.geometry.frame_of_reference
    if not theirs:
        raise InputError(f"{made.source_files[0].name} has no frame of reference, so nothing can refer to its places")
    if mine and mine != theirs:
        raise InputError(
            f"the mask lies in the frame of reference {mine}, the images in {theirs}. Give the images it was made from."
        )


def _segmentation(
    label_map: LabelMap, present: list[Label], sources: list[FileDataset], made: Made, kind: SegmentationKind
) -> Any:
    import highdicom

    geometry = label_map.geometry
    directions = ras_to_lps(geometry.directions.T)
    normal = np.cross(geometry.directions[:, 0], geometry.directions[:, 1])
    slice_mm = abs(float(geometry.affine[:3, 2] @ normal))
    positions = ras_to_lps([geometry.world((0, 0, k)) for k in range(geometry.shape[2])])
    patient = highdicom.CoordinateSystemNames.PATIENT
    series_uid = text(sources[0], "SeriesInstanceUID")
    content = volume_sha256(Volume(label_map.array, geometry))
    dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=_numbered(label_map, present),
        segmentation_type=kind,
        segment_descriptions=[_description(label, n, made, series_uid) for n, label in enumerate(present, start=1)],
        series_instance_uid=uid_from("segmentation series", series_uid, made.model.sha256, content, kind),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid_from("segmentation", series_uid, made.model.sha256, content, kind),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=made.model.name[:64],
        software_versions=made.model.medseg_version,
        device_serial_number=made.model.sha256[:16] or "0",
        content_description="Segmentation by a model",
        content_label="SEGMENTATION",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=[_short(geometry.spacing_mm[1]), _short(geometry.spacing_mm[0])],
            slice_thickness=_short(slice_mm),
            spacing_between_slices=_short(slice_mm),
        ),
        plane_orientation=highdicom.PlaneOrientationSequence(patient, [_short(v) for v in directions[:2].ravel()]),
        plane_positions=[highdicom.PlanePositionSequence(patient, [_short(v) for v in place]) for place in positions],
        omit_empty_frames=True,
    )
    dataset.SeriesDescription = f"medseg {made.model.name}"[:64]
    _set_moment(dataset, made.created)
    organization = uid_from("dimensions", dataset.SOPInstanceUID)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return dataset


def _numbered(label_map: LabelMap, present: list[Label]) -> NDArray[np.unsignedinteger[Any]]:
    """Segment numbers (k, rows, columns): 1, 2, 3 ... in the order of the labels that are present."""
    table = np.zeros(max(label_map.schema.indices) + 1, dtype=np.uint8 if len(present) <= 255 else np.uint16)
    for number, label in enumerate(present, start=1):
        table[label.index] = number
    return np.ascontiguousarray(table[label_map.array].transpose(2, 1, 0))


def _description(label: Label, number: int, made: Made, series_uid: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=made.model.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=made.model.medseg_version,
        source="medseg",
        parameters={"model sha256": made.model.sha256},
    )
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=_title(label),
        segmented_property_category=_concept(label.category),
        segmented_property_type=_concept(label.code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=uid_from("segment", series_uid, made.model.sha256, label.name),
        tracking_id=f"medseg {label.name}"[:64],
        display_color=highdicom.color.CIELabColor.from_rgb(*label.colour),
    )
    if label.modifier is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _concept(label.modifier)
        ]
    return described


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _title(label: Label) -> str:
    return label.name[:64]


def _set_moment(dataset: Any, created: datetime) -> None:
    """Dates and times of the object: when the mask was made, so that the same result gives the same bytes."""
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    for kind in ("Content", "Series", "InstanceCreation"):
        if f"{kind}Date" in dataset or kind == "Content":
            setattr(dataset, f"{kind}Date", date)
            setattr(dataset, f"{kind}Time", time)
    for item in dataset.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{date}{time}"


def _short(value: float) -> float:
    """The number as a decimal string of 16 characters can say it."""
    for digits in range(15, 0, -1):
        said = f"{value + 0.0:.{digits}g}"
        if len(said) <= 16:
            return float(said)
    return float(f"{value:.8e}")
