"""A coarse model finds where to look, and the fine one looks only there: less time, and nothing found far away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import Channel, Task
from medseg.core.volume import Volume
from medseg.imaging.resample import Box, box_geometry
from medseg.imaging.unnamed_bytes import UnnamedBytes
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.inference.sliding_window import Progress

MARGIN_MM = 20.0
"""How far around what was found the fine model looks, unless another margin is asked for."""


class Cascade:
    """Two models behind the Segmenter protocol: the second sees the box around all that the first finds.

    Where the first finds nothing, so does the second, and the notes of the segmentation say so. A normalisation by the
    scan's own statistics takes those of the box: the fine model should have learned from such boxes.
    """

    def __init__(self, finder: Model, model: Model, device: InferenceDevice, margin_mm: float = MARGIN_MM) -> None:
        """Raises InputError where the finder takes a channel that the model lacks, and as `NetworkSegmenter.on`."""
        self._names = matching_channels(finder.spec.task, model.spec.task, finder.name)
        self._finder_name = f"{finder.name} ({finder.sha256[:12]})"
        self._finder = NetworkSegmenter.on(finder, device)
        self._model = NetworkSegmenter.on(model, device)
        self._schema = model.spec.task.label_schema
        self._margin_mm = margin_mm

    @classmethod
    def of(
        cls, finder: Model | None, model: Model, device: InferenceDevice, margin_mm: float
    ) -> Self | NetworkSegmenter:
        """The cascade, or the model alone where there is no finder."""
        return NetworkSegmenter.on(model, device) if finder is None else cls(finder, model, device, margin_mm)

    def segment(
        self, images: Mapping[str, Volume], progress: Progress | None = None, keep: Keep | None = None
    ) -> Segmentation:
        """The mask of the scan on its own grid, background outside the box; as `NetworkSegmenter.segment` otherwise."""
        begin = time.perf_counter()
        found = self._finder.segment({theirs: images[ours] for theirs, ours in self._names.items()}, progress)
        whole = found.label_map.geometry
        box = box_around(found.label_map, self._margin_mm)
        if box is None:
            mask = LabelMap(np.zeros(whole.shape, np.uint8), whole, self._schema)
            note = f"{self._finder_name} found nothing in this scan, so nothing was looked for"
            return Segmentation(mask, time.perf_counter() - begin, None, (note,))
        inner = self._model.segment({name: _cut(volume, box) for name, volume in images.items()}, progress, keep)
        looked = " x ".join(str(side.stop - side.start) for side in box)
        note = (
            f"looked only within {looked} of {' x '.join(map(str, whole.shape))} voxels, "
            f"{self._margin_mm:g} mm around what {self._finder_name} found"
        )
        probabilities = inner.probabilities
        if probabilities is not None and keep is not None:
            probabilities = _placed_probabilities(probabilities, box, whole, keep)
        mask = _placed(inner.label_map, box, whole)
        return replace(
            inner,
            label_map=mask,
            duration_s=time.perf_counter() - begin,
            probabilities=probabilities,
            notes=(*inner.notes, note),
        )


def matching_channels(finder: Task, task: Task, finder_name: str) -> dict[str, str]:
    """For each channel of the finder's task the task's channel it is given: that of its name, or the one of its kind.

    Raises InputError where there is none, or more than one of the kind.
    """
    return {channel.name: _match(channel, task, finder_name) for channel in finder.channels}


def _match(channel: Channel, task: Task, finder_name: str) -> str:
    alike = [other.name for other in task.channels if other.modality == channel.modality]
    if channel.name in alike:
        return channel.name
    if len(alike) != 1:
        raise InputError(
            f"{finder_name} looks at {channel.name} ({channel.modality}), of which the task {task.name} has "
            f"{len(alike) or 'none'}; take a model of the same images to find the place"
        )
    return alike[0]


def box_around(label_map: LabelMap, margin_mm: float) -> Box | None:
    """The box of all labels of a mask, grown by the margin on every side within the grid; None of an empty mask."""
    sides = []
    for axis, (length, spacing) in enumerate(zip(label_map.geometry.shape, label_map.geometry.spacing_mm, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(label_map.array.any(axis=others))
        if not len(places):
            return None
        margin = int(np.ceil(margin_mm / spacing))
        sides.append(slice(max(0, int(places[0]) - margin), min(length, int(places[-1]) + 1 + margin)))
    i, j, k = sides
    return i, j, k


def _cut(volume: Volume, box: Box) -> Volume:
    return Volume(volume.array[box], box_geometry(volume.geometry, box), volume.unit)


def _placed(part: LabelMap, box: Box, whole: Geometry) -> LabelMap:
    array = np.zeros(whole.shape, part.array.dtype)
    array[box] = part.array
    return LabelMap(array, whole, part.schema)


def _placed_probabilities(part: Probabilities, box: Box, whole: Geometry, keep: Keep) -> Probabilities:
    def placed(one: ProbabilityMap) -> ProbabilityMap:
        kept = UnnamedBytes(whole.shape, keep.folder)
        kept.array[box] = one.array
        kept.rest()
        return ProbabilityMap(kept.array, whole)

    agreement = None if part.agreement is None else placed(part.agreement)
    return Probabilities({name: placed(one) for name, one in part.of_label.items()}, agreement)
