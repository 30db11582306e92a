"""forecast.json of a run folder: what the training was to take, beside what it took."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.core.atomic import whole_file
from medseg.training.probe.clock import StepClock
from medseg.training.probe.forecast import Forecast
from medseg.training.probe.memory import MemoryWatch

RECORD = "forecast.json"


class Measured(BaseModel):
    """What a training took: seconds, and MB at the peak, both of the last process where it was resumed.

    `step_s` is None where that process had too few steps, `peak_mb` where the system does not tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    step_s: float | None
    step_cpu_s: float | None
    steps: int
    total_s: float
    peak_mb: float | None


class RunRecord(BaseModel):
    """The forecast, where one was made, and what happened, once it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forecast: Forecast | None = None
    measured: Measured | None = None


class RunWatch:
    """Watches a training from its making on; its clock must be told of each step and epoch."""

    def __init__(self, device: torch.device) -> None:
        self.clock = StepClock()
        self._device = device
        self._memory = MemoryWatch(device)
        self._begin = time.monotonic()

    def write(self, run_folder: Path) -> None:
        """Put what was measured beside the forecast; nothing where the training had ended before."""
        if not self.clock.steps:
            return
        measured = Measured(
            device=self._device.type,
            step_s=self.clock.step_s,
            step_cpu_s=self.clock.step_cpu_s,
            steps=self.clock.steps,
            total_s=time.monotonic() - self._begin,
            peak_mb=self._memory.peak_mb,
        )
        write_record(run_folder, read_record(run_folder).model_copy(update={"measured": measured}))


def read_record(run_folder: Path) -> RunRecord:
    """The record of a run folder; an empty one where there is none that can be read."""
    try:
        return RunRecord.model_validate_json((run_folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError, UnicodeDecodeError):
        return RunRecord()


def write_record(run_folder: Path, record: RunRecord) -> None:
    """Write the record, whole or not at all."""
    with whole_file(run_folder / RECORD) as unfinished:
        unfinished.write_text(record.model_dump_json(indent=1), encoding="utf-8")
