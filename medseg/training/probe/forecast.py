"""From what a trial took to what the whole will take: named formulas of time and memory.

Memory is that of the process where the network runs on the CPU, and the GPU's where it runs there.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from medseg.models.spec import to_toml
from medseg.training.looks import MOST_CASES
from medseg.training.planning.fingerprint import Fingerprint
from medseg.training.planning.plan import Plan, TrainingSpec


class TrainingProbe(BaseModel):
    """What a trial of a training took: seconds a step, between two epochs, and to prepare the cases; peaks in MB.

    `step_cpu_s` are the seconds that cores worked in a step; on a busy machine a step takes longer than that.
    `held_mb_a_case` is what the training holds of each case all the time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_s: float
    step_cpu_s: float
    between_epochs_s: float
    peak_mb: float | None
    preparing_s: float
    preparing_peak_mb: float | None
    case_count: int
    held_mb_a_case: float


class InferenceProbe(BaseModel):
    """What trials of an inference took.

    The first, on about a window, `cold_s`, and once more `warm_s`; then `duration_s` on the largest part that there was
    time for, `windows` of `window_s` each (None where there is but one), and `held_mb` held by the formula of
    `models.forecast`. `scan_windows`, `scan_voxels` and `scan_held_mb` are those of the whole scan; voxels are the
    scan's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading_s: float
    cold_s: float
    warm_s: float
    duration_s: float
    windows: int
    window_s: float | None
    voxels: int
    peak_mb: float | None
    held_mb: float
    scan_windows: int
    scan_voxels: int
    scan_held_mb: float
    scoring_s: float


class Forecast(BaseModel):
    """What a plan will take on a machine: seconds and MB. `total_s` is a training from preparing to scores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan_sha256: str
    device: str
    step_s: float
    step_cpu_s: float
    steps: int
    preparing_s: float
    training_s: float
    scoring_s: float
    total_s: float
    training_peak_mb: float | None
    inference_windows: int
    inference_s: float
    inference_peak_mb: float | None


@dataclass(frozen=True, slots=True)
class DataSize:
    """How much there is: cases to train on and to hold out, and their voxels relative to the case that was tried."""

    training_cases: int
    validation_cases: int
    mean_voxels: float
    """Of a case, in units of the tried one's."""
    largest_voxels: float
    tried_voxels: float
    """Of all cases that were prepared for the trial together."""

    @classmethod
    def of(cls, fingerprint: Fingerprint, validation_cases: int, tried: list[str], scan: str) -> DataSize:
        """From the names of the cases that were prepared for the trial, and of the one that was segmented."""
        voxels = {case.name: math.prod(case.shape) for case in fingerprint.cases}
        unit = voxels[scan]
        return cls(
            training_cases=len(voxels),
            validation_cases=validation_cases,
            mean_voxels=sum(voxels.values()) / len(voxels) / unit,
            largest_voxels=max(voxels.values()) / unit,
            tried_voxels=sum(voxels[name] for name in tried) / unit,
        )


def forecast(plan: Plan, data: DataSize, training: TrainingProbe, inference: InferenceProbe, device: str) -> Forecast:
    """The forecast for a plan from its trials."""
    look_s = min(data.validation_cases, MOST_CASES) * data.mean_voxels * sweep_s(inference)
    steps, training_s = steps_and_time(plan.training, training, look_s)
    preparing_s = preparing_time(data, training)
    scoring_s = scoring_time(data, inference)
    return Forecast(
        plan_sha256=hash_of(plan),
        device=device,
        step_s=training.step_s,
        step_cpu_s=training.step_cpu_s,
        steps=steps,
        preparing_s=preparing_s,
        training_s=training_s,
        scoring_s=scoring_s,
        total_s=preparing_s + training_s + scoring_s,
        training_peak_mb=training_peak(data, training, inference, device),
        inference_windows=inference.scan_windows,
        inference_s=inference_time(inference),
        inference_peak_mb=inference_peak(inference, 1.0),
    )


def hash_of(plan: Plan) -> str:
    """By which a forecast says whose it is; how long the training may last is left out, for nothing else follows."""
    spec = plan.training.model_copy(update={"minutes": None})
    return hashlib.sha256(to_toml(plan.model_copy(update={"training": spec})).encode()).hexdigest()


def steps_and_time(spec: TrainingSpec, probe: TrainingProbe, look_s: float) -> tuple[int, float]:
    """Steps and seconds of a training, epoch after epoch as the loop goes, its looks at validation cases included."""
    clock_s = None if spec.minutes is None else spec.minutes * 60
    total_steps = spec.epochs * spec.steps_per_epoch
    steps, spent_s, looked = 0, 0.0, 0.0
    while True:
        epoch_steps = spec.steps_per_epoch
        if clock_s is not None:  # the step in which the clock runs out is ended, and each epoch has one
            epoch_steps = max(1, min(epoch_steps, math.ceil((clock_s - spent_s) / probe.step_s)))
        steps += epoch_steps
        spent_s += epoch_steps * probe.step_s
        done = steps / total_steps if clock_s is None else spent_s / clock_s
        if done >= 1 or int(done * spec.validation_looks) > int(looked * spec.validation_looks):
            looked = done
            spent_s += look_s
        spent_s += probe.between_epochs_s
        if done >= 1:
            return steps, spent_s


def preparing_time(data: DataSize, probe: TrainingProbe) -> float:
    """Seconds to prepare all cases: as long for each voxel as those of the trial."""
    cases = data.training_cases + data.validation_cases
    return probe.preparing_s * cases * data.mean_voxels / data.tried_voxels


def scoring_time(data: DataSize, probe: InferenceProbe) -> float:
    """Seconds to read, segment and score the held-out cases; only the first inference is cold."""
    warm_s = inference_time(probe) - (probe.cold_s - probe.warm_s)
    scoring_s = probe.scoring_s * probe.scan_voxels / probe.voxels
    return data.validation_cases * data.mean_voxels * (probe.reading_s + warm_s + scoring_s)


def inference_time(probe: InferenceProbe) -> float:
    """Seconds of the first inference of a process on the whole scan.

    What the first one takes more, the scan's windows, and the rest (resampling there and back) by voxels.
    """
    if probe.window_s is None:
        return probe.cold_s
    rest_s = max(0.0, probe.duration_s - probe.windows * probe.window_s)
    return (
        (probe.cold_s - probe.warm_s) + probe.scan_windows * probe.window_s + rest_s * probe.scan_voxels / probe.voxels
    )


def sweep_s(probe: InferenceProbe) -> float:
    """Seconds of the network alone over the whole scan."""
    return probe.warm_s if probe.window_s is None else probe.scan_windows * probe.window_s


def inference_peak(probe: InferenceProbe, size: float) -> float | None:
    """MB at the peak of an inference on a scan `size` times as large as the one tried.

    What was measured, and by formula what the larger scan holds more.
    """
    if probe.peak_mb is None:
        return None
    return probe.peak_mb + max(0.0, probe.scan_held_mb * size - probe.held_mb)


def training_peak(data: DataSize, training: TrainingProbe, inference: InferenceProbe, device: str) -> float | None:
    """MB at the peak of a training: the highest of its steps, preparing the largest case, and segmenting it.

    On the CPU the steps also hold something of each case; the trial held only its own.
    """
    segmenting = inference_peak(inference, data.largest_voxels)
    if training.peak_mb is None or segmenting is None:
        return None
    if device != "cpu":
        return max(training.peak_mb, segmenting)
    steps = training.peak_mb + (data.training_cases - training.case_count) * training.held_mb_a_case
    return max(steps, segmenting, training.preparing_peak_mb or 0.0)
