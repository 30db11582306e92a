"""The main job: a scan in, a result folder out; however it is stored, and never half."""

import csv
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import NOT_FOR_DIAGNOSIS, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_label_map, read_scan
from medseg.models.bundle import load_bundle
from medseg.workflows.models.evaluate_model import score_turned
from medseg.workflows.segmenting.segment_study import named_channels, read_channels, segment_study
from medseg.workflows.training.train_model import TrainedModel

BallImage = Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]]
SEED = 77
MR = Series(Study(patient_id="p"), "MR", description="made")


def oblique_grid() -> Geometry:
    """Another grid over the same place: turned by 20 degrees, stored from the head down, other spacing."""
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) * (-1.8, 2.2, -2.0)
    grid = Geometry((26, 22, 26), affine)
    affine[:3, 3] = np.array([-1.0, 22.0, 48.75]) - grid.centre_mm  # the middle of the upright grid
    return Geometry(grid.shape, affine)


@pytest.mark.parametrize("stored", ["RAS", "LPS", "SAL", "oblique"])
def test_the_mask_lies_on_the_scans_own_grid_over_the_same_anatomy(
    stored: str, trained: TrainedModel, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    grid = oblique_grid() if stored == "oblique" else upright.reoriented(upright.reorientation_to(stored))
    image, truth = ball_image(grid, SEED)
    write_nifti(image, grid, tmp_path / "scan.nii.gz")
    report = segment_study({"scan": tmp_path / "scan.nii.gz"}, trained.bundle, tmp_path / "out")
    mask = read_label_map(tmp_path / "out" / "segmentation.nii.gz", trained.bundle.spec.task.label_schema)
    assert mask.geometry.difference(grid) is None
    scores = score_turned(mask, LabelMap(truth, grid, mask.schema), trained.bundle.spec.task, "ball")
    assert scores.labels[0].dice > 0.8
    (finding,) = report.findings
    assert finding.value("volume") == pytest.approx(truth.sum() * grid.voxel_volume_ml, rel=0.25)
    assert np.linalg.norm(np.subtract(finding.centroid_mm, grid.world(np.argwhere(truth).mean(axis=0)))) < 2.0
    assert mask.array[finding.index] == finding.label.index


@pytest.mark.parametrize(("body_part", "warnings"), [("HEAD", 0), ("CHEST", 1), ("", 0)])
def test_a_scan_of_another_body_part_has_a_warning(
    body_part: str, warnings: int, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    volume = Volume(np.round(ball_image(upright, SEED)[0]), upright)
    write_series(volume, tmp_path / "dicom", replace(MR, body_part=body_part))
    scans = read_channels({"MR": tmp_path / "dicom"}, load_task("hippocampus_mr"))
    assert sum("shows CHEST, and hippocampus_mr is for the head" in one for one in scans["MR"].warnings) == warnings


def test_nifti_dicom_and_zip_of_one_scan_give_the_same_mask(
    trained: TrainedModel, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    image, _ = ball_image(upright, SEED)
    volume = Volume(np.round(image), upright)
    write_nifti(np.round(image), upright, tmp_path / "scan.nii.gz")
    write_series(volume, tmp_path / "dicom", MR)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for path in (tmp_path / "dicom").iterdir():
            archive.write(path, f"study/{path.name}")
    masks = []
    for number, source in enumerate(("scan.nii.gz", "dicom", "scan.zip")):
        segment_study({"scan": tmp_path / source}, trained.bundle, tmp_path / f"out{number}")
        stored = read_label_map(tmp_path / f"out{number}/segmentation.nii.gz", trained.bundle.spec.task.label_schema)
        masks.append(stored.reoriented("RAS"))
    assert masks[0].mask(1).any()
    for other in masks[1:]:
        assert masks[0].geometry.difference(other.geometry) is None
        np.testing.assert_array_equal(other.array, masks[0].array)


def test_the_result_folder_tells_what_how_and_by_whom(
    trained: TrainedModel, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    write_nifti(ball_image(upright, SEED)[0], upright, tmp_path / "scan.nii.gz")
    report = segment_study({"scan": tmp_path / "scan.nii.gz"}, trained.bundle, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.json",
        "segmentation.nii.gz",
        "findings.csv",
    }
    assert Report.model_validate_json((tmp_path / "out/report.json").read_text()) == report
    assert report.model.sha256 == load_bundle(trained.folder).sha256
    assert report.source == (tmp_path / "scan.nii.gz").resolve()
    assert NOT_FOR_DIAGNOSIS in report.limitations
    assert report.duration_s > 0
    if sys.platform == "linux":
        assert report.peak_memory_mb is not None
        assert report.peak_memory_mb > 50  # an interpreter with torch
    with (tmp_path / "out/findings.csv").open() as file:
        rows = list(csv.DictReader(file))
    measured = {(r["measurement"], r["unit"]): float(r["value"]) for r in rows}
    assert measured[("volume", "ml")] == pytest.approx(report.findings[0].value("volume"), rel=1e-4)


def test_each_lesion_tells_how_sure_the_model_is_and_the_probabilities_are_kept_on_request(
    trained: TrainedModel, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    write_nifti(ball_image(upright, SEED)[0], upright, tmp_path / "scan.nii.gz")
    report = segment_study({"scan": tmp_path / "scan.nii.gz"}, trained.bundle, tmp_path / "out")
    kept = segment_study(
        {"scan": tmp_path / "scan.nii.gz"}, trained.bundle, tmp_path / "kept", keeps_probabilities=True
    )
    assert kept.findings == report.findings
    (name,) = (label.name for label in report.task.labels)
    assert not list((tmp_path / "out").glob("probability*"))
    likely = read_scan(tmp_path / "kept" / f"probability_{name}.nii.gz").volume
    mask = read_label_map(tmp_path / "kept" / "segmentation.nii.gz", report.task.label_schema)
    assert likely.geometry.difference(mask.geometry) is None
    assert ((likely.array > 0.51) <= (mask.array > 0)).all()
    (finding,) = report.findings
    assert finding.value("mean_probability") == pytest.approx(likely.array[mask.array > 0].mean(), abs=1e-4)
    volume = next(one for one in finding.measurements if one.name == "volume")
    assert volume.interval is not None
    assert volume.interval[0] < volume.value < volume.interval[1]
    assert {path.name for path in tmp_path.iterdir()} == {"scan.nii.gz", "out", "kept"}


def test_an_earlier_result_is_replaced_and_anything_else_is_left_alone(
    trained: TrainedModel, tmp_path: Path, upright: Geometry, ball_image: BallImage
) -> None:
    scan = tmp_path / "scan.nii.gz"
    write_nifti(ball_image(upright, SEED)[0], upright, scan)
    for _ in range(2):
        segment_study({"scan": scan}, trained.bundle, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files and will not be overwritten"):
        segment_study({"scan": scan}, trained.bundle, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="is a file"):
        segment_study({"scan": scan}, trained.bundle, scan)


def test_a_scan_of_another_modality_is_refused_and_nothing_is_written(
    trained: TrainedModel, tmp_path: Path, upright: Geometry
) -> None:
    write_series(Volume(np.zeros(upright.shape, np.float32), upright, "HU"), tmp_path / "ct", Series(Study(), "CT"))
    with pytest.raises(InputError, match=r"is a CT scan; the channel MR_T1 takes MR"):
        segment_study({"scan": tmp_path / "ct"}, trained.bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if is_unfinished(path)]


def test_channels_are_named() -> None:
    paths = {"PET": Path("p"), "CT": Path("c")}
    assert named_channels(paths, ("CT", "PET")) == {"CT": Path("c"), "PET": Path("p")}
    assert named_channels({"scan": Path("x")}, ("CT",)) == {"CT": Path("x")}
    with pytest.raises(InputError, match=r"takes the channels CT, PET; got CT\. Give each as NAME=PATH"):
        named_channels({"CT": Path("c")}, ("CT", "PET"))


def test_a_scan_of_one_value_is_refused_and_leaves_nothing(
    trained: TrainedModel, tmp_path: Path, upright: Geometry
) -> None:
    write_nifti(np.full(upright.shape, 7, np.float32), upright, tmp_path / "flat.nii.gz")
    with pytest.raises(InputError, match=r"flat\.nii\.gz holds nothing to segment: every voxel is 7"):
        segment_study({"scan": tmp_path / "flat.nii.gz"}, trained.bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
