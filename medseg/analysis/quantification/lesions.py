"""Which voxels belong to which finding: one structure as a whole, counted ones piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Label
from medseg.core.task import Task
from medseg.imaging.regions.components import Box, Component, connected_components, shifted
from medseg.imaging.regions.split_touching import cut_bridges, split_touching

BRIDGE_VOXELS = 2
"""A bridge of at most this many voxels' width joins lesions by chance, where touching ones are parted at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One finding's voxels, its number within its label, and whether it was parted from a neighbour by rule."""

    label: Label
    number: int
    component: Component
    is_split: bool = False


def find_instances(label_map: LabelMap, task: Task) -> tuple[Instance, ...]:
    """The instances of a mask, in order of the task's labels and then of size.

    An organ or a vessel is one instance, in however many pieces. Of a counted label each connected piece is one that
    has at least `task.min_finding_ml`; touching ones are parted where the task says how. The same mask gives the same
    numbers: largest first, equal ones in order of their first voxel. Labels that are not in the mask have none.
    """
    return tuple(each_instance(label_map, task))


def each_instance(label_map: LabelMap, task: Task) -> Iterator[Instance]:
    """What `find_instances` finds, one label's at a time: many large organs need not be in memory together."""
    boxes = ndimage.find_objects(label_map.array)
    for label in task.labels:
        box = boxes[label.index - 1] if label.index <= len(boxes) else None
        if box is not None:
            yield from _instances(label_map, label, box, task)


def _instances(label_map: LabelMap, label: Label, box: Box, task: Task) -> list[Instance]:
    mask = np.asarray(label_map.array[box] == label.index)
    if not label.is_counted:
        return [Instance(label, 1, Component(mask, box, int(np.count_nonzero(mask))))]
    # The small allowance keeps a lesion of exactly the smallest volume, which the division may put a hair above.
    minimum_voxels = max(1, math.ceil(task.min_finding_ml / label_map.geometry.voxel_volume_ml - 1e-6))
    parts: list[tuple[Component, bool]] = []
    for piece in connected_components(mask, minimum_voxels=minimum_voxels):
        placed = Component(piece.mask, shifted(piece.box, box), piece.voxel_count)
        split = _parts(placed, label_map.geometry, task.split_depth_mm, minimum_voxels)
        parts.extend((part, len(split) > 1) for part in split)
    parts.sort(key=lambda part: -part[0].voxel_count)
    return [Instance(label, number, part, is_split) for number, (part, is_split) in enumerate(parts, start=1)]


def _parts(piece: Component, geometry: Geometry, depth_mm: float | None, minimum_voxels: int) -> tuple[Component, ...]:
    """The lesions that one connected piece holds."""
    if depth_mm is None:
        return (piece,)
    spacing_mm = geometry.spacing_mm
    width_mm = BRIDGE_VOXELS * min(spacing_mm)
    return tuple(
        part
        for parted in cut_bridges(piece, spacing_mm, width_mm=width_mm, minimum_voxels=minimum_voxels)
        for part in split_touching(parted, spacing_mm, depth_mm=depth_mm, minimum_voxels=minimum_voxels)
    )
