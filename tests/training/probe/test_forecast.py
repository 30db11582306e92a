"""The formulas from trial to forecast, by numbers whose answer can be worked out by hand; the clock; the memory."""

import json
import os
import subprocess
import sys

import pytest
from made_facts import case_facts, fingerprint_of

from medseg.core.task import load_task
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.training.planning.rules import Budget, make_plan
from medseg.training.probe import forecast as formulas
from medseg.training.probe.clock import StepClock
from medseg.training.probe.forecast import DataSize, InferenceProbe, TrainingProbe
from medseg.training.probe.memory import allocated_bytes

TRAINING = TrainingProbe(
    step_s=2.0,
    step_cpu_s=3.0,
    between_epochs_s=10.0,
    peak_mb=1000.0,
    preparing_s=6.0,
    preparing_peak_mb=400.0,
    case_count=3,
    held_mb_a_case=0.5,
)
INFERENCE = InferenceProbe(
    reading_s=0.5,
    cold_s=3.0,
    warm_s=1.0,
    duration_s=9.0,
    windows=8,
    window_s=1.0,
    voxels=5000,
    peak_mb=340.0,
    held_mb=50.0,
    scan_windows=27,
    scan_voxels=15_000,
    scan_held_mb=150.0,
    scoring_s=0.25,
)
ONE_WINDOW = INFERENCE.model_copy(
    update={"windows": 1, "window_s": None, "scan_windows": 1, "voxels": 1000, "scan_voxels": 1000, "duration_s": 3.0}
)
DATA = DataSize(training_cases=23, validation_cases=4, mean_voxels=1.0, largest_voxels=2.0, tried_voxels=3.0)


def plan(minutes: float | None = None) -> Plan:
    return make_plan(load_task("hippocampus_mr"), fingerprint_of(case_facts()), Budget(minutes=minutes))


def spec(minutes: float | None = None) -> TrainingSpec:
    return TrainingSpec(batch_size=2, steps_per_epoch=20, epochs=3, minutes=minutes)


def test_by_epochs_steps_are_given_and_time_follows() -> None:
    # Three epochs of 20 steps of 2 s, each followed by a look of 4 s and 10 s until the next.
    assert formulas.steps_and_time(spec(), TRAINING, look_s=4.0) == (60, 3 * (40 + 4 + 10))


def test_by_the_clock_time_is_given_and_steps_follow() -> None:
    # Epochs end at 40, 94, 148 and, after 19 steps, 200 s; each is past another sixth of 200 s, and so has a look.
    assert formulas.steps_and_time(spec(200 / 60), TRAINING, look_s=4.0) == (79, 214.0)
    # A step that has begun is ended: 20 steps end at 202 s.
    assert formulas.steps_and_time(spec(201 / 60), TRAINING, look_s=4.0) == (80, 216.0)
    # At 600 s a sixth is 100 s: epochs end at 40, 90, 140 (look), 194, 244 (look), 298, 348 (look), 402 (look), 456,
    # 506 (look), 560, and the last 15 steps at 600 (look).
    assert formulas.steps_and_time(spec(10.0), TRAINING, look_s=4.0) == (11 * 20 + 15, 614.0)
    assert formulas.steps_and_time(spec(0.01), TRAINING, look_s=4.0) == (1, 2 + 4 + 10)


def test_an_inference_is_its_windows_and_the_rest_by_voxels() -> None:
    # The first takes 2 s more; 27 windows; 9 - 8 = 1 s of resampling for a third of the scan.
    assert formulas.inference_time(INFERENCE) == 2.0 + 27.0 + 3.0
    assert formulas.inference_time(ONE_WINDOW) == 3.0
    assert (formulas.sweep_s(INFERENCE), formulas.sweep_s(ONE_WINDOW)) == (27.0, 1.0)


def test_memory_of_an_inference_grows_with_the_scan() -> None:
    # The whole scan holds 150 MB and one twice as large 300 MB, where what was tried held 50.
    assert formulas.inference_peak(INFERENCE, 1.0) == 440.0
    assert formulas.inference_peak(INFERENCE, 2.0) == 590.0
    assert formulas.inference_peak(INFERENCE, 0.1) == 340.0
    assert formulas.inference_peak(INFERENCE.model_copy(update={"peak_mb": None}), 1.0) is None


def test_the_peak_of_a_training_is_the_highest_of_its_stages() -> None:
    assert formulas.training_peak(DATA, TRAINING, INFERENCE, "cpu") == 1000.0 + 20 * 0.5
    lean = TRAINING.model_copy(update={"peak_mb": 200.0})
    assert formulas.training_peak(DATA, lean, INFERENCE, "cpu") == 590.0  # the largest case, segmented
    heavy = lean.model_copy(update={"preparing_peak_mb": 700.0})
    assert formulas.training_peak(DATA, heavy, INFERENCE, "cpu") == 700.0
    assert formulas.training_peak(DATA, heavy, INFERENCE, "cuda") == 590.0  # cases are prepared outside the GPU
    assert formulas.training_peak(DATA, TRAINING, INFERENCE, "cuda") == 1000.0
    unknown = TRAINING.model_copy(update={"peak_mb": None})
    assert formulas.training_peak(DATA, unknown, INFERENCE, "cpu") is None


def test_preparing_and_scoring_go_by_voxels_and_cases() -> None:
    assert formulas.preparing_time(DATA, TRAINING) == 6.0 * 27 / 3
    # Four warm inferences of 30 s, read in 0.5 s each, scored in 3 x 0.25 s.
    assert formulas.scoring_time(DATA, INFERENCE) == 4 * (0.5 + 30.0 + 0.75)


def test_the_size_of_the_data_is_told_in_units_of_the_case_that_was_tried() -> None:
    sizes = {"a": (10, 10, 10), "b": (10, 10, 20), "c": (10, 10, 60)}
    fingerprint = fingerprint_of(*(case_facts(shape, name=name) for name, shape in sizes.items()))
    data = DataSize.of(fingerprint, 5, ["a", "b"], "b")
    assert data == DataSize(3, 5, mean_voxels=1.5, largest_voxels=3.0, tried_voxels=1.5)


def test_the_forecast_adds_up_and_is_of_one_plan() -> None:
    made = formulas.forecast(plan(10.0), DATA, TRAINING, INFERENCE, "cpu")
    assert made.total_s == made.preparing_s + made.training_s + made.scoring_s
    look_s = 4 * 27.0  # four cases, 27 s each
    assert (made.steps, made.training_s) == formulas.steps_and_time(plan(10.0).training, TRAINING, look_s)
    assert (made.step_s, made.step_cpu_s, made.inference_s, made.inference_windows) == (2.0, 3.0, 32.0, 27)
    assert made.plan_sha256 == formulas.hash_of(plan(20.0))  # how long it may last is no other plan
    larger = plan().model_copy(update={"training": plan().training.model_copy(update={"batch_size": 3})})
    assert made.plan_sha256 != formulas.hash_of(larger)
    assert set(json.loads(made.model_dump_json())) >= {"step_s", "total_s", "training_peak_mb", "inference_s"}


def test_the_clock_leaves_out_the_first_steps_and_what_stands_between_epochs() -> None:
    moments = iter([0.0, 10.0, 20.0, 21.0, 22.0, 27.0, 28.0, 30.0, 31.0])
    work = iter([0.0, 10.0, 20.0, 22.0, 24.0, 24.5, 26.5, 28.5, 28.5])
    clock = StepClock(lambda: next(moments), lambda: next(work))
    for _ in range(4):
        clock.step_ended()  # at 10, 20: not counted; at 21, 22
    clock.epoch_ended()  # at 27
    for _ in range(2):
        clock.step_ended()  # at 28 and 30
    clock.epoch_ended()  # at 31
    assert clock.step_s == (1 + 1 + 1 + 2) / 4
    assert clock.step_cpu_s == 2.0
    assert (clock.steps, clock.epochs, clock.between_epochs_s) == (6, 2, 6.0)
    assert StepClock().step_s is None


WATCHED = """
import numpy as np
import torch
from medseg.training.probe.memory import MemoryWatch
watch = MemoryWatch(torch.device("cpu"))
before = watch.peak_mb
block = np.ones(50_000_000, np.uint8)
watch.look()
print(watch.peak_mb - before)
del block
watch.look()
print(watch.peak_mb - before)
watch.restart()
print(watch.peak_mb - before)
"""


@pytest.mark.skipif(allocated_bytes() is None, reason="the system tells nothing of a process's memory: needs Linux")
def test_the_watch_sees_what_is_allocated_and_forgets_what_was_before() -> None:
    """In a process of its own, where nothing that other tests left allocates or frees meanwhile."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", WATCHED], env=environment, check=True, capture_output=True, text=True)
    assert [float(line) for line in ended.stdout.split()] == pytest.approx([50, 50, 0], abs=10)
