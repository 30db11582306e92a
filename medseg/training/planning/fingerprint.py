"""What a data set is like, in numbers: the only thing the planning rules look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from medseg.core.errors import InputError
from medseg.core.study import Case
from medseg.core.task import Task
from medseg.core.volume import Unit
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel

SAMPLES_PER_CASE = 20_000
"""Foreground voxels taken from each case for the intensity statistics: every case speaks with the same weight."""

Progress = Callable[[int, int], None]


class CaseFacts(BaseModel):
    """One case, its axes turned towards RAS: voxels, spacing, and the volume of each label in ml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    label_volume_ml: tuple[float, ...]


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

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: tuple[CaseFacts, ...]
    channels: tuple[ChannelFacts, ...]

    @property
    def median_spacing_mm(self) -> tuple[float, float, float]:
        """The median over the cases along each axis."""
        i, j, k = np.median([case.spacing_mm for case in self.cases], axis=0)
        return float(i), float(j), float(k)

    def median_shape(self, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        """The median number of voxels along each axis, were every case at that spacing."""
        shapes = [np.asarray(case.shape) * np.asarray(case.spacing_mm) / np.asarray(spacing_mm) for case in self.cases]
        i, j, k = np.median(shapes, axis=0)
        return max(1, round(i)), max(1, round(j)), max(1, round(k))


def take_fingerprint(cases: Sequence[Case], task: Task, progress: Progress | None = None) -> Fingerprint:
    """The fingerprint of cases with reference masks.

    Raises InputError when there is no case, one has no mask, or no case has any foreground.
    """
    if not cases:
        raise InputError("there are no cases to plan from: the manifest's training part is empty")
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
    foreground = np.flatnonzero((label_map.array > 0) & label_map.known)
    chosen = foreground[np.linspace(0, len(foreground) - 1, min(len(foreground), SAMPLES_PER_CASE)).round().astype(int)]
    for index, channel in enumerate(task.channels):
        volume = read_channel(case.channels[channel.name], channel).volume.reoriented("RAS")
        volume.geometry.require_same(label_map.geometry, f"image and mask of case {case.name}")
        samples[index].append(volume.array.reshape(-1)[chosen].astype(np.float32))
        units[index].add(volume.unit)
    volumes = [
        float(np.count_nonzero(label_map.mask(label.index))) * label_map.geometry.voxel_volume_ml
        for label in task.labels
    ]
    return CaseFacts(
        name=case.name,
        shape=label_map.geometry.shape,
        spacing_mm=label_map.geometry.spacing_mm,
        label_volume_ml=tuple(volumes),
    )


def _channel_facts(name: str, samples: list[NDArray[np.float32]], units: set[Unit]) -> ChannelFacts:
    if len(units) > 1:
        raise InputError(f"channel {name} is in {' and '.join(sorted(units))}; bring all scans to one unit")
    values = np.concatenate(samples)
    if not len(values):
        raise InputError("no case has a single labelled voxel; there is nothing to learn")
    low, high = np.percentile(values, (0.5, 99.5))
    return ChannelFacts(
        name=name,
        unit=next(iter(units)),
        mean=float(values.mean()),
        sd=float(values.std()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )
