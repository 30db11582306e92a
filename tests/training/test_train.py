"""The loop: it learns, it resumes to the same weights, and it stops with a sentence."""

import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medseg.core.atomic import is_unfinished
from medseg.core.errors import PlanError, StoreError
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import load_checkpoint
from medseg.training.distributed import Team
from medseg.training.planning.plan import Plan, TrainingSpec, write_plan
from medseg.training.train import Observer, learning_rate, train

CPU = Team(torch.device("cpu"))


def changed(plan: Plan, **training: object) -> Plan:
    return plan.model_copy(update={"training": plan.training.model_copy(update=training)})


def test_a_network_learns_a_ball(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    longer = changed(plan, epochs=12, steps_per_epoch=10, average_decay=0.9, learning_rate=1e-2)
    final = train(longer, cases[:3], cases[3:], checkpoint_path, CPU, observer)
    records = final.progress.records
    assert records[-1].loss < 0.5 * records[0].loss
    assert (records[-1].validation_dice or {})["sarcoma"] > 0.8
    assert [record.epoch for record in records] == list(range(12))
    assert records[-1].step == 120


def test_a_resumed_training_ends_with_the_same_weights(
    plan: Plan, cases: list[PreparedCase], tmp_path: Path, observer: Observer
) -> None:
    whole = train(plan, cases, cases[:1], tmp_path / "whole", CPU, observer)

    class StopError(Exception):
        pass

    class StopAfter:
        def __init__(self, steps: int) -> None:
            self.left = steps

        def step_ended(self, fraction: float, loss: float) -> None:
            self.left -= 1
            if self.left == 0:
                raise StopError

        def epoch_ended(self, records: object) -> None: ...

    for steps in (2, 4, 1):  # in the first epoch, in the second, and at once after
        with pytest.raises(StopError):
            train(plan, cases, cases[:1], tmp_path / "broken", CPU, StopAfter(steps))
    resumed = train(plan, cases, cases[:1], tmp_path / "broken", CPU, observer)
    for kept in ("network", "average"):
        for name, tensor in getattr(whole, kept).items():
            torch.testing.assert_close(getattr(resumed, kept)[name], tensor, rtol=0, atol=0)
    assert [r.loss for r in resumed.progress.records] == [r.loss for r in whole.progress.records]


KILLED = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, {here!r})
from conftest import Silence, ball_case
from medseg.training.distributed import Team
from medseg.training.planning.plan import read_plan
from medseg.training.train import train
torch.set_num_threads(1)
cases = [ball_case(f"ball{{n}}", n) for n in range(4)]
print("ready", flush=True)
train(read_plan(Path(sys.argv[1])), cases, cases[:1], Path(sys.argv[2]), Team(torch.device("cpu")), Silence())
"""


def test_kill_9_at_random_moments_changes_nothing(plan: Plan, cases: list[PreparedCase], tmp_path: Path) -> None:
    """Two kills here; `python benchmarks/training/kill_training.py` does ten on a real run."""
    write_plan(changed(plan, epochs=40), tmp_path / "plan.toml")
    script = KILLED.format(here=str(Path(__file__).parent))

    def start(checkpoint: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, str(tmp_path / "plan.toml"), str(tmp_path / checkpoint)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    undisturbed = start("undisturbed")
    begin = time.monotonic()
    assert undisturbed.wait() == 0
    whole_s = time.monotonic() - begin
    undisturbed.stdout.close()  # type: ignore[union-attr]
    moments = random.Random(7)
    for _ in range(2):
        process = start("killed")
        time.sleep(moments.uniform(0, 0.4 * whole_s))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    last = start("killed")
    assert last.wait() == 0
    last.stdout.close()  # type: ignore[union-attr]
    expected, got = load_file(tmp_path / "undisturbed"), load_file(tmp_path / "killed")
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert not [path for path in tmp_path.iterdir() if is_unfinished(path)]


def test_another_plan_or_other_data_is_refused(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    train(changed(plan, epochs=1), cases, [], checkpoint_path, CPU, observer)
    with pytest.raises(PlanError, match="another plan"):
        train(plan, cases, [], checkpoint_path, CPU, observer)
    other = [*cases[:-1], replace(cases[-1], sha256="other")]
    with pytest.raises(PlanError, match="another training data"):
        train(changed(plan, epochs=1), other, [], checkpoint_path, CPU, observer)


def test_a_loss_that_is_no_number_names_the_cases_and_keeps_the_last_good_epoch(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    poisoned = [replace(case, image=np.full_like(case.image, np.nan)) for case in cases]

    class PoisonAfterFirstEpoch:
        def step_ended(self, fraction: float, loss: float) -> None: ...

        def epoch_ended(self, records: object) -> None:
            for case, bad in zip(cases, poisoned, strict=True):
                case.image[:] = bad.image

    with pytest.raises(PlanError, match=r"the loss is nan in epoch 1, step 0, with the cases ball"):
        train(plan, cases, [], checkpoint_path, CPU, PoisonAfterFirstEpoch())
    assert load_checkpoint(checkpoint_path).progress.epochs_done == 1


def test_a_damaged_checkpoint_is_a_sentence(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    checkpoint_path.write_bytes(b"\x00" * 100)
    with pytest.raises(StoreError, match="Delete it to train from the beginning"):
        train(plan, cases, [], checkpoint_path, CPU, observer)


def test_the_clock_ends_a_training(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by a tenth of a second each time it is read."""
    readings = itertools.count()
    monkeypatch.setattr("medseg.training.train.time.monotonic", lambda: next(readings) / 10)
    timed = changed(plan, minutes=0.1, deterministic=False, epochs=10**6)
    records = train(timed, cases, cases[:1], checkpoint_path, CPU, observer).progress.records
    assert 5.0 < records[-1].elapsed_s < 7.0
    assert records[-1].learning_rate < 0.05 * timed.training.learning_rate
    assert records[-1].validation_dice is not None


def test_the_learning_rate_rises_then_falls() -> None:
    spec = TrainingSpec(batch_size=1, steps_per_epoch=1, epochs=1, warm_up_steps=9, learning_rate=1.0)
    assert learning_rate(spec, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(spec, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(spec, 500, 0.5) == pytest.approx(0.5, abs=1e-3)
    assert learning_rate(spec, 999, 1.0) == pytest.approx(1e-3)
    assert math.isfinite(learning_rate(spec, 10**9, 1.5))


def test_voxels_that_nobody_judged_are_not_looked_at(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    unknown = replace(cases[0], classes=np.full_like(cases[0].classes, 255))
    final = train(plan, cases[1:], [unknown], checkpoint_path, CPU, observer)
    assert final.progress.records[-1].validation_dice == {}
