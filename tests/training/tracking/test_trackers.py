"""Trackers get every epoch once, also across kills; an MLflow store is a SQLite file here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import InputError, PlanError
from medseg.models import mlflow_client
from medseg.training.checkpoint import EpochRecord
from medseg.training.planning.plan import Plan
from medseg.training.tracking.choice import choose_tracking, open_tracker, read_tracking
from medseg.training.tracking.mlflow_store import MlflowTracker, parameters_of
from medseg.training.tracking.tensorboard import TensorBoardTracker
from medseg.training.tracking.tracker import RunFacts

RECORDS = [
    EpochRecord(
        epoch=n,
        step=3 * (n + 1),
        elapsed_s=1.0 * n,
        learning_rate=1e-3,
        loss=1 / (n + 1),
        validation_dice={"tumour (core)": 0.1 * n} if n % 2 else None,
    )
    for n in range(4)
]


@pytest.fixture
def facts(plan: Plan, tmp_path: Path) -> RunFacts:
    return RunFacts(tmp_path / "run", "balls", 2, plan)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs; MLflow takes a second to make one, so the tests copy it."""
    for package in mlflow_client.PACKAGES:
        pytest.importorskip(package, reason="needs the extra: pip install 'medseg[mlflow]'")
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def mlflow(empty_store: Path, facts: RunFacts) -> Any:
    import mlflow.tracking

    facts.folder.mkdir()
    shutil.copy(empty_store, facts.folder / "mlflow.db")
    return mlflow


def history(mlflow: Any, tracker: MlflowTracker, folder: Path, name: str) -> list[tuple[int, float]]:
    client = mlflow.tracking.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return [(metric.step, metric.value) for metric in client.get_metric_history(tracker.run_id, name)]


class TestMlflow:
    def test_a_run_that_was_killed_goes_on_and_has_each_epoch_once(
        self, mlflow: Any, facts: RunFacts, tmp_path: Path
    ) -> None:
        run = facts.folder
        choose_tracking(run, "mlflow")
        first = open_tracker(facts)
        assert isinstance(first, MlflowTracker)
        first.epochs_ended(RECORDS[:1])
        first.epochs_ended(RECORDS[:2])
        # killed
        second = open_tracker(facts)
        assert isinstance(second, MlflowTracker)
        assert second.run_id == first.run_id
        second.epochs_ended(RECORDS[:3])
        second.epochs_ended(RECORDS)
        assert history(mlflow, second, run, "loss/training") == [(3, 1.0), (6, 0.5), (9, 1 / 3), (12, 0.25)]
        assert history(mlflow, second, run, "learning_rate") == [(step, 1e-3) for step in (3, 6, 9, 12)]
        assert history(mlflow, second, run, "dice/tumour _core_") == [(6, 0.1), (12, pytest.approx(0.3))]
        told = mlflow.tracking.MlflowClient(f"sqlite:///{run}/mlflow.db").get_run(second.run_id)
        assert told.info.status == "RUNNING"
        assert told.info.run_name == "run"
        assert told.data.params["training.batch_size"] == "2"
        assert told.data.params["model.network.kind"] == "unet3d"
        assert json.loads(told.data.params["model.window.patch"]) == [12, 12, 12]
        assert told.data.tags["medseg.fold"] == "2"

    def test_scores_and_files_come_at_the_end_and_once(self, mlflow: Any, facts: RunFacts, tmp_path: Path) -> None:
        run = facts.folder
        for _ in range(2):  # a finished run that is started again
            tracker = MlflowTracker(facts, "key")
            tracker.epochs_ended(RECORDS)
            (run / "plan.toml").write_text("the plan")
            tracker.training_ended({"final/dice/ball": 0.75}, [run / "plan.toml"])
        assert history(mlflow, tracker, run, "final/dice/ball") == [(12, 0.75)]
        client = mlflow.tracking.MlflowClient(f"sqlite:///{run}/mlflow.db")
        assert client.get_run(tracker.run_id).info.status == "FINISHED"
        (experiment,) = (e for e in client.search_experiments() if e.name == "balls")
        assert len(client.search_runs([experiment.experiment_id])) == 1
        (kept,) = (run / "mlflow_artifacts").rglob("plan.toml")
        assert kept.read_text() == "the plan"

    def test_other_runs_share_a_store_and_keep_apart(self, mlflow: Any, plan: Plan, tmp_path: Path) -> None:
        uri = f"sqlite:///{tmp_path}/run/mlflow.db"
        trackers = []
        for name in ("a", "b"):
            choose_tracking(tmp_path / name, "mlflow", uri)
            tracker = open_tracker(RunFacts(tmp_path / name, "balls", 0, plan))
            assert isinstance(tracker, MlflowTracker)
            trackers.append(tracker)
        assert trackers[0].run_id != trackers[1].run_id
        assert not (tmp_path / "a" / "mlflow.db").exists()

    def test_a_store_that_fails_in_the_middle_is_sent_everything_later(
        self, mlflow: Any, facts: RunFacts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: object, **values: object) -> None:
            raise mlflow.exceptions.MlflowException("the server is gone\nand a page more")

        tracker = MlflowTracker(facts, "key")
        client = tracker._client
        works = client.log_batch
        monkeypatch.setattr(client, "log_batch", fail)
        tracker.epochs_ended(RECORDS[:2])
        with pytest.raises(InputError, match=r"store sqlite:.*mlflow\.db cannot be used: the server is gone\. Check"):
            tracker.training_ended({}, [])
        monkeypatch.setattr(client, "log_batch", works)
        tracker.training_ended({}, [])
        assert [step for step, _ in history(mlflow, tracker, facts.folder, "loss/training")] == [3, 6]
        tracker.epochs_ended(RECORDS[:3])
        assert [step for step, _ in history(mlflow, tracker, facts.folder, "loss/training")] == [3, 6, 9]

    def test_a_store_that_cannot_be_opened_is_a_sentence(self, mlflow: Any, facts: RunFacts, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_text("this is no database, " * 100)
        with pytest.raises(InputError, match=r"MLflow store sqlite:.*broken\.db cannot be used"):
            MlflowTracker(facts, "key", f"sqlite:///{tmp_path}/broken.db")


def test_parameters_are_flat_and_without_the_tasks_codes(plan: Plan) -> None:
    parameters = parameters_of(plan)
    assert parameters["task"] == plan.model.task.name
    assert parameters["training.epochs"] == "3"
    assert json.loads(parameters["model.preparation.spacing_mm"]) == [1.0, 1.0, 1.0]
    assert not [name for name in parameters if "code" in name or "colour" in name]


class TestChoice:
    def test_is_tensorboard_where_none_was_made(self, facts: RunFacts) -> None:
        tracker = open_tracker(facts)
        assert isinstance(tracker, TensorBoardTracker)
        tracker.epochs_ended(RECORDS)
        tracker.training_ended({"final/dice/ball": 0.5}, [])
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(facts.folder / "tensorboard"))
        events.Reload()
        assert [(e.step, e.value) for e in events.Scalars("loss/training")][:2] == [(3, 1.0), (6, 0.5)]
        assert [(e.step, e.value) for e in events.Scalars("final/dice/ball")] == [(12, 0.5)]
        assert read_tracking(facts.folder) is None

    def test_is_kept_and_cannot_be_changed(self, tmp_path: Path) -> None:
        choose_tracking(tmp_path, "tensorboard")
        choose_tracking(tmp_path, "tensorboard")
        first = read_tracking(tmp_path)
        assert first is not None
        assert first.tracker == "tensorboard"
        (tmp_path / "tracking.json").write_text('{"tracker": "mlflow", "uri": "http://a", "key": "k"}')
        with pytest.raises(PlanError, match=r"holds a run that is tracked by mlflow at http://a\. Take another"):
            choose_tracking(tmp_path, "tensorboard")

    def test_with_a_uri_for_tensorboard_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="a tracking URI is for the tracker mlflow"):
            choose_tracking(tmp_path, "tensorboard", "sqlite:///a.db")

    def test_of_a_tracker_that_does_not_exist_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "tracking.json").write_text('{"tracker": "wandb", "key": "k"}')
        with pytest.raises(InputError, match=r"tracking\.json is not a choice of tracker: tracker: Input should be"):
            read_tracking(tmp_path)

    def test_of_mlflow_without_its_extra_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mlflow_client, "PACKAGES", ("mlflow_surely_missing",))
        with pytest.raises(InputError, match=r"tracker mlflow needs mlflow_surely_missing.*'medseg\[mlflow\]'"):
            choose_tracking(tmp_path, "mlflow")
        assert list(tmp_path.iterdir()) == []
