"""A task that a tiny network learns in seconds: a bright ball in noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from medseg.core.task import load_task
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.training.augment import AugmentationConfig
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import EpochRecord
from medseg.training.planning.plan import Plan, TrainingSpec


class Silence:
    """An observer that listens to nothing."""

    def step_ended(self, fraction: float, loss: float) -> None: ...

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None: ...


@pytest.fixture
def observer() -> Silence:
    return Silence()


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Three epochs of three steps, repeatable."""
    model = ModelSpec(
        task=load_task("sarcoma_pet"),
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),)),
        network=UNet3DConfig(
            channels=(4, 8, 8), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=(12, 12, 12)),
    )
    training = TrainingSpec(
        batch_size=2,
        steps_per_epoch=3,
        epochs=3,
        warm_up_steps=2,
        deterministic=True,
        augmentation=AugmentationConfig(rotation_degrees=5.0),
    )
    return Plan(model=model, training=training)


def ball_case(name: str, seed: int, shape: tuple[int, int, int] = (14, 12, 13)) -> PreparedCase:
    generator = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    centre = generator.uniform(4, 8, size=3)
    classes = (np.linalg.norm(place - centre, axis=-1) <= 3).astype(np.uint8)
    image = (generator.normal(0, 0.3, shape) + 2 * classes).astype(np.float32)[None]
    return PreparedCase(name, image, classes, (np.argwhere(classes).astype(np.int32),), name * 8)


@pytest.fixture
def cases() -> list[PreparedCase]:
    return [ball_case(f"ball{n}", n) for n in range(4)]


@pytest.fixture
def checkpoint_path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"
