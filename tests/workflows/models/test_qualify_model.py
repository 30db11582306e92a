"""A model with quality control says of each result how far it can be trusted."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.analysis.evaluation.scores import LabelScores
from medseg.core.errors import InputError, StoreError
from medseg.core.geometry import Geometry
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.exchange.probabilities import read_probability
from medseg.models.bundle import ModelBundle, load_bundle
from medseg.models.inference.ensemble import load_ensemble, save_ensemble
from medseg.models.quality.control import ResultQuality
from medseg.workflows.models.qualify_model import mean_dice, qualify_model
from medseg.workflows.segmenting.segment_study import QUALITY, segment_study
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture(scope="module")
def qualified(
    tmp_path_factory: pytest.TempPathFactory,
    trained: TrainedModel,
    ball_data: Manifest,
    upright: Geometry,
    ball_image: object,
) -> ModelBundle:
    """The ball model, checked on its held-out fold and twelve balls more."""
    folder, rows = tmp_path_factory.mktemp("qualified"), list(ball_data.rows)
    (channel,) = rows[0].channels
    for number in range(200, 212):
        image, truth = ball_image(upright, number)  # type: ignore[operator]
        files = {}
        for kind, array in (("image", image), ("label", truth)):
            path = folder / f"{kind}{number}.nii.gz"
            write_nifti(array, upright, path)
            files[kind] = replace(rows[0].channels[channel], path=str(path))
        name = f"more{number}"
        rows.append(
            replace(rows[0], case=name, subject=name, fold=0, channels={channel: files["image"]}, label=files["label"])
        )
    manifest = replace(ball_data, rows=tuple(rows))
    qualify_model(trained.folder, manifest, 0, folder / "model")
    shutil.copytree(trained.folder, folder / "run" / "fold_0" / "model")
    by_folds = qualify_model(trained.folder, manifest, 1, folder / "by folds", cross_validation=folder / "run")
    made = load_bundle(folder / "model")
    assert by_folds.quality is not None
    assert made.quality is not None
    assert by_folds.quality.predictor == made.quality.predictor
    assert by_folds.quality.fitted_on.endswith("folds 0")
    return made


def test_it_is_kept_with_the_bundle(qualified: ModelBundle, trained: TrainedModel, tmp_path: Path) -> None:
    assert qualified.quality is not None
    assert qualified.sha256 != trained.bundle.sha256
    assert qualified.quality.predictor is not None
    assert (qualified.quality.predictor.cases, qualified.quality.predictor.held) == (14, None)
    assert qualified.quality.gate.scans == 18
    save_ensemble(tmp_path / "two", {"a": qualified, "b": trained.bundle})
    assert load_ensemble(tmp_path / "two").members[0].quality == qualified.quality


def test_a_known_scan_is_predicted_well(qualified: ModelBundle, ball_data: Manifest, tmp_path: Path) -> None:
    report = segment_study(ball_data.cases[0].channels, qualified, tmp_path / "out")
    quality = ResultQuality.model_validate_json((tmp_path / "out" / QUALITY).read_bytes())
    assert quality.predicted is not None
    assert quality.predicted.dice > 0.8
    assert quality.predicted.interval[0] < quality.predicted.dice
    assert max(quality.distances.values()) < 1
    assert not any("unlike" in warning for warning in report.warnings)


def test_a_strange_scan_is_warned_of(
    qualified: ModelBundle, upright: Geometry, ball_image: object, tmp_path: Path
) -> None:
    image, _ = ball_image(upright, 300)  # type: ignore[operator]
    noise = np.random.default_rng(0).normal(0, 200, image.shape)
    write_nifti((image[::-1] + noise).astype(np.float32), upright, tmp_path / "scan.nii.gz")
    report = segment_study({"image": tmp_path / "scan.nii.gz"}, qualified, tmp_path / "out")
    quality = ResultQuality.model_validate_json((tmp_path / "out" / QUALITY).read_bytes())
    assert any("unlike the 18 that the model learned from" in warning for warning in report.warnings)
    assert set(quality.warnings) <= set(report.warnings)


def test_kept_probabilities_are_calibrated(
    qualified: ModelBundle, trained: TrainedModel, ball_data: Manifest, tmp_path: Path
) -> None:
    maps = []
    for name, bundle in (("plain", trained.bundle), ("right", qualified)):
        report = segment_study(ball_data.cases[0].channels, bundle, tmp_path / name, keeps_probabilities=True)
        kept = read_probability(tmp_path / name, report.task)
        assert kept is not None
        maps.append(kept.array / 255)
    assert qualified.quality is not None
    plain, right = maps
    between = (plain > 0.02) & (plain < 0.98)
    odds = (plain[between] / (1 - plain[between])) ** (1 / qualified.quality.temperature)
    assert right[between] == pytest.approx(odds / (1 + odds), abs=0.003)
    assert not (tmp_path / "plain" / QUALITY).exists()


def test_a_result_that_nothing_is_found_in_and_nothing_is_there_is_right() -> None:
    nan = LabelScores("ball", math.nan, math.nan, math.nan, math.nan, 0.0, math.nan, 0.0, 0.0)
    half = replace(nan, dice=0.5)
    assert (mean_dice([nan]), mean_dice([nan, half]), mean_dice([])) == (1.0, 0.5, 1.0)


def test_a_fold_that_was_learned_from_is_refused(trained: TrainedModel, ball_data: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has learned from"):
        qualify_model(trained.folder, ball_data, 1, tmp_path / "model")
    with pytest.raises(InputError, match="too few"):
        qualify_model(trained.folder, ball_data, 0, tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no folds"):
        qualify_model(trained.folder, ball_data, 0, tmp_path / "model", cross_validation=tmp_path / "empty")
    assert not (tmp_path / "model").exists()
