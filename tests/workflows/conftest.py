"""A data set on disk that a tiny network learns in seconds, and a model trained on it."""

from collections.abc import Callable

import numpy as np
import pytest
from made_balls import UPRIGHT, make_ball_image, plan_for_balls, write_balls

from medseg.core.geometry import Geometry
from medseg.core.task import Task, load_task
from medseg.datasets.manifest import Manifest
from medseg.training.planning.plan import Plan
from medseg.workflows.training.train_model import TrainedModel, train_model


@pytest.fixture(scope="session")
def upright() -> Geometry:
    """The grid of the training images: RAS, anisotropic."""
    return UPRIGHT


@pytest.fixture(scope="session")
def ball_image() -> Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]]:
    """An image and its mask on any grid, by seed."""
    return make_ball_image


@pytest.fixture(scope="session")
def task() -> Task:
    """One label and an MR channel, so that a NIfTI file and a DICOM series can both be given."""
    return load_task("sarcoma_mr")


@pytest.fixture(scope="session")
def ball_data(tmp_path_factory: pytest.TempPathFactory, task: Task) -> Manifest:
    return write_balls(tmp_path_factory.mktemp("balls"), task, range(6))


@pytest.fixture(scope="session")
def ball_plan(task: Task) -> Plan:
    return plan_for_balls(task)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, ball_data: Manifest, ball_plan: Plan) -> TrainedModel:
    return train_model(ball_data, 0, tmp_path_factory.mktemp("run") / "run", plan=ball_plan)
