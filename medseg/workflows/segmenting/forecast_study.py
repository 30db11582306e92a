"""Say what segmenting a scan will take before it begins: read it, let the network see two windows, add up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from medseg.exchange.scan import Mends
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model
from medseg.models.inference.forecast import Forecast, Probe, forecast_for
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.workflows.peak_memory import peak_memory_mb, reset_peak_memory, resident_memory_mb
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import read_channels

WINDOWS_SEEN = 2
"""Windows that are timed, after a first one that pays for what is loaded or compiled once."""


def forecast_study(
    sources: Mapping[str, Path],
    bundle: Model,
    *,
    mends: Mends | None = None,
    device: InferenceDevice = "auto",
    progress: Progress = silent,
) -> Forecast:
    """What `segment_study` will take for these scans on this machine; nothing is written.

    The scans are read, so that one which cannot be used is refused as it would be. Where the system does not tell a
    process's memory, what the process and a window need is not in the peak. Raises InputError as `segment_study` does.
    """
    begin = time.perf_counter()
    chosen = {channel.name: mends or Mends() for channel in bundle.spec.task.channels}
    scans = read_channels(sources, bundle.spec.task, progress, chosen)
    read_s = time.perf_counter() - begin
    segmenter = NetworkSegmenter.on(bundle, device)
    resident_mb = resident_memory_mb() or 0.0
    reset_peak_memory()
    seconds = [segmenter.segment_one_window() for _ in range(1 + WINDOWS_SEEN)]
    probe = Probe(
        window_s=min(seconds[1:]),
        window_mb=max(0.0, (peak_memory_mb() or 0.0) - resident_mb),
        read_s=read_s,
        resident_mb=resident_mb,
    )
    first = scans[bundle.spec.task.channels[0].name]
    return forecast_for(bundle.spec, first.volume.geometry, probe)
