"""What segmenting a scan will take, by formula: the windows are counted, and what is held is added up."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from medseg.core.geometry import Geometry
from medseg.imaging.preparing.planes import PART_VOXELS
from medseg.imaging.preparing.restore import MOST_PLANES
from medseg.models.inference.streaming import Sweep, plan_sweep
from medseg.models.spec import ModelSpec

FLOAT_BYTES = 4

WAITING_PLANES = 3 * MOST_PLANES + 2
"""Planes of scores that wait for others while labels are restored: those kept, those new, and a copy of the first."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured before: seconds and growth of memory in MB for one window, seconds and memory after reading."""

    window_s: float
    window_mb: float
    read_s: float
    resident_mb: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Windows that the network will see, seconds to read and segment, and the peak of resident memory in MB.

    `is_whole` says that a refinement needs all scores in memory: the peak then grows with classes times voxels.
    """

    windows: int
    seconds: float
    peak_memory_mb: float
    is_whole: bool


def forecast_for(spec: ModelSpec, scan: Geometry, probe: Probe) -> Forecast:
    """The forecast for a scan on a grid. Raises InputError where the scan cannot be prepared on the model's.

    The seconds are an upper estimate where windows are air, which the network sees once. Findings are measured after
    the scores are gone, and need more than those only where one of them fills much of a large scan.
    """
    windows = window_count(spec, scan)
    return Forecast(
        windows=windows,
        seconds=probe.read_s + windows * probe.window_s,
        peak_memory_mb=probe.resident_mb + probe.window_mb + held_bytes(spec, scan) / 1e6,
        is_whole=bool(spec.refinement),
    )


def window_count(spec: ModelSpec, scan: Geometry) -> int:
    """How many windows cover a scan on a grid. Raises InputError where it cannot be prepared on the model's."""
    return plan_sweep(spec.preparation.geometry(scan).shape, spec.window).window_count


def held_bytes(spec: ModelSpec, scan: Geometry) -> int:
    """What is held beside scan and network while a scan on a grid is segmented, its mask included."""
    sweep = plan_sweep(spec.preparation.geometry(scan).shape, spec.window)
    held = whole_bytes(spec, sweep) if spec.refinement else streamed_bytes(spec, sweep)
    return held + prod(scan.shape) * (1 if max(spec.task.label_schema.indices) <= 255 else 2)


def streamed_bytes(spec: ModelSpec, sweep: Sweep) -> int:
    """What is held beside scan, mask and network while a scan is segmented plane by plane."""
    plane = sweep.padded[1] * sweep.padded[2]
    scores = spec.class_count * plane * sweep.score_type.itemsize * (sweep.patch[0] + WAITING_PLANES)
    # The planes that windows see are held twice for a moment, when new ones are joined to them.
    images = 2 * len(spec.task.channels) * plane * sweep.patch[0] * FLOAT_BYTES
    shares = plane * sweep.patch[0] * FLOAT_BYTES
    remembered = spec.class_count * prod(sweep.patch) * FLOAT_BYTES if spec.window.reuse_constant else 0
    return scores + images + shares + remembered + 2 * PART_VOXELS * FLOAT_BYTES


def whole_bytes(spec: ModelSpec, sweep: Sweep) -> int:
    """What is held where all scores lie in memory: a copy of them for what goes into a refinement and what comes out.

    The first scores stay until the last refinement is done. What a conditional random field needs for itself comes on
    top.
    """
    voxels = prod(sweep.padded)
    copies = 1 + min(len(spec.refinement), 2)
    return voxels * FLOAT_BYTES * (copies * spec.class_count + 2 * len(spec.task.channels) + 1)
