"""One inference as it will be run, on the whole of a scan or on as much of it as there is time for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch

from medseg import __version__
from medseg.analysis.evaluation.scores import score_case
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry, Shape
from medseg.core.label_map import LabelMap
from medseg.core.study import Case
from medseg.core.volume import Volume
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.forecast import held_bytes, window_count
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of
from medseg.training.probe.forecast import InferenceProbe
from medseg.training.probe.memory import MemoryWatch

LONGEST_S = 15.0
"""A scan that takes longer is tried in part."""

CUTS = 40
"""From one window to the whole scan in so many sizes."""


@dataclass(frozen=True, slots=True)
class InferenceTrial:
    """What is to be tried: a model's spec on one case with a reference mask, on a device with so many threads."""

    spec: ModelSpec
    case: Case
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class _Timed:
    """One inference: its seconds, its windows, the seconds of one, the grid of the scan, and the peak so far."""

    duration_s: float
    windows: int
    window_s: float | None
    grid: Geometry
    peak_mb: float | None

    @property
    def voxels(self) -> int:
        return math.prod(self.grid.shape)


def try_inference(trial: InferenceTrial) -> InferenceProbe:
    """What one inference takes; run it in a process of its own, whose peak is then clean. The weights are random.

    Raises InputError where the case cannot be used.
    """
    torch.set_num_threads(trial.threads)
    device = torch.device(trial.device)
    begin = time.monotonic()
    images, reference = _read(trial)
    reading_s = time.monotonic() - begin
    grid = reference.geometry
    watch = MemoryWatch(device)
    segmenter = NetworkSegmenter(_untrained(trial.spec), device)
    total_windows = window_count(trial.spec, grid)
    smallest = _shape_of_cut(trial.spec, grid, 0.0)
    cold = _timed(segmenter, images, smallest, watch)
    warm = largest = cold
    if cold.windows < total_windows:
        warm = _timed(segmenter, images, smallest, watch)
        most_windows = max(2, int(LONGEST_S / (warm.duration_s / warm.windows)))
        largest = _timed(segmenter, images, _largest_cut(trial.spec, grid, most_windows), watch)
    scoring_s = _score(reference, largest, trial.spec)
    return InferenceProbe(
        reading_s=reading_s,
        cold_s=cold.duration_s,
        warm_s=warm.duration_s,
        duration_s=largest.duration_s,
        windows=largest.windows,
        window_s=largest.window_s,
        voxels=largest.voxels,
        peak_mb=largest.peak_mb,
        held_mb=held_bytes(trial.spec, largest.grid) / 1e6,
        scan_windows=total_windows,
        scan_voxels=math.prod(grid.shape),
        scan_held_mb=held_bytes(trial.spec, grid) / 1e6,
        scoring_s=scoring_s,
    )


def _read(trial: InferenceTrial) -> tuple[dict[str, Volume], LabelMap]:
    task = trial.spec.task
    if trial.case.label is None:
        raise InputError(f"case {trial.case.name} has no reference mask; try the plan on one that has")
    images = {
        channel.name: read_channel(trial.case.channels[channel.name], channel).volume.reoriented("RAS")
        for channel in task.channels
    }
    return images, read_label_map(trial.case.label, task.label_schema).reoriented("RAS")


def _untrained(spec: ModelSpec) -> ModelBundle:
    network = spec.network.build(len(spec.task.channels), spec.class_count)
    provenance = Provenance(
        created=datetime.now(UTC),
        medseg_version=__version__,
        torch_version=torch.__version__,
        machine="",
        dataset="",
        plan_toml="",
        seed=0,
        epochs=0,
        training_s=0.0,
        case_sha256={},
    )
    return ModelBundle("untrained", "", spec, weights_of(network), provenance, None)


def _timed(segmenter: NetworkSegmenter, images: Mapping[str, Volume], shape: Shape, watch: MemoryWatch) -> _Timed:
    """An inference on the middle of the scan, of that shape in its own voxels."""
    ends: list[float] = []
    counts: list[int] = []

    def window_ended(_: int, total: int) -> None:
        ends.append(time.perf_counter())
        counts.append(total)

    cut = {name: _middle(volume, shape) for name, volume in images.items()}
    duration_s = segmenter.segment(cut, window_ended).duration_s
    watch.look()
    return _Timed(
        duration_s=duration_s,
        windows=counts[-1],
        window_s=float(np.diff(ends).mean()) if len(ends) > 1 else None,
        grid=next(iter(cut.values())).geometry,
        peak_mb=watch.peak_mb,
    )


def _shape_of_cut(spec: ModelSpec, grid: Geometry, part: float) -> Shape:
    """A shape in the scan's voxels, from one window (0) to the whole scan (1)."""
    window_mm = np.asarray(spec.window.patch) * np.asarray(spec.preparation.spacing_mm)
    whole = np.asarray(grid.shape)
    smallest = np.minimum(np.maximum(np.floor(window_mm / np.asarray(grid.spacing_mm)), 1), whole)
    i, j, k = np.round(smallest + part * (whole - smallest)).astype(int)
    return int(i), int(j), int(k)


def _largest_cut(spec: ModelSpec, grid: Geometry, most_windows: int) -> Shape:
    """The largest cut of at most so many windows; where each has more, the smallest of several."""
    cuts = [_shape_of_cut(spec, grid, cut / CUTS) for cut in range(1, CUTS + 1)]
    counted = [(window_count(spec, grid.cropped((0, 0, 0), shape)), shape) for shape in cuts]
    fitting = [shape for count, shape in counted if 1 < count <= most_windows]
    several = [(count, shape) for count, shape in counted if count > 1]
    return fitting[-1] if fitting else min(several)[1]


def _middle(volume: Volume, shape: Shape) -> Volume:
    i, j, k = ((n - side) // 2 for n, side in zip(volume.geometry.shape, shape, strict=True))
    box = tuple(slice(first, first + side) for first, side in zip((i, j, k), shape, strict=True))
    return Volume(volume.array[box], volume.geometry.cropped((i, j, k), shape), volume.unit)


def _score(reference: LabelMap, largest: _Timed, spec: ModelSpec) -> float:
    """Seconds to score a mask that is as nearly right as a trained network's, on as much as was tried of the scan.

    That is the reference moved by a voxel: the noise of random weights would have far more surface.
    """
    shape = reference.geometry.shape
    planes = max(1, round(shape[2] * largest.voxels / math.prod(shape)))
    first = (shape[2] - planes) // 2
    grid = reference.geometry.cropped((0, 0, first), (shape[0], shape[1], planes))
    cut = LabelMap(reference.array[:, :, first : first + planes], grid, reference.schema)
    moved = LabelMap(np.roll(cut.array, 1, axis=0), grid, reference.schema)
    begin = time.perf_counter()
    score_case(moved, cut, tolerance_mm=spec.task.surface_tolerance_mm)
    return time.perf_counter() - begin
