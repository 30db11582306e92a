"""Bright balls in noise: a data set on disk that a tiny network learns in seconds, and the plan that it learns by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.task import Task
from medseg.datasets.layouts import read_folder
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.training.planning.plan import Plan, TrainingSpec

UPRIGHT = Geometry.from_spacing((20, 18, 16), (2.0, 2.0, 2.5), (-20.0, 5.0, 30.0))
RADIUS_MM = 9.0


def ball_centre_mm(generator: np.random.Generator) -> np.ndarray:
    """Off the middle, towards the patient's right and front; the first that is drawn for an image."""
    return np.asarray(UPRIGHT.centre_mm + np.array([6.0, 4.0, 0.0]) + generator.uniform(-2, 2, 3))


def centre_of(seed: int) -> list[float]:
    """The centre of an image's ball, in RAS+ mm."""
    return [float(value) for value in ball_centre_mm(np.random.default_rng(seed))]


def make_ball_image(geometry: Geometry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in noise, and its mask."""
    generator = np.random.default_rng(seed)
    truth = ball(geometry, ball_centre_mm(generator), RADIUS_MM)
    return (100 + 10 * generator.normal(size=geometry.shape) + 80 * truth).astype(np.float32), truth.astype(np.uint8)


def ball(geometry: Geometry, centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(geometry.world(index) - centre_mm, axis=-1) <= radius_mm)


def write_balls(folder: Path, task: Task, seeds: Iterable[int]) -> Manifest:
    """A data set of one image for each seed."""
    for seed in seeds:
        image, mask = make_ball_image(UPRIGHT, seed)
        write_nifti(image, UPRIGHT, folder / "images" / f"ball{seed}.nii.gz")
        write_nifti(mask, UPRIGHT, folder / "labels" / f"ball{seed}.nii.gz")
    return read_folder(folder, task)


def plan_for_balls(task: Task) -> Plan:
    """Eight epochs of fifteen steps."""
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
