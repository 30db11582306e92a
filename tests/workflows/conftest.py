"""A data set on disk that a tiny network learns in seconds, and a model trained on it."""

from collections.abc import Callable

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.task import Task, load_task
from medseg.datasets.layouts import read_folder
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.workflows.training.train_model import TrainedModel, train_model

SHAPE = (20, 18, 16)


UPRIGHT = Geometry.from_spacing(SHAPE, (2.0, 2.0, 2.5), (-20.0, 5.0, 30.0))


@pytest.fixture(scope="session")
def upright() -> Geometry:
    """The grid of the training images: RAS, anisotropic."""
    return UPRIGHT


def ball(geometry: Geometry, centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(geometry.world(index) - centre_mm, axis=-1) <= radius_mm)


def make_ball_image(geometry: Geometry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball off the middle, towards the patient's right and front, and its mask."""
    generator = np.random.default_rng(seed)
    truth = ball(geometry, UPRIGHT.centre_mm + np.array([6.0, 4.0, 0.0]) + generator.uniform(-2, 2, 3), 9.0)
    return (100 + 10 * generator.normal(size=geometry.shape) + 80 * truth).astype(np.float32), truth.astype(np.uint8)


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
    folder = tmp_path_factory.mktemp("balls")
    for number in range(6):
        image, mask = make_ball_image(UPRIGHT, number)
        write_nifti(image, UPRIGHT, folder / "images" / f"ball{number}.nii.gz")
        write_nifti(mask, UPRIGHT, folder / "labels" / f"ball{number}.nii.gz")
    return read_folder(folder, task)


@pytest.fixture(scope="session")
def ball_plan(task: Task) -> Plan:
    model = ModelSpec(
        task=task,
        preparation=Preparation(spacing_mm=(2.0, 2.0, 2.5), normalization=(ZScore(),)),
        network=UNet3DConfig(
            channels=(4, 8, 8), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=(20, 20, 16)),
    )
    spec = TrainingSpec(
        batch_size=2, steps_per_epoch=15, epochs=8, average_decay=0.8, learning_rate=1e-2, warm_up_steps=3
    )
    return Plan(model=model, training=spec)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, ball_data: Manifest, ball_plan: Plan) -> TrainedModel:
    return train_model(ball_data, 0, tmp_path_factory.mktemp("run") / "run", plan=ball_plan)
