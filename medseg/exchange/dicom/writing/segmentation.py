"""write_segmentation: a label map as a DICOM segmentation (PS3.3 A.51), read back by plain headers and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.patient_axes import ras_to_lps
from medseg.exchange.dicom.seg import read_segmentation
from medseg.exchange.dicom.uids import uid_from
from medseg.exchange.dicom.writing.elements import code_item, decimal, person_name
from medseg.exchange.dicom.writing.read_back import deliver, slice_of, undelivered
from medseg.exchange.dicom.writing.regions import Region, Regions, regions_of_labels
from medseg.exchange.dicom.writing.source import Made, Source, identify, open_source

SegmentationKind = Literal["BINARY", "LABELMAP"]

MOST_BINARY_LABELS = 20
"""With more labels than this, one byte a voxel is smaller than one bit a voxel and label. Findings are not counted: the
many small ones of one label have few frames each."""

SERIES_NUMBER = 900
"""Far from the numbers scanners give, so that a result is not mistaken for an acquisition."""


def write_segmentation(
    label_map: LabelMap,
    path: Path,
    made: Made,
    kind: SegmentationKind | None = None,
    regions: Regions | None = None,
) -> None:
    """A DICOM SEG of the labels that are present, on the mask's grid, referring to the images it was made from.

    Each label is a segment, unless `regions` say how the mask is cut (finding by finding). BINARY up to
    MOST_BINARY_LABELS labels, LABELMAP above, unless said otherwise. UIDs follow from the source, the model and the
    mask. The file is read back and compared voxel by voxel before it appears.

    Raises InputError for an empty mask (DICOM has no segmentation of nothing), images of another frame of reference,
    or a file that does not read back the same.
    """
    parts = regions or regions_of_labels(label_map)
    if not parts.regions:
        raise InputError(
            "nothing was found, and a DICOM segmentation of nothing does not exist. Write the report alone."
        )
    with lenient():
        source = open_source(made, label_map.geometry)
        label_count = len({region.label.index for region in parts.regions})
        written_as = kind or ("BINARY" if label_count <= MOST_BINARY_LABELS else "LABELMAP")
        dataset = _segmentation(parts, source, written_as)
        deliver(dataset, path, source, lambda file: require_same_regions(parts, file))


def segmentation_uid(regions: Regions, source: Source, kind: SegmentationKind) -> str:
    """The UID of the segmentation object of these regions."""
    return source.uid("segmentation", regions.content, kind)


def tracking_uid(region: Region, source: Source) -> str:
    """The UID by which one region is known in every object of this model and these images."""
    return source.uid("region", region.name, region.label.code.value)


def require_same_regions(regions: Regions, path: Path) -> None:
    """Refuse a written segmentation whose planes, placed by their own headers, are not the regions."""
    found = read_segmentation(path)
    named = {segment.number: segment for segment in found.segments}
    if len(named) != len(regions.regions):
        raise undelivered(f"it has {len(named)} segments where the mask has {len(regions.regions)}")
    for region in regions.regions:
        segment = named.get(region.number)
        if segment is None or segment.name != region.name or segment.code != region.label.code:
            raise undelivered(f"its segment {region.number} is not {region.name} ({region.label.code.meaning})")
    array = np.zeros_like(regions.array)
    for piece in found.pieces:
        plane = array[:, :, slice_of(regions.geometry, found.geometry, piece.k)]
        plane[piece.plane.T] = piece.segment
    if not np.array_equal(array, regions.array):
        raise undelivered(f"it differs from the mask in {int((array != regions.array).sum())} voxels")


def _segmentation(regions: Regions, source: Source, kind: SegmentationKind) -> Any:
    import highdicom

    model = source.made.model
    numbers = np.ascontiguousarray(regions.array.transpose(2, 1, 0))
    dataset = highdicom.seg.Segmentation(
        source_images=source.made.plain_headers,
        pixel_array=numbers,
        segmentation_type=kind,
        segment_descriptions=[_description(region, source) for region in regions.regions],
        series_instance_uid=source.uid("segmentation series", regions.content, kind),
        series_number=SERIES_NUMBER,
        sop_instance_uid=segmentation_uid(regions, source, kind),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=model.name[:64],
        software_versions=model.medseg_version,
        device_serial_number=model.sha256[:16] or "0",
        content_description=f"Segmentation by a model{', corrected by a reader' if source.made.corrected_by else ''}",
        content_creator_name=person_name(source.made.corrected_by) if source.made.corrected_by else None,
        content_label="SEGMENTATION",
        **placed(regions.geometry),
        omit_empty_frames=True,
    )
    if kind == "BINARY":
        _mend_bits(dataset)
    identify(dataset, source, model.name)
    settle_dimensions(dataset)
    return dataset


def _mend_bits(dataset: Any) -> None:
    """Put right what highdicom 0.28 packs wrongly (PS3.5 8.1.1 and 8.2).

    Frames of fewer than eight pixels get a byte each, where bits go on across frames; and the byte that makes the
    length even is a letter, not zero.
    """
    frames, size = int(dataset.NumberOfFrames), dataset.Rows * dataset.Columns
    packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    if size < 8:
        bits = np.unpackbits(packed[:frames].reshape(frames, 1), axis=1, count=size, bitorder="little")
        packed = np.packbits(bits.ravel(), bitorder="little")
    data = packed[: (frames * size + 7) // 8].tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)


def placed(geometry: Any) -> dict[str, Any]:
    """Where the planes k = 0, 1, 2 ... of a grid lie, as highdicom's multi-frame objects take it."""
    import highdicom

    patient = highdicom.CoordinateSystemNames.PATIENT
    directions = ras_to_lps(geometry.directions.T)
    normal = np.cross(geometry.directions[:, 0], geometry.directions[:, 1])
    slice_mm = _short(abs(float(geometry.affine[:3, 2] @ normal)))
    positions = ras_to_lps([geometry.world((0, 0, k)) for k in range(geometry.shape[2])])
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=[_short(geometry.spacing_mm[1]), _short(geometry.spacing_mm[0])],
            slice_thickness=slice_mm,
            spacing_between_slices=slice_mm,
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence(patient, [_short(v) for v in directions[:2].ravel()]),
        "plane_positions": [highdicom.PlanePositionSequence(patient, [_short(v) for v in at]) for at in positions],
    }


def settle_dimensions(dataset: Any) -> None:
    """Give the dimensions of a multi-frame object a UID that follows from the object's own."""
    organization = uid_from("dimensions", dataset.SOPInstanceUID)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _description(region: Region, source: Source) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    model, label, made_by = source.made.model, region.label, highdicom.seg.SegmentAlgorithmTypeValues
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=model.medseg_version,
        source="medseg",
        parameters={"model sha256": model.sha256},
    )
    described = highdicom.seg.SegmentDescription(
        segment_number=region.number,
        segment_label=region.name,
        segmented_property_category=concept(label.category),
        segmented_property_type=concept(label.code),
        algorithm_type=made_by.SEMIAUTOMATIC if source.made.corrected_by else made_by.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(region, source),
        tracking_id=tracking_identifier(region),
        display_color=highdicom.color.CIELabColor.from_rgb(*label.colour),
    )
    if label.modifier is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            code_item(label.modifier)
        ]
    return described


def tracking_identifier(region: Region) -> str:
    """The name by which one region is known in every object."""
    return f"medseg {region.name}"[:64]


def concept(code: Code) -> Any:
    """A code as highdicom takes it."""
    import highdicom

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _short(value: float) -> float:
    return float(decimal(value))
