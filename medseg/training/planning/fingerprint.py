"""What a data set is like, in numbers: the only thing the planning rules look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, computed_field

from medseg.core.errors import InputError
from medseg.core.geometry import Shape, Spacing
from medseg.core.label_map import LabelMap
from medseg.core.study import Case
from medseg.core.task import Task
from medseg.core.volume import Unit
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel
from medseg.training.planning.label_facts import NOTHING, LabelFacts, label_facts

SAMPLES_PER_CASE = 20_000
"""Foreground voxels taken from each case for the intensity statistics: every case speaks with the same weight."""

BYTES_PER_IMAGE_VOXEL, BYTES_PER_CLASS_VOXEL = 4, 1
"""Of a prepared case: float32 for each channel, uint8 for the classes."""

Progress = Callable[[int, int], None]


class CaseFacts(BaseModel):
    """One case, its axes turned towards RAS: voxels, spacing, and what each label of the task is like in it.

    `foreground_box` is the first voxel of any label and the first beyond the last, along each axis; None without any.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # what is computed is written, and not read back

    name: str
    subject: str
    shape: Shape
    spacing_mm: Spacing
    foreground_box: tuple[Shape, Shape] | None
    labels: tuple[LabelFacts, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def anisotropy(self) -> float:
        """The coarsest spacing over the finest: 1 for cubic voxels."""
        return max(self.spacing_mm) / min(self.spacing_mm)

    @property
    def label_volume_ml(self) -> tuple[float, ...]:
        """The volume of each label."""
        return tuple(label.volume_ml for label in self.labels)

    def shape_at(self, spacing_mm: Spacing) -> Shape:
        """Its voxels along each axis, were it at that spacing."""
        i, j, k = (
            max(1, round(n * own / wanted))
            for n, own, wanted in zip(self.shape, self.spacing_mm, spacing_mm, strict=True)
        )
        return i, j, k


class ChannelFacts(BaseModel):
    """Intensities of one channel inside the labels, over all cases; in the unit of the scans."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: Unit
    mean: float
    sd: float
    percentile_00_5: float
    percentile_99_5: float


class Fingerprint(BaseModel):
    """All cases and channels of a training set."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cases: tuple[CaseFacts, ...]
    channels: tuple[ChannelFacts, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_spacing_mm(self) -> Spacing:
        """The median over the cases along each axis."""
        i, j, k = np.median([case.spacing_mm for case in self.cases], axis=0)
        return float(i), float(j), float(k)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_anisotropy(self) -> float:
        """The median over the cases of the coarsest spacing over the finest."""
        return float(np.median([case.anisotropy for case in self.cases]))

    @property
    def subject_count(self) -> int:
        """Patients, of whom there may be several cases."""
        return len({case.subject for case in self.cases})

    def median_shape(self, spacing_mm: Spacing) -> Shape:
        """The median number of voxels along each axis, were every case at that spacing."""
        shapes = [np.asarray(case.shape) * np.asarray(case.spacing_mm) / np.asarray(spacing_mm) for case in self.cases]
        i, j, k = np.median(shapes, axis=0)
        return max(1, round(i)), max(1, round(j)), max(1, round(k))

    def prepared_bytes(self, spacing_mm: Spacing) -> int:
        """Bytes of all cases as the network sees them, were every case at that spacing."""
        voxels = sum(math.prod(case.shape_at(spacing_mm)) for case in self.cases)
        return voxels * (BYTES_PER_IMAGE_VOXEL * len(self.channels) + BYTES_PER_CLASS_VOXEL)

    def facts_of_label(self, number: int) -> tuple[LabelFacts, ...]:
        """What the task's label at that place, counted from 0, is like in each case that has any of it."""
        return tuple(case.labels[number] for case in self.cases if case.labels[number].component_count)


def take_fingerprint(cases: Sequence[Case], task: Task, progress: Progress | None = None) -> Fingerprint:
    """The fingerprint of cases with reference masks.

    Raises InputError when there is no case, one has no mask, or no case has any foreground.
    """
    if not cases:
        raise InputError(
            "there are no cases to plan from: the manifest's training part is empty. Training needs cases of two "
            "subjects at least, one of them held out."
        )
    facts: list[CaseFacts] = []
    samples: list[list[NDArray[np.float32]]] = [[] for _ in task.channels]
    units: list[set[Unit]] = [set() for _ in task.channels]
    for done, case in enumerate(cases, start=1):
        facts.append(_examine(case, task, samples, units))
        if progress is not None:
            progress(done, len(cases))
    channels = [
        _channel_facts(channel.name, drawn, unit)
        for channel, drawn, unit in zip(task.channels, samples, units, strict=True)
    ]
    return Fingerprint(cases=tuple(facts), channels=tuple(channels))


def _examine(case: Case, task: Task, samples: list[list[NDArray[np.float32]]], units: list[set[Unit]]) -> CaseFacts:
    if case.label is None:
        raise InputError(f"case {case.name} has no reference mask; only cases with one can be planned from")
    label_map = read_label_map(case.label, task.label_schema).reoriented("RAS")
    box = _box(label_map)
    foreground = np.flatnonzero((label_map.array > 0) & label_map.known)
    chosen = foreground[np.linspace(0, len(foreground) - 1, min(len(foreground), SAMPLES_PER_CASE)).round().astype(int)]
    for index, channel in enumerate(task.channels):
        volume = read_channel(case.channels[channel.name], channel).volume.reoriented("RAS")
        volume.geometry.require_same(label_map.geometry, f"image and mask of case {case.name}")
        samples[index].append(volume.array.reshape(-1)[chosen].astype(np.float32))
        units[index].add(volume.unit)
    shape, spacing_mm = label_map.geometry.shape, label_map.geometry.spacing_mm
    inside = label_map.array if box is None else label_map.array[tuple(map(slice, *box))]
    return CaseFacts(
        name=case.name,
        subject=case.subject,
        shape=shape,
        spacing_mm=spacing_mm,
        foreground_box=box,
        labels=tuple(
            NOTHING if box is None else label_facts(inside == label.index, spacing_mm) for label in task.labels
        ),
    )


def _box(label_map: LabelMap) -> tuple[Shape, Shape] | None:
    """The first voxel of any label along each axis, and the first beyond the last."""
    sides = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(label_map.array.any(axis=others))
        if not len(occupied):
            return None
        sides.append((int(occupied[0]), int(occupied[-1]) + 1))
    (i0, i1), (j0, j1), (k0, k1) = sides
    return (i0, j0, k0), (i1, j1, k1)


def _channel_facts(name: str, samples: list[NDArray[np.float32]], units: set[Unit]) -> ChannelFacts:
    if len(units) > 1:
        raise InputError(f"channel {name} is in {' and '.join(sorted(units))}; bring all scans to one unit")
    values = np.concatenate(samples)
    if not len(values):
        raise InputError(
            "no case has a single labelled voxel; there is nothing to learn. Do the masks belong to these images, and "
            "do their values mean this task's labels?"
        )
    low, high = np.percentile(values, (0.5, 99.5))
    return ChannelFacts(
        name=name,
        unit=next(iter(units)),
        mean=float(values.mean()),
        sd=float(values.std()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )
