"""Commands that meet other programs, as they are typed."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import InputError, PlanError
from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five cases as nnU-Net keeps them, one voxel of liver each."""
    folder = tmp_path / "Dataset001_Made"
    grid = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    for number, case in enumerate("abcde"):
        image = np.full(grid.shape, number, dtype=np.float32)
        mask = np.zeros(grid.shape, dtype=np.uint8)
        mask[1, 1, 1] = 1
        write_nifti(image, grid, folder / "imagesTr" / f"{case}_0000.nii.gz")
        write_nifti(mask, grid, folder / "labelsTr" / f"{case}.nii.gz")
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "liver": 1, "ignore": 2}}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_folds_of_nnunet_come_in_and_leave_again(raw: Path, tmp_path: Path) -> None:
    splits = [{"train": ["a", "b", "c"], "val": ["d", "e"]}, {"train": ["d", "e"], "val": ["a", "b", "c"]}]
    (tmp_path / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    told = run("data", "list", str(raw), "--output", str(tmp_path / "m"), "--folds", str(tmp_path / "splits.json"))
    assert "5 cases in 2 folds" in told
    assert "note: Voxels of 2 in the masks were judged by nobody" in told
    assert "note: The folds are those of splits.json." in told
    output = tmp_path / "Dataset101_Again"
    told = run("data", "export", str(tmp_path / "m"), "--root", str(raw), "-o", str(output), "--layout", "nnunet")
    assert "5 cases" in told
    assert json.loads((output / "splits_final.json").read_text()) == splits
    image = "imagesTr/a_0000.nii.gz"
    assert (output / image).read_bytes() == (raw / image).read_bytes()


def test_a_manifest_keeps_its_own_folds(raw: Path, tmp_path: Path) -> None:
    run("data", "list", str(raw), "--output", str(tmp_path / "m"))
    (tmp_path / "s.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is a manifest, which has its own folds"):
        run("data", "list", str(tmp_path / "m"), "--output", str(tmp_path / "n"), "--folds", str(tmp_path / "s.json"))


def test_a_tracking_uri_alone_means_mlflow(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "tracking.json").write_text('{"tracker": "tensorboard", "key": "k"}')
    with pytest.raises((InputError, PlanError), match=r"tracked by tensorboard|'medseg\[mlflow\]'"):
        run("train", str(raw), "--output", str(tmp_path), "--tracking-uri", "sqlite:///all.db")


@pytest.mark.parametrize("command", ["export", "data export", "train"])
def test_help_names_the_options(command: str) -> None:
    told = run(*command.split(), "--help")
    wanted = {"export": "--to", "data export": "--layout", "train": "--tracking-uri"}[command]
    assert wanted in told


def test_a_format_that_does_not_exist_is_answered_with_those_that_do() -> None:
    done = CliRunner().invoke(app, ["export", "hippocampus_mr", "--to", "tflite", "--output", "x"])
    assert done.exit_code == 2
    assert "'onnx'" in done.output
    assert "'monai'" in done.output
