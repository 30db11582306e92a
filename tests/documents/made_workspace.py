"""A folder that holds everything the commands of README and docs name, made and small.

scan.nii.gz, pet.nii.gz, cta.nii.gz, vessel_map.nii.gz, vein_map.nii.gz, dicom_folder/, study.zip, scans/, scans.txt
my_folder/ (images/ and labels/), manifests/mine, DATA, MODEL, runs/mine, models (a registry with a champion)
results/march and results/june, one of them corrected by a reader
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.datasets.layouts import read_folder
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.bundle import load_bundle
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.scans.data_sets import list_data_set
from medseg.workflows.segmenting.segment_study import segment_study
from medseg.workflows.training.train_model import train_model

GRID = Geometry.from_spacing((20, 18, 16), (2.0, 2.0, 2.5), (-20.0, 5.0, 30.0))
CASES = 6


def ball(seed: int, radius_mm: float = 9.0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A noisy image with a bright ball off the middle, and the ball."""
    generator = np.random.default_rng(seed)
    index = np.moveaxis(np.indices(GRID.shape), 0, -1)
    centre = GRID.centre_mm + np.array([6.0, 4.0, 0.0]) + generator.uniform(-2, 2, 3)
    truth = np.linalg.norm(GRID.world(index) - centre, axis=-1) <= radius_mm
    return (100 + 10 * generator.normal(size=GRID.shape) + 80 * truth).astype(np.float32), truth.astype(np.uint8)


def make_workspace(folder: Path) -> Path:
    """Fills the folder; the model in it is trained for some seconds and finds the balls."""
    for number in range(CASES):
        image, mask = ball(number)
        write_nifti(image, GRID, folder / "my_folder" / "images" / f"case{number}.nii.gz")
        write_nifti(mask, GRID, folder / "my_folder" / "labels" / f"case{number}.nii.gz")
    _make_model(folder)
    _make_scans(folder)
    _make_vessel(folder)
    _make_results(folder)
    return folder


def _make_model(folder: Path) -> None:
    task = load_task("sarcoma_mr")
    data = list_data_set(read_folder(folder / "my_folder", task), folder / "manifests" / "mine")
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    model = ModelSpec(
        task=task,
        preparation=Preparation(spacing_mm=GRID.spacing_mm, normalization=(ZScore(),)),
        network=UNet3DConfig(channels=(4, 8, 8), strides=strides, kernel_sizes=((3, 3, 3),) * 3),
        window=SlidingWindow(patch=(20, 20, 16)),
    )
    steps = TrainingSpec(
        batch_size=2, steps_per_epoch=15, epochs=8, average_decay=0.8, learning_rate=1e-2, warm_up_steps=3
    )
    run = train_model(data, 0, folder / "runs" / "mine", plan=Plan(model=model, training=steps))
    shutil.copytree(run.folder, folder / "MODEL")
    registry = Registry(folder / "models")
    registry.add(run.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")


def _make_vessel(folder: Path) -> None:
    """A straight vessel of 8 mm that is 4 mm wide over some 10 mm, as a mask."""
    i, j, k = np.indices((32, 32, 80))
    radius_mm = np.where(np.abs(k - 40) < 10, 2.0, 4.0)
    vessel = np.hypot(i - 16, j - 16) * 0.5 <= radius_mm
    grid = Geometry.from_spacing((32, 32, 80), (0.5, 0.5, 0.5))
    for name in ("vessel_map.nii.gz", "vein_map.nii.gz"):
        write_nifti(vessel.astype(np.uint8), grid, folder / name)


def _make_results(folder: Path) -> None:
    bundle = load_bundle(folder / "MODEL")
    for name in ("march", "june"):
        segment_study({"image": folder / "scan.nii.gz"}, bundle, folder / "results" / name)
    opened = open_study(list_studies(folder / "results")[0])
    assert opened.label_map is not None
    assert opened.report is not None
    drawn = LabelMap(ball(11, radius_mm=12.0)[1], opened.label_map.geometry, opened.label_map.schema)
    store = CorrectionStore(folder / "results" / REVIEW_FOLDER)
    store.correct(drawn, opened.label_map, opened.source_sha256, opened.report.task.name, by=Signature("jane"))


def _make_scans(folder: Path) -> None:
    for name, seed in (("scan", 11), ("scans/anna", 12), ("scans/bert", 13), ("pet", 14), ("truth", 15)):
        image, mask = ball(seed)
        write_nifti(mask if name == "truth" else image, GRID, folder / f"{name}.nii.gz")
    (folder / "scans.txt").write_text("scans/anna.nii.gz\nscans/bert.nii.gz\n", encoding="utf-8")
    study = Study(patient_id="made", patient_name="Made^Study", date="20260101", description="Made, no patient")
    write_series(Volume(ball(16)[0], GRID), folder / "dicom_folder", Series(study, "MR"))
    shutil.make_archive(str(folder / "study"), "zip", folder / "dicom_folder")
    shutil.copytree(folder / "my_folder", folder / "DATA")
