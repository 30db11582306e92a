"""A plan tried on made data in processes of its own, and what a run keeps of it."""

import math
import os
from pathlib import Path

import pytest

from medseg.core.errors import PlanError
from medseg.core.task import load_task
from medseg.datasets.manifest import Manifest
from medseg.training.planning.plan import Plan, write_plan
from medseg.training.planning.rules import Budget
from medseg.training.probe.child import in_own_process
from medseg.training.probe.forecast import Forecast, hash_of
from medseg.training.probe.inference import InferenceTrial, try_inference
from medseg.workflows.training.forecast_training import (
    adopt_forecast,
    forecast_run,
    is_worth_forecasting,
    save_forecast,
)
from medseg.workflows.training.run_record import RunRecord, read_record, write_record
from medseg.workflows.training.train_model import TrainedModel

MADE = Forecast(
    plan_sha256="0",
    device="cpu",
    step_s=1.0,
    step_cpu_s=1.0,
    steps=2,
    preparing_s=1.0,
    training_s=2.0,
    scoring_s=1.0,
    total_s=4.0,
    training_peak_mb=500.0,
    inference_windows=1,
    inference_s=1.0,
    inference_peak_mb=300.0,
)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials in this process, since others must load torch anew, and of a few steps only."""
    monkeypatch.setattr(
        "medseg.workflows.training.forecast_training.in_own_process", lambda function, given: function(given)
    )
    monkeypatch.setattr("medseg.training.probe.training.ENOUGH_S", 0.0)


@pytest.mark.usefixtures("soon")
def test_a_run_is_forecast_from_trials(ball_data: Manifest, ball_plan: Plan, tmp_path: Path) -> None:
    made = forecast_run(ball_data, 0, tmp_path / "run", ball_plan, Budget())
    assert made is not None
    assert made.steps == 8 * 15
    assert made.step_s > 0
    assert made.training_s > made.steps * made.step_s
    assert made.total_s == pytest.approx(made.preparing_s + made.training_s + made.scoring_s)
    assert made.inference_windows == 1  # 20 x 18 x 16 voxels in a window of 20 x 20 x 16
    if made.training_peak_mb is not None and made.inference_peak_mb is not None:  # on Linux
        assert 50 < made.inference_peak_mb < 5000
        assert made.training_peak_mb > 50
    assert read_record(tmp_path / "run") == RunRecord(forecast=made)
    assert forecast_run(ball_data, 0, tmp_path / "run", ball_plan, Budget()) is None  # the run has begun


def test_a_larger_scan_is_tried_in_part(ball_data: Manifest, ball_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    window = ball_plan.model.window.model_copy(update={"patch": (8, 8, 8)})
    spec = ball_plan.model.model_copy(update={"window": window})
    case = ball_data.training(0)[0]
    whole = try_inference(InferenceTrial(spec, case, "cpu", 1))
    assert whole.scan_windows == whole.windows == 4 * 4 * 3  # 20, 18 and 16 voxels by 8 with half overlap
    assert whole.voxels == whole.scan_voxels == 20 * 18 * 16
    assert whole.held_mb == whole.scan_held_mb
    monkeypatch.setattr("medseg.training.probe.inference.LONGEST_S", 0.0)
    part = try_inference(InferenceTrial(spec, case, "cpu", 1))
    assert part.scan_windows == 48
    assert 1 < part.windows < 48
    assert 8**3 < part.voxels < part.scan_voxels
    assert part.held_mb < part.scan_held_mb == whole.scan_held_mb
    assert part.window_s is not None


def test_what_a_training_took_stands_beside_its_forecast(trained: TrainedModel) -> None:
    record = read_record(trained.folder.parent)
    assert record.forecast is None
    assert record.measured is not None
    assert record.measured.steps == 8 * 15
    assert 0 < (record.measured.step_s or 0) < record.measured.total_s
    assert record.measured.total_s == pytest.approx(trained.duration_s, rel=0.5)


def test_a_plans_forecast_goes_with_it_unless_it_was_edited(ball_plan: Plan, tmp_path: Path) -> None:
    path, run = tmp_path / "plan.toml", tmp_path / "run"
    write_plan(ball_plan, path)
    adopt_forecast(path, run)
    assert read_record(run) == RunRecord()  # there is none
    save_forecast(MADE, path)
    assert (tmp_path / "plan.forecast.json").is_file()
    adopt_forecast(path, run)
    assert read_record(run) == RunRecord()  # it is of another plan
    own = MADE.model_copy(update={"plan_sha256": hash_of(ball_plan)})
    save_forecast(own, path)
    adopt_forecast(path, run)
    assert read_record(run).forecast == own
    save_forecast(own.model_copy(update={"steps": 9}), path)
    adopt_forecast(path, run)
    assert read_record(run).forecast == own  # the run keeps the one it began with
    (tmp_path / "plan.forecast.json").write_text("{}")
    adopt_forecast(path, tmp_path / "other")
    assert read_record(tmp_path / "other") == RunRecord()


def test_a_broken_record_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "forecast.json").write_text("not json")
    assert read_record(tmp_path) == RunRecord()
    write_record(tmp_path, RunRecord(forecast=MADE))
    assert read_record(tmp_path).forecast == MADE


def test_a_plan_that_does_not_suit_is_not_tried(ball_data: Manifest, ball_plan: Plan, tmp_path: Path) -> None:
    model = ball_plan.model.model_copy(update={"task": load_task("sarcoma_pet")})
    with pytest.raises(PlanError, match=r"the plan is for the task sarcoma_pet"):
        forecast_run(ball_data, 0, tmp_path / "a", ball_plan.model_copy(update={"model": model}), Budget())
    with pytest.raises(PlanError, match=r"the budget is 0\.001 GB"):
        forecast_run(ball_data, 0, tmp_path / "b", ball_plan, Budget(memory_gb=0.001))


def test_short_trainings_are_not_forecast_unasked() -> None:
    assert is_worth_forecasting(Budget())
    assert is_worth_forecasting(Budget(minutes=10.0))
    assert not is_worth_forecasting(Budget(minutes=9.9))


def test_other_processes_answer_and_their_errors_come_through() -> None:
    assert in_own_process(math.sqrt, 9.0) == 3.0
    with pytest.raises(ValueError, match="math domain error"):
        in_own_process(math.sqrt, -1.0)


def test_a_trial_that_the_system_kills_is_a_sentence() -> None:
    with pytest.raises(PlanError, match=r"killed, most likely since memory ran out. Lower patch or batch_size"):
        in_own_process(os._exit, 9)
