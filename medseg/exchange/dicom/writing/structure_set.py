"""write_structures: the regions of a mask as an RT structure set (PS3.3 A.19), contours on the slices of the images.

Contours run along the edges of pixels, so that they enclose exactly the voxels and their volume is the report's; a hole
is joined to its outline by a keyhole (PS3.3 C.8.8.6.3), which every planning system reads alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from medseg.core.errors import InputError
from medseg.core.findings import Finding
from medseg.core.geometry import Geometry
from medseg.exchange.dicom.elements import items, lenient, number, text
from medseg.exchange.dicom.files import sop_class
from medseg.exchange.dicom.patient_axes import ras_to_lps
from medseg.exchange.dicom.rtstruct import read_structures
from medseg.exchange.dicom.writing.elements import code_item, decimal, person_name
from medseg.exchange.dicom.writing.read_back import deliver, read_written, undelivered
from medseg.exchange.dicom.writing.regions import Region, Regions
from medseg.exchange.dicom.writing.source import ImageReference, Made, Source, identify, open_source, reference_item
from medseg.imaging.pictures.contours import outlines

SERIES_NUMBER = 902

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_LONGEST_DESCRIPTION = 1024
_ML = "ml"


@dataclass(frozen=True, slots=True, eq=False)
class _Contour:
    """One closed contour: its slice, and its points (n, 3) in LPS+ mm."""

    k: int
    points: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def write_structures(regions: Regions, path: Path, made: Made) -> None:
    """A structure set with one ROI for each region, and for a finding its volume and what else was measured.

    The file is read back and its voxels, names, volumes and references compared before it appears.
    Raises InputError where there is no region, or the file does not read back the same.
    """
    if not regions.regions:
        raise InputError("nothing was found, and a structure set without a structure says nothing. Write the report.")
    with lenient():
        source = open_source(made, regions.geometry)
        images = source.slices(regions.geometry)
        dataset = _structure_set(regions, source, images)
        deliver(dataset, path, source, lambda file: require_same_structures(regions, images, file))


def require_same_structures(regions: Regions, images: dict[int, ImageReference], path: Path) -> None:
    """Refuse a written structure set whose contours do not hold the voxels, or name other images or volumes."""
    written = read_written(path)
    found = read_structures(path).on(regions.geometry)
    if [(segment.number, segment.name) for segment in found.segments] != [(r.number, r.name) for r in regions.regions]:
        raise undelivered(f"its structures are {[segment.name for segment in found.segments]}")
    array = np.zeros_like(regions.array)
    for piece in found.pieces:
        array[:, :, piece.k][piece.plane.T] = piece.segment
    if not np.array_equal(array, regions.array):
        raise undelivered(f"its contours hold other voxels than the mask: {int((array != regions.array).sum())}")
    for region, item in zip(regions.regions, items(written, "StructureSetROISequence"), strict=True):
        volume_ml = _volume_ml(region.finding)
        said = number(item, "ROIVolume", path.name)
        if volume_ml is not None and (said is None or abs(said - volume_ml) > 1e-9 * volume_ml):
            raise undelivered(f"the volume of {region.name} is {said}, not {volume_ml} ml")
    for structure in items(written, "ROIContourSequence"):
        for contour in items(structure, "ContourSequence"):
            _require_own_image(contour, regions.geometry, images)


def _require_own_image(contour: Dataset, geometry: Geometry, images: dict[int, ImageReference]) -> None:
    x, y, z = (float(value) for value in contour.ContourData[:3])
    k = round(float(geometry.index((-x, -y, z))[2]))
    meant = images.get(k)
    said = [text(item, "ReferencedSOPInstanceUID") for item in items(contour, "ContourImageSequence")]
    if said != ([] if meant is None else [meant.sop_instance]):
        raise undelivered(f"a contour of slice {k} refers to another image than the one it lies on")


def _structure_set(regions: Regions, source: Source, images: dict[int, ImageReference]) -> Dataset:
    created = source.made.created
    dataset = Dataset()
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = source.uid("structure set", regions.content)
    dataset.SeriesInstanceUID = source.uid("structure set series", regions.content)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, 1
    dataset.OperatorsName = ""
    dataset.InstanceCreationDate = dataset.InstanceCreationTime = ""
    dataset.FrameOfReferenceUID = source.frame_of_reference
    dataset.PositionReferenceIndicator = text(source.headers[0], "PositionReferenceIndicator")
    dataset.StructureSetLabel = "medseg"
    dataset.StructureSetName = source.made.model.name[:64]
    dataset.StructureSetDescription = f"model {source.made.model.name[:256]}, sha256 {source.made.model.sha256}"
    dataset.StructureSetDate, dataset.StructureSetTime = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(source)]
    dataset.StructureSetROISequence = [_roi(region, source) for region in regions.regions]
    dataset.ROIContourSequence = [_drawn(region, regions, images) for region in regions.regions]
    dataset.RTROIObservationsSequence = [_observation(region, source) for region in regions.regions]
    dataset.ApprovalStatus = "UNAPPROVED"
    identify(dataset, source, f"{source.made.model.name}, structures")
    return dataset


def _referenced(source: Source) -> Dataset:
    """The frame of reference with the study, series and images that were drawn on."""
    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.series_uid
    series.ContourImageSequence = [
        reference_item(ImageReference(sop_class(header), text(header, "SOPInstanceUID"), None))
        for header in source.headers
    ]
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = text(source.headers[0], "StudyInstanceUID")
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.frame_of_reference
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi(region: Region, source: Source) -> Dataset:
    item = Dataset()
    item.ROINumber = region.number
    item.ReferencedFrameOfReferenceUID = source.frame_of_reference
    item.ROIName = region.name
    item.ROIGenerationAlgorithm = "SEMIAUTOMATIC" if source.made.corrected_by else "AUTOMATIC"
    item.ROIGenerationDescription = f"medseg {source.made.model.medseg_version}, {source.made.model.name}"[:64]
    volume_ml = _volume_ml(region.finding)
    if volume_ml is not None:
        item.ROIVolume = decimal(volume_ml)
    if region.finding is not None:
        said = "; ".join(f"{one.name} {one.value:.9g} {one.unit}" for one in region.finding.measurements)
        item.ROIDescription = said[:_LONGEST_DESCRIPTION]
    return item


def _volume_ml(finding: Finding | None) -> float | None:
    """The measured volume of a finding: ROIVolume is in cubic centimetres."""
    for measured in () if finding is None else finding.measurements:
        if measured.name == "volume" and measured.unit == _ML:
            return measured.value
    return None


def _drawn(region: Region, regions: Regions, images: dict[int, ImageReference]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(region.label.colour)
    item.ReferencedROINumber = region.number
    item.ContourSequence = [
        _contour_item(contour, number, images) for number, contour in enumerate(_contours(region, regions), start=1)
    ]
    return item


def _contours(region: Region, regions: Regions) -> Iterator[_Contour]:
    box = regions.boxes[region.number - 1]
    if box is None:
        raise InputError(f"{region.name} has no voxel in the mask")
    corner = np.array([part.start for part in box])
    inside = regions.array[box] == region.number
    for k in range(inside.shape[2]):
        for outline in outlines(inside[:, :, k].T):
            index = np.column_stack([outline, np.full(len(outline), k)]) + corner
            yield _Contour(int(corner[2]) + k, ras_to_lps(regions.geometry.world(index)))


def _contour_item(contour: _Contour, number: int, images: dict[int, ImageReference]) -> Dataset:
    item = Dataset()
    image = images.get(contour.k)
    if image is not None:  # a slice that was filled between two images lies on none
        item.ContourImageSequence = [reference_item(image)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(contour.points)
    item.ContourNumber = number
    item.ContourData = [decimal(value) for value in contour.points.ravel().tolist()]
    return item


def _observation(region: Region, source: Source) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = region.number
    item.RTROIIdentificationCodeSequence = [code_item(region.label.code)]
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = person_name(source.made.corrected_by or "")
    return item
