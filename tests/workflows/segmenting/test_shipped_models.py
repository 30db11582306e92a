"""The models that come with medseg find on made scans what they are for; hippocampus_mr and vessels_cta elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.geometry import Geometry
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.datasets.phantoms.study import make_study
from medseg.datasets.phantoms.vessels.study import VesselScene, make_vessel_study, vessel_grid
from medseg.exchange.read import read_label_map
from medseg.exchange.write import write_volume
from medseg.models.inference.ensemble import control_of
from medseg.models.quality.control import ResultQuality
from medseg.models.store import load_model, shipped_models
from medseg.workflows.segmenting.segment_study import QUALITY


def segmented(scan: Volume, model: str, folder: Path) -> tuple[Report, NDArray[np.bool_]]:
    """The report on a scan that `medseg segment` wrote, and where it found anything."""
    write_volume(scan, folder / "scan.nii.gz")
    command = ["segment", str(folder / "scan.nii.gz"), "--model", model, "--output", str(folder / "out")]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    report = Report.model_validate_json((folder / "out" / "report.json").read_bytes())
    return report, read_label_map(folder / "out" / "segmentation.nii.gz", report.task.label_schema).array > 0


def dice(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def test_sarcoma_pet_finds_a_hot_lesion_and_its_uptake(tmp_path: Path) -> None:
    grid = Geometry.from_spacing((48, 48, 32), (4.0, 4.0, 4.0))
    i, j, k = np.indices(grid.shape)
    body = (i - 24) ** 2 + (j - 24) ** 2 < 20**2
    lesion = (i - 28) ** 2 + (j - 24) ** 2 + (k - 16) ** 2 < 5**2
    noise = np.random.default_rng(0).normal(0, 0.08, grid.shape) * body
    uptake = gaussian_filter(0.7 * body + 7.0 * lesion, 1.0) + noise
    report, found = segmented(Volume(uptake.astype(np.float32), grid, "SUVbw"), "sarcoma_pet", tmp_path)
    (sarcoma,) = report.findings
    assert sarcoma.value("maximum_intensity") == pytest.approx(uptake.max(), abs=0.5)
    assert dice(found, lesion) > 0.7


def test_vessels_mra_finds_the_vessels_of_an_angiogram(tmp_path: Path) -> None:
    scene = VesselScene(kind="TOF", lumen_hu=400.0, tissue_hu=120.0, noise_sd_hu=20.0, has_surroundings=False)
    study = make_vessel_study(10_003, "cerebral", geometry=vessel_grid((128, 128, 96)), scene=scene)
    report, found = segmented(study.volume, "vessels_mra", tmp_path)
    assert report.findings[0].label.name == "vessel"
    assert dice(found, study.lumen) > 0.7


def test_hippocampus_mr_warns_of_a_ct(tmp_path: Path) -> None:
    """A NIfTI file names no modality; its voxels, its size and its grey values do."""
    ct = make_study(3).volume
    report, _ = segmented(ct, "hippocampus_mr", tmp_path)
    (warning,) = [one for one in report.warnings if "unlike the 200 that the model learned from" in one]
    assert all(side in warning for side in ("voxel size", "field of view", "grey values"))
    quality = ResultQuality.model_validate_json((tmp_path / "out" / QUALITY).read_bytes())
    assert quality.predicted is not None


def test_the_shipped_models_that_learned_from_patients_have_quality_control() -> None:
    known = {name: control_of(load_model(name)) for name in shipped_models()}
    assert {name for name, quality in known.items() if quality is not None} == {"hippocampus_mr", "sarcoma_pet"}
    hippocampus, sarcoma = known["hippocampus_mr"], known["sarcoma_pet"]
    assert hippocampus is not None
    assert hippocampus.predictor is not None
    assert hippocampus.predictor.held == pytest.approx(hippocampus.predictor.coverage, abs=0.03)
    assert sarcoma is not None
    assert sarcoma.predictor is None
