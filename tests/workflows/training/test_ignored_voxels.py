"""Voxels that nobody judged (nnU-Net's label "ignore"), from dataset.json through training to the scores."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.datasets.layouts import read_folder
from medseg.datasets.manifest import Manifest, read_manifest, write_manifest
from medseg.exchange.nifti import write_nifti
from medseg.models.inference.segmenter import Segmentation
from medseg.training.planning.fingerprint import take_fingerprint
from medseg.training.planning.plan import Plan
from medseg.workflows.models.evaluate_model import evaluate_bundle, evaluate_model
from medseg.workflows.training.train_model import train_model


@pytest.fixture
def data(
    tmp_path: Path, upright: Geometry, ball_image: Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]]
) -> Manifest:
    """Four balls as an nnU-Net folder; the six planes at the far end of i, which cut the ball, are value 2: ignore."""
    folder = tmp_path / "Dataset003_Balls"
    for number in range(4):
        image, mask = ball_image(upright, number)
        mask[-6:] = 2
        write_nifti(image, upright, folder / "imagesTr" / f"ball{number}_0000.nii.gz")
        write_nifti(mask, upright, folder / "labelsTr" / f"ball{number}.nii.gz")
    content = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1, "ignore": 2}}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return read_folder(folder)


@dataclass
class Eager:
    """A segmenter that finds the truth where it is known, and a ball in every voxel where it is not."""

    data: Manifest
    call: int = 0

    def segment(self, images: Mapping[str, Volume], progress: object = None) -> Segmentation:
        from medseg.exchange.read import read_label_map

        case = self.data.validation(0)[self.call]
        self.call += 1
        assert case.label is not None
        truth = read_label_map(case.label, self.data.task.label_schema)
        found = np.where(truth.array == 2, 1, truth.array).astype(np.uint8)
        return Segmentation(LabelMap(found, truth.geometry, truth.schema), 0.0)


def test_they_are_scored_as_nothing(data: Manifest) -> None:
    evaluation = evaluate_model(Eager(data), data.task, data.validation(0))
    assert evaluation.summary.by_label["ball"]["dice"].mean == 1.0
    assert evaluation.summary.by_label["ball"]["volume_difference_ml"].mean == 0.0


def test_they_are_trained_on_as_nothing_and_no_fact_of_the_data_counts_them(
    data: Manifest, ball_plan: Plan, tmp_path: Path
) -> None:
    fingerprint = take_fingerprint(data.training(0), data.task)
    assert fingerprint.channels[0].mean == pytest.approx(180, abs=3)  # the ball's; the ignored voxels have about 110
    model = ball_plan.model.model_copy(update={"task": data.task})
    spec = ball_plan.training.model_copy(update={"epochs": 1, "steps_per_epoch": 2})
    trained = train_model(data, 0, tmp_path / "run", plan=Plan(model=model, training=spec))
    for path in (tmp_path / "run" / "prepared").glob("*/classes.npy"):
        assert set(np.unique(np.load(path))) == {0, 1, 255}
        assert (np.load(path)[-6:] == 255).all()

    write_manifest(data, tmp_path / "manifest")
    again = evaluate_bundle(trained.folder, read_manifest(tmp_path / "manifest", data.data_folder), 0)
    assert again.summary.by_label == trained.evaluation.summary.by_label
