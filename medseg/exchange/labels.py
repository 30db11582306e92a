"""read_labels: a mask from any format onto the grid of its image, with what a person should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.exchange.dicom.contents import objects_of
from medseg.exchange.dicom.rtstruct import read_structures
from medseg.exchange.dicom.seg import read_segmentation
from medseg.exchange.read import read_scan
from medseg.imaging.resample import resample_label_map


@dataclass(frozen=True, slots=True)
class Labels:
    """A mask on its image's grid, and warnings."""

    label_map: LabelMap
    warnings: tuple[str, ...] = ()


def read_labels(path: Path, schema: LabelSchema, image: Geometry, *, names: Mapping[str, str] | None = None) -> Labels:
    """The mask in a NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT file (or a folder with one) on the image's grid.

    Segments and structures are matched to labels by name, by code, or by `names` (theirs to ours). A mask on another
    grid is brought onto the image's with a warning that says how far apart they lie. Raises InputError where it cannot
    be read, lies in another frame of reference, or holds what the schema does not name.
    """
    path = Path(path)
    segmentations, structure_sets = objects_of(path, "segmentation"), objects_of(path, "structure set")
    if len(segmentations) + len(structure_sets) > 1:
        listed = ", ".join(file.name for file in (*segmentations, *structure_sets)[:8])
        raise InputError(f"{path} holds several segmentations ({listed}). Give the one that is meant.")
    if segmentations:
        segmented = read_segmentation(segmentations[0])
        return _onto(segmented.label_map(schema, names), image, segmented.warnings, path)
    if structure_sets:
        drawn = read_structures(structure_sets[0]).on(image)
        return Labels(drawn.label_map(schema, names), drawn.warnings)
    scan = read_scan(path)
    try:
        label_map = LabelMap.from_numbers(scan.volume.array, scan.volume.geometry, schema)
    except InputError as error:
        raise InputError(f"{path} is not a mask of this task: {error}") from error
    return _onto(label_map, image, scan.warnings, path)


def _onto(label_map: LabelMap, image: Geometry, warnings: tuple[str, ...], path: Path) -> Labels:
    mine, theirs = label_map.geometry.frame_of_reference, image.frame_of_reference
    if mine and theirs and mine != theirs:
        raise InputError(
            f"{path} was drawn in the frame of reference {mine}, the image lies in {theirs}: they belong to different "
            "positions of the patient. Give the image it was drawn on."
        )
    difference = label_map.geometry.difference(image)
    if difference is None:
        return Labels(LabelMap(label_map.array, image, label_map.schema), warnings)
    moved = resample_label_map(label_map, image)
    said = f"{path.name} lies on another grid than its image and was brought onto it: {difference}"
    return Labels(moved, (*warnings, said))
