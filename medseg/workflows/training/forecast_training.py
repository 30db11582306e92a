"""Forecast what a training and an inference will take, by trying the plan for some seconds.

A forecast lies beside its plan: plan.forecast.json beside plan.toml. In a run folder it is part of forecast.json.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from pydantic import ValidationError

from medseg.core.atomic import whole_file
from medseg.datasets.manifest import Manifest
from medseg.models.inference.device import choose_device
from medseg.training.planning.checks import require_possible
from medseg.training.planning.fingerprint import Fingerprint
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan
from medseg.training.planning.rules import Budget
from medseg.training.probe.child import in_own_process
from medseg.training.probe.forecast import DataSize, Forecast, forecast, hash_of
from medseg.training.probe.inference import InferenceTrial, try_inference
from medseg.training.probe.training import TrainingTrial, try_training
from medseg.workflows.progress import Progress, silent
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.make_plan import look_at_data
from medseg.workflows.training.run_lock import alone_in
from medseg.workflows.training.run_record import RunRecord, read_record, write_record
from medseg.workflows.training.settle_plan import require_same_task, settle_plan

SHORTEST_MINUTES = 10.0
"""A training shorter than this is not forecast unasked: the trial would take too much of its time."""


def forecast_training(
    manifest: Manifest,
    fold: int,
    plan: Plan,
    fingerprint: Fingerprint,
    *,
    budget: Budget,
    progress: Progress = silent,
) -> Forecast:
    """The forecast of a plan for a data set on this machine, from a trial of less than a minute or two.

    Raises PlanError where the plan cannot be run here, InputError where the data cannot be used.
    """
    require_same_task(plan, manifest)
    require_possible(plan, budget)
    voxels = {case.name: math.prod(case.shape) for case in fingerprint.cases}
    cases = sorted(manifest.training(fold), key=lambda case: voxels[case.name])
    middle = cases[len(cases) // 2]
    tried = tuple({case.name: case for case in (cases[0], middle, cases[-1])}.values())
    kind, threads = choose_device(budget.device).type, torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="medseg-trial-") as folder:
        progress("Trying the plan", 0, 2, "some training steps")
        training = in_own_process(try_training, TrainingTrial(plan, tried, Path(folder), kind, threads))
    progress("Trying the plan", 1, 2, "an inference")
    inference = in_own_process(try_inference, InferenceTrial(plan.model, middle, kind, threads))
    progress("Trying the plan", 2, 2)
    data = DataSize.of(fingerprint, len(manifest.validation(fold)), [case.name for case in tried], middle.name)
    return forecast(plan, data, training, inference, kind)


def is_worth_forecasting(budget: Budget) -> bool:
    """Whether a training is forecast unasked: a short one would lose too much of its time to the trial."""
    return budget.minutes is None or budget.minutes >= SHORTEST_MINUTES


def forecast_run(
    manifest: Manifest,
    fold: int,
    run_folder: Path,
    wanted: Plan | Choice | FineTuning | None,
    budget: Budget,
    progress: Progress = silent,
) -> Forecast | None:
    """The forecast of the training that a new run folder is about to hold, its plan settled and written there.

    None where the run has begun before. Raises what `forecast_training` raises, InputError where another training runs
    in the folder.
    """
    with alone_in(run_folder):
        if (run_folder / "plan.toml").exists():
            return None
        plan = settle_plan(manifest, fold, run_folder, wanted, budget, progress)
        looked = run_folder / "fingerprint.json"
        if looked.exists():
            fingerprint = Fingerprint.model_validate_json(looked.read_text(encoding="utf-8"))
        else:
            fingerprint = look_at_data(manifest, fold, progress)
        made = forecast_training(manifest, fold, plan, fingerprint, budget=budget, progress=progress)
        write_record(run_folder, RunRecord(forecast=made))
        return made


def save_forecast(made: Forecast, plan_path: Path) -> None:
    """Write the forecast of a plan beside it, whole or not at all."""
    with whole_file(_beside(plan_path)) as unfinished:
        unfinished.write_text(made.model_dump_json(indent=1), encoding="utf-8")


def adopt_forecast(plan_path: Path, run_folder: Path) -> None:
    """Take the forecast that lies beside a plan into the run that follows it, unless it is of the plan unedited."""
    path, record = _beside(plan_path), read_record(run_folder)
    if not path.is_file() or record.forecast:
        return
    try:
        made = Forecast.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        return  # of another version of medseg
    if made.plan_sha256 == hash_of(read_plan(plan_path)):
        write_record(run_folder, record.model_copy(update={"forecast": made}))


def _beside(plan_path: Path) -> Path:
    return plan_path.with_suffix(".forecast.json")
