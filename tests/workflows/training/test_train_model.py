"""A training as a user runs it: what it leaves, what it refuses, and that it goes on."""

import csv
import json
from pathlib import Path

import pytest

from medseg.core.errors import InputError, PlanError
from medseg.core.task import load_task
from medseg.datasets.layouts import read_folder
from medseg.datasets.manifest import Manifest
from medseg.models.bundle import load_bundle
from medseg.models.card import model_card
from medseg.training.planning.ladder import Choice
from medseg.training.planning.plan import Plan, read_plan, write_plan
from medseg.training.planning.rules import Budget
from medseg.workflows.progress import silent
from medseg.workflows.training.cross_validate import cross_validate
from medseg.workflows.training.fine_tune import fine_tuning
from medseg.workflows.training.forecast_training import forecast_run
from medseg.workflows.training.make_plan import plan_training
from medseg.workflows.training.settle_plan import settle_plan
from medseg.workflows.training.track_training import choose_tracking
from medseg.workflows.training.train_model import Run, Seat, TrainedModel, train_model, train_together


def test_the_model_finds_the_ball_and_the_run_folder_tells_all(trained: TrainedModel, ball_data: Manifest) -> None:
    run = trained.folder.parent
    assert trained.evaluation.summary.over_labels["dice"].mean > 0.8
    assert {path.name for path in run.iterdir()} == {
        *("plan.toml", "environment.json", "prepared", "checkpoint.safetensors"),
        *("metrics.csv", "curves.png", "tensorboard", "forecast.json", "validation.csv", "model"),
    }
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(8)]
    assert float(rows[-1]["validation_dice_sarcoma"]) > 0.8
    with (run / "validation.csv").open() as file:
        scored = {row["case"] for row in csv.DictReader(file)}
    assert scored == {case.name for case in ball_data.validation(0)}
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list((run / "tensorboard").iterdir())
    assert json.loads((run / "environment.json").read_text())["fold"] == 0


def test_the_bundle_names_its_origin(trained: TrainedModel, ball_data: Manifest, ball_plan: Plan) -> None:
    bundle = load_bundle(trained.folder)
    assert bundle.sha256 == trained.bundle.sha256
    assert bundle.spec == ball_plan.model
    assert set(bundle.provenance.case_sha256) == {case.name for case in ball_data.training(0)}
    assert bundle.scores is not None
    dice = {s.label: s.mean for s in bundle.scores.scores if s.metric == "dice"}
    assert dice["sarcoma"] == pytest.approx(trained.evaluation.summary.by_label["sarcoma"]["dice"].mean)


def test_a_finished_run_is_not_trained_again(trained: TrainedModel, ball_data: Manifest) -> None:
    run = trained.folder.parent
    before = (run / "checkpoint.safetensors").stat().st_mtime_ns
    again = train_model(ball_data, 0, run)
    assert (run / "checkpoint.safetensors").stat().st_mtime_ns == before
    assert again.evaluation.summary.over_labels["dice"] == trained.evaluation.summary.over_labels["dice"]
    assert again.bundle.sha256 == trained.bundle.sha256


def test_a_run_folder_keeps_to_its_plan_and_its_data(
    trained: TrainedModel, ball_data: Manifest, ball_plan: Plan
) -> None:
    run = trained.folder.parent
    other = ball_plan.model_copy(update={"training": ball_plan.training.model_copy(update={"epochs": 9})})
    with pytest.raises(PlanError, match="holds a run with another plan"):
        train_model(ball_data, 0, run, plan=other)
    with pytest.raises(PlanError, match="another training data"):
        train_model(ball_data, 1, run)


def test_a_second_training_of_a_run_folder_is_refused_and_leaves_the_first_alone(
    ball_data: Manifest, ball_plan: Plan, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begun = run / ".medseg-unfinished-x-checkpoint.safetensors"
    spec = ball_plan.training.model_copy(update={"epochs": 2, "steps_per_epoch": 2})
    refused: list[str] = []

    def begin_another(stage: str, done: float, total: float, note: str = "") -> None:
        if stage == "Training" and not refused:
            begun.write_text("what the first is writing")
            for begin in (
                lambda: train_model(ball_data, 0, run),
                lambda: train_together(Run(ball_data, 0, run, None, Budget()), Seat()),
                lambda: forecast_run(ball_data, 0, run, None, Budget()),
                lambda: cross_validate(ball_data, run),
            ):
                with pytest.raises(InputError, match=r"another training runs in .*/run \(process \d+ of .*Wait for it"):
                    begin()
                refused.append(begun.read_text())

    train_model(ball_data, 0, run, plan=ball_plan.model_copy(update={"training": spec}), progress=begin_another)
    assert refused == ["what the first is writing"] * 4
    assert not (run / "run.lock").exists()
    train_model(ball_data, 0, run)
    assert not begun.exists()


def test_a_plan_for_another_task_is_refused(ball_data: Manifest, ball_plan: Plan, tmp_path: Path) -> None:
    model = ball_plan.model.model_copy(update={"task": load_task("sarcoma_pet")})
    with pytest.raises(PlanError, match=r"the plan is for the task sarcoma_pet.*is for sarcoma_mr"):
        train_model(ball_data, 0, tmp_path / "run", plan=ball_plan.model_copy(update={"model": model}))


def test_a_plan_is_made_from_the_data(ball_data: Manifest, tmp_path: Path) -> None:
    plan, fingerprint = plan_training(ball_data, 0, Budget(minutes=5.0))
    assert plan.model.preparation.spacing_mm == (2.0, 2.0, 2.5)
    assert len(fingerprint.cases) == len(ball_data.training(0))
    # 4/3 pi 9^3 mm^3 is 3.05 ml
    assert fingerprint.cases[0].label_volume_ml[0] == pytest.approx(3.05, rel=0.1)
    assert fingerprint.channels[0].mean == pytest.approx(180, abs=2)
    write_plan(plan, tmp_path / "plan.toml")
    assert read_plan(tmp_path / "plan.toml") == plan


def test_a_fold_that_does_not_exist_is_refused(ball_data: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no fold 7"):
        train_model(ball_data, 7, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_image_and_mask_on_different_grids_name_the_millimetres(tmp_path: Path, ball_data: Manifest) -> None:
    import nibabel as nib

    for number in range(5):
        for part in ("images", "labels"):
            (tmp_path / part).mkdir(exist_ok=True)
            file = nib.load(ball_data.data_folder / part / f"ball{number}.nii.gz")
            if part == "labels" and number == 1:
                file.affine[2, 3] += 3.0
                file = nib.Nifti1Image(file.dataobj, file.affine)
            nib.save(file, tmp_path / part / f"ball{number}.nii.gz")
    data = read_folder(tmp_path, ball_data.task)
    with pytest.raises(InputError, match=r"image and mask of case ball1 are on different grids.*3\.000 mm apart"):
        plan_training(data, next(f for f in data.folds if "ball1" in {c.name for c in data.training(f)}), Budget())


def test_a_bundle_is_fine_tuned_and_named_as_the_parent(
    trained: TrainedModel, ball_data: Manifest, ball_plan: Plan, tmp_path: Path
) -> None:
    spec = ball_plan.training.model_copy(update={"epochs": 1, "steps_per_epoch": 2})
    plan = ball_plan.model_copy(update={"training": spec})
    run = tmp_path / "run"
    tuned = train_model(ball_data, 0, run, plan=fine_tuning(trained.folder, plan))
    provenance = load_bundle(run / "model").provenance
    parent_sha256 = load_bundle(trained.folder).sha256  # other tests end this run again, at another moment
    assert provenance.parent_sha256 == parent_sha256
    assert f"| fine-tuned from | `{parent_sha256}` |" in model_card(tuned.bundle)
    assert "fine-tuned" not in model_card(trained.bundle)
    assert json.loads((run / "parent.json").read_text())["fresh"] == []
    assert read_plan(run / "plan.toml").training.parent_sha256 == parent_sha256
    assert tuned.evaluation.summary.over_labels["dice"].mean > 0.7  # two steps from nothing give 0

    before = (run / "checkpoint.safetensors").stat().st_mtime_ns
    for wanted in (None, fine_tuning(trained.folder), fine_tuning(trained.folder, plan)):
        train_model(ball_data, 0, run, plan=wanted)  # it is finished, and begun from nothing by none of them
    assert (run / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_a_run_keeps_to_its_parent(trained: TrainedModel, ball_data: Manifest, ball_plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"starts from fresh weights, --from names model"):
        train_model(ball_data, 0, trained.folder.parent, plan=fine_tuning(trained.folder))
    other = ball_plan.training.model_copy(update={"parent_sha256": "a" * 64})
    plan = ball_plan.model_copy(update={"training": other})
    with pytest.raises(PlanError, match=r"the plan starts from the bundle aaaa.*, --from names model"):
        train_model(ball_data, 0, tmp_path / "run", plan=fine_tuning(trained.folder, plan))
    with pytest.raises(PlanError, match=r"starts from the weights of a bundle .* Name it again with --from"):
        train_model(ball_data, 0, tmp_path / "run", plan=plan)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    with pytest.raises(PlanError, match=r"starts from the bundle aaaaaaaaaaaa, --from names model"):
        train_model(ball_data, 0, tmp_path / "run", plan=fine_tuning(trained.folder))


def test_a_plan_to_fine_tune_by_is_made_from_data_and_bundle(
    trained: TrainedModel, ball_data: Manifest, tmp_path: Path
) -> None:
    tuning = fine_tuning(trained.folder, Choice("fcn", ("dice", "cross_entropy")))
    plan = settle_plan(ball_data, 0, tmp_path / "run", tuning, Budget(minutes=1.0), silent)
    assert plan.model == trained.bundle.spec.model_copy(update={"window": plan.model.window})
    assert plan.model.window.patch == trained.bundle.spec.window.patch
    assert [loss.kind for loss in plan.training.loss] == ["dice", "cross_entropy"]
    assert plan.training.minutes == pytest.approx(0.9)
    assert plan == settle_plan(ball_data, 0, tmp_path / "run", fine_tuning(trained.folder), Budget(), silent)


def test_a_training_that_was_killed_goes_on_in_the_same_mlflow_run(
    ball_data: Manifest, ball_plan: Plan, tmp_path: Path
) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package, reason="needs the extra: pip install 'medseg[mlflow]'")
    from mlflow.tracking import MlflowClient

    def kill_in_third_epoch(stage: str, done: float, total: float, note: str = "") -> None:
        if stage == "Training" and done > 0.5:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    spec = ball_plan.training.model_copy(update={"epochs": 4, "steps_per_epoch": 2})
    plan = ball_plan.model_copy(update={"training": spec})
    choose_tracking(run, "mlflow")
    with pytest.raises(KeyboardInterrupt):
        train_model(ball_data, 0, run, plan=plan, progress=kill_in_third_epoch)
    train_model(ball_data, 0, run)
    client = MlflowClient(f"sqlite:///{run}/mlflow.db")
    experiment = client.get_experiment_by_name(ball_data.facts.name)
    (logged,) = client.search_runs([experiment.experiment_id])
    assert [metric.step for metric in client.get_metric_history(logged.info.run_id, "loss/training")] == [2, 4, 6, 8]
    assert logged.info.status == "FINISHED"
    assert "final/dice/sarcoma" in logged.data.metrics
    kept = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert kept == {"plan.toml", "metrics.csv", "curves.png", "validation.csv"}
    assert not (run / "tensorboard").exists()
