"""write_parametric_map: a number at every voxel (a probability, an uncertainty) as a DICOM parametric map (A.75)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.labels import Code
from medseg.core.volume import Volume
from medseg.exchange.dicom.elements import items, lenient, number, text
from medseg.exchange.dicom.patient_axes import lps_to_ras
from medseg.exchange.dicom.reading.image_file import image_file
from medseg.exchange.dicom.writing.read_back import PLACE_TOLERANCE, deliver, read_written, undelivered
from medseg.exchange.dicom.writing.segmentation import concept, placed, settle_dimensions
from medseg.exchange.dicom.writing.source import Made, Source, copy_body_part, identify, open_source
from medseg.exchange.scan import volume_sha256

SERIES_NUMBER = 903


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the numbers of a map are: a name of at most 16 characters, a code, a UCUM unit, and their range."""

    name: str
    code: Code
    unit: Code
    low: float
    high: float


PROBABILITY = Quantity(
    "Probability",
    Code(value="122157", scheme="DCM", meaning="Probability"),
    Code(value="1", scheme="UCUM", meaning="no units"),
    0.0,
    1.0,
)
ENTROPY = Quantity(
    "Uncertainty",
    Code(value="ENTROPY", scheme="99MEDSEG", meaning="Entropy of the voxel probability"),
    Code(value="bit", scheme="UCUM", meaning="bit"),
    0.0,
    1.0,
)


def write_parametric_map(volume: Volume, quantity: Quantity, path: Path, made: Made) -> None:
    """A parametric map of float32 on the volume's grid, each slice a frame; read back before it appears.

    Raises InputError for numbers outside the quantity's range, images of another frame of reference, or a file that
    does not read back the same.
    """
    array = np.asarray(volume.array, dtype=np.float32)
    if not np.isfinite(array).all() or array.min() < quantity.low or array.max() > quantity.high:
        raise InputError(
            f"a map of {quantity.name.lower()} holds numbers from {quantity.low:g} to {quantity.high:g}; "
            f"got {float(array.min()):g} to {float(array.max()):g}"
        )
    values = Volume(array, volume.geometry)
    with lenient():
        source = open_source(made, volume.geometry)
        dataset = _map(values, quantity, source)
        deliver(dataset, path, source, lambda file: require_same_map(values, quantity, file))


def require_same_map(volume: Volume, quantity: Quantity, path: Path) -> None:
    """Refuse a written map whose frames, placed by their own headers, are not the volume's slices."""
    written = read_written(path)
    file = image_file(path, written)
    if file.problem:
        raise undelivered(file.problem)
    mapping = _mapping(written)
    said = (number(mapping, "RealWorldValueSlope", "map"), number(mapping, "RealWorldValueIntercept", "map"))
    unit = text((items(mapping, "MeasurementUnitsCodeSequence") or [mapping])[0], "CodeValue")
    if said != (1.0, 0.0) or unit != quantity.unit.value:
        raise undelivered(f"its values are said to be {said[0]} x + {said[1]} in {unit!r}")
    columns, rows, count = volume.geometry.shape
    planes = np.frombuffer(written.FloatPixelData, dtype="<f4")
    if (file.rows, file.columns, len(file.frames)) != (rows, columns, count) or planes.size != volume.array.size:
        raise undelivered(f"it has {len(file.frames)} frames of {file.columns} x {file.rows}")
    array: NDArray[np.float32] = np.full(volume.array.shape, np.nan, dtype=np.float32)
    for frame, plane in zip(file.frames, planes.reshape(count, rows, columns), strict=True):
        at = frame.plane
        step = at.row * at.column_spacing_mm + at.column * at.row_spacing_mm
        index = volume.geometry.index(lps_to_ras([at.position, at.position + step]))
        k = round(float(index[0][2]))
        if np.abs(index - ((0, 0, k), (1, 1, k))).max() > PLACE_TOLERANCE or not 0 <= k < count:
            raise undelivered(f"{frame.name} lies off the grid, at index {np.round(index[0], 3).tolist()}")
        array[:, :, k] = plane.T
    if not np.array_equal(array, volume.array):
        raise undelivered(f"it differs from the map in {int((array != volume.array).sum())} voxels")


def _map(volume: Volume, quantity: Quantity, source: Source) -> Any:
    import highdicom

    model = source.made.model
    content = volume_sha256(volume)
    planes = np.ascontiguousarray(volume.array.transpose(2, 1, 0))
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=quantity.name,
        lut_explanation=quantity.code.meaning,
        unit=concept(quantity.unit),
        value_range=(quantity.low, quantity.high),
        intercept=0.0,
        slope=1.0,
        quantity_definition=concept(quantity.code),
    )
    dataset = highdicom.pm.ParametricMap(
        source_images=source.made.plain_headers,
        pixel_array=planes,
        series_instance_uid=source.uid("map series", quantity.name, content),
        series_number=SERIES_NUMBER,
        sop_instance_uid=source.uid("map", quantity.name, content),
        instance_number=1,
        manufacturer="medseg",
        manufacturer_model_name=model.name[:64],
        software_versions=model.medseg_version,
        device_serial_number=model.sha256[:16] or "0",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=(quantity.low + quantity.high) / 2,
        window_width=quantity.high - quantity.low,
        content_label=quantity.name.upper(),
        content_description=quantity.code.meaning,
        **placed(volume.geometry),
    )
    copy_body_part(dataset, source)
    identify(dataset, source, f"{model.name}, {quantity.name.lower()}")
    settle_dimensions(dataset)
    return dataset


def _mapping(written: Any) -> Any:
    shared = items(written, "SharedFunctionalGroupsSequence")
    groups = [*shared, *items(written, "PerFrameFunctionalGroupsSequence")[:1]]
    for group in groups:
        found = items(group, "RealWorldValueMappingSequence")
        if found:
            return found[0]
    raise undelivered("it does not say what its values mean")
