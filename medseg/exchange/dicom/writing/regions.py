"""Regions: what a mask is cut into for objects that name their parts: a label as a whole, or finding by finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.errors import InputError
from medseg.core.findings import Finding
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Label
from medseg.core.volume import Volume
from medseg.exchange.scan import volume_sha256

NOT_COUNTED = "(not counted)"
"""What the name of a region ends in that holds the pieces of a counted label which are no findings: too small."""

_LONGEST_NAME = 64

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Region:
    """One part of a mask: its number in the objects (1, 2, 3 ...), its label, and the finding that it is, if any."""

    number: int
    label: Label
    name: str
    finding: Finding | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The parts of a mask; `array` (i, j, k) holds the number of the region of each voxel, 0 for none.

    `boxes` says where each region lies, in their order; None where one has no voxel.
    """

    array: NDArray[np.unsignedinteger[Any]]
    geometry: Geometry
    regions: tuple[Region, ...]
    boxes: tuple[Box | None, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", tuple(ndimage.find_objects(self.array, max_label=len(self.regions))))

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Where the region of that number is, as a boolean array (i, j, k)."""
        return np.asarray(self.array == number)

    def slices(self, number: int) -> tuple[int, ...]:
        """The slice numbers k on which the region of that number lies."""
        box = self.boxes[number - 1]
        if box is None:
            return ()
        inside = (self.array[box] == number).any(axis=(0, 1))
        return tuple((box[2].start + np.flatnonzero(inside)).tolist())

    @property
    def content(self) -> str:
        """A hash of places and names: the same for the same regions."""
        names = "\x1f".join(f"{region.number} {region.name} {region.label.code.value}" for region in self.regions)
        return volume_sha256(Volume(self.array, self.geometry)) + names

    def of(self, finding: Finding) -> Region:
        """The region of a finding. Raises InputError where there is none."""
        for region in self.regions:
            if region.finding is not None and _key(region.finding) == _key(finding):
                return region
        raise InputError(f"the mask has no region of {finding.label.name} {finding.instance}. Segment the scan again.")


def regions_of_labels(label_map: LabelMap) -> Regions:
    """Each label that is present as one region, in order of the schema."""
    present = [label for label in label_map.schema.labels if label_map.mask(label.index).any()]
    table = np.zeros(max(label_map.schema.indices) + 1, dtype=np.uint8 if len(present) <= 255 else np.uint16)
    for number, label in enumerate(present, start=1):
        table[label.index] = number
    regions = tuple(Region(n, label, label.name[:_LONGEST_NAME]) for n, label in enumerate(present, start=1))
    return Regions(table[label_map.array], label_map.geometry, regions)


def regions_of_findings(
    label_map: LabelMap, findings: Sequence[Finding], numbers: NDArray[np.unsignedinteger[Any]]
) -> Regions:
    """Each finding as one region, then what is left of each label: pieces too small to be findings.

    `numbers` (i, j, k) holds 1 where the first finding is, 2 where the second is, and so on. Together the regions are
    the mask. Raises InputError where findings and mask do not belong together.
    """
    array = np.array(numbers, dtype=np.uint16)
    boxes = ndimage.find_objects(array)
    for number, finding in enumerate(findings, start=1):
        box = boxes[number - 1] if number <= len(boxes) else None
        is_there = box is not None and array[finding.index] == number
        if not is_there or (label_map.array[box][array[box] == number] != finding.label.index).any():
            raise InputError(
                f"the report's {finding.label.name} {finding.instance} is not where the mask has it: mask and report "
                "do not belong together. Segment the scan again."
            )
    regions = [Region(n, finding.label, _name(finding), finding) for n, finding in enumerate(findings, start=1)]
    for label in label_map.schema.labels:
        rest = label_map.mask(label.index) & (array == 0)
        if rest.any():
            number = len(regions) + 1
            array[rest] = number
            whole = not any(region.label == label for region in regions)
            name = label.name if whole and not label.is_counted else f"{label.name[: _LONGEST_NAME - 14]} {NOT_COUNTED}"
            regions.append(Region(number, label, name[:_LONGEST_NAME]))
    return Regions(array.astype(np.uint8) if len(regions) <= 255 else array, label_map.geometry, tuple(regions))


def _name(finding: Finding) -> str:
    if not finding.label.is_counted:
        return finding.label.name[:_LONGEST_NAME]
    return f"{finding.label.name[: _LONGEST_NAME - 7]} {finding.instance}"


def _key(finding: Finding) -> tuple[int, int]:
    return finding.label.index, finding.instance
