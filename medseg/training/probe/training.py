"""A few steps of a planned training as it will be run: its own loop, on some of its own cases."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medseg.core.errors import PlanError
from medseg.core.geometry import Shape
from medseg.core.study import Case
from medseg.training.cases import PreparedCase, prepare_cases
from medseg.training.checkpoint import EpochRecord
from medseg.training.distributed import Team
from medseg.training.planning.plan import Plan
from medseg.training.probe.clock import StepClock
from medseg.training.probe.forecast import TrainingProbe
from medseg.training.probe.memory import MemoryWatch
from medseg.training.run_log import RunLog
from medseg.training.tracking.tensorboard import TensorBoardTracker
from medseg.training.train import train

STEPS_AN_EPOCH = 4
"""Short epochs, so that what stands between two of them is also seen."""

ENOUGH_S, ENOUGH_STEPS, FEWEST_STEPS = 5.0, 12, 4
"""A trial ends after so many seconds, and so many steps; slow steps are tried at least so often."""

LONGEST_S = 40.0


@dataclass(frozen=True, slots=True)
class TrainingTrial:
    """What is to be tried: the plan on these cases, prepared in a folder, on a device with so many threads."""

    plan: Plan
    cases: tuple[Case, ...]
    prepared: Path
    device: str
    threads: int


class _Enough(Exception):  # noqa: N818 - not an error
    """Ends a trial."""


class _Observer:
    """Times the steps and ends the training when it has seen enough of them."""

    def __init__(self, log: RunLog) -> None:
        self.clock = StepClock()
        self._log = log
        self._begin = time.monotonic()

    def step_ended(self, fraction: float, loss: float) -> None:  # noqa: ARG002 - the names are Observer's
        self.clock.step_ended()
        spent_s, steps = time.monotonic() - self._begin, self.clock.counted_steps
        is_enough = spent_s > ENOUGH_S and steps >= ENOUGH_STEPS
        if self.clock.epochs and (is_enough or (spent_s > LONGEST_S and steps >= FEWEST_STEPS)):
            raise _Enough

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None:
        self._log.write(records)
        self.clock.epoch_ended()


def try_training(trial: TrainingTrial) -> TrainingProbe:
    """What preparing the cases and some training steps took; run it in a process of its own, whose peak is then clean.

    Raises PlanError where memory runs out or the loss is no number, InputError where a case cannot be used.
    """
    torch.set_num_threads(trial.threads)
    device = torch.device(trial.device)
    model = trial.plan.model
    watch = MemoryWatch(torch.device("cpu"))
    begin = time.monotonic()
    cases = prepare_cases(trial.cases, model.task, model.preparation, trial.prepared)
    preparing_s, preparing_peak_mb = time.monotonic() - begin, watch.peak_mb
    watch = MemoryWatch(device)
    spec = trial.plan.training.model_copy(
        update={"minutes": None, "epochs": 1_000_000, "steps_per_epoch": STEPS_AN_EPOCH}
    )
    with tempfile.TemporaryDirectory(prefix="medseg-trial-") as folder:
        observer = _Observer(
            RunLog(Path(folder), [label.name for label in model.task.labels], TensorBoardTracker(Path(folder)))
        )
        plan = trial.plan.model_copy(update={"training": spec})
        with suppress(_Enough):
            train(plan, cases, (), Path(folder) / "checkpoint.safetensors", Team(device), observer)
    if observer.clock.step_s is None or observer.clock.step_cpu_s is None:
        raise PlanError("the trial of the plan ended before a step was timed. Plan with --no-forecast.")
    return TrainingProbe(
        step_s=observer.clock.step_s,
        step_cpu_s=observer.clock.step_cpu_s,
        between_epochs_s=observer.clock.between_epochs_s / observer.clock.epochs,
        peak_mb=watch.peak_mb,
        preparing_s=preparing_s,
        preparing_peak_mb=preparing_peak_mb,
        case_count=len(cases),
        held_mb_a_case=float(np.mean([held_bytes(case, model.window.patch) for case in cases])) / 1e6,
    )


def held_bytes(case: PreparedCase, patch: Shape) -> int:
    """What a training holds of a case all the time: where its labels are, and the case itself where it is padded."""
    places = sum(array.nbytes for array in case.places)
    shape = case.classes.shape
    if all(n >= side for n, side in zip(shape, patch, strict=True)):
        return places  # the rest is mapped from disk
    voxels = int(np.prod(np.maximum(shape, patch)))
    return places + voxels * (case.image.itemsize * len(case.image) + case.classes.itemsize)
