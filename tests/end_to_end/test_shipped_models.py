"""A shipped model on real scans it never learned from, through the whole chain."""

from pathlib import Path

import pytest

from medseg.core.geometry import Geometry
from medseg.core.task import load_task
from medseg.datasets.manifest import read_manifest
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_scan
from medseg.models.bundle import load_bundle
from medseg.models.store import find_model
from medseg.workflows.models.evaluate_model import evaluate_mask
from medseg.workflows.segmenting.segment_study import MASK, segment_study

MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"


@pytest.mark.real_data
def test_the_hippocampus_of_held_out_patients(real_data: Path, tmp_path: Path) -> None:
    bundle = load_bundle(find_model("hippocampus_mr"))
    manifest = read_manifest(MANIFESTS / "msd_task04_hippocampus", real_data)
    cases = manifest.validation(0)[:3]
    assert not {case.name for case in cases} & set(bundle.provenance.case_sha256)
    for case in cases:
        assert case.label is not None
        report = segment_study(case.channels, bundle, tmp_path / case.name)
        scores = evaluate_mask(tmp_path / case.name / MASK, case.label, load_task("hippocampus_mr"))
        assert all(label.dice > 0.75 for label in scores.labels)
        assert not any("unlike" in warning for warning in report.warnings)
        volumes = {finding.label.name: finding.value("volume") for finding in report.findings}
        assert volumes == {label.label: pytest.approx(label.prediction_ml, rel=1e-4) for label in scores.labels}


@pytest.mark.real_data
def test_a_piece_of_a_head_ct_given_as_a_hippocampus_is_warned_of(real_data: Path, tmp_path: Path) -> None:
    """Cut to the size of the hippocampi that the model learned from, and stored as NIfTI, which names no modality."""
    ct = read_scan(real_data / "dicom_samples" / "slicer_CTHeadAxialDicom").volume
    corner = [max(0, size // 2 - 20) for size in ct.geometry.shape]
    piece = ct.array[corner[0] : corner[0] + 36, corner[1] : corner[1] + 50, corner[2] : corner[2] + 35]
    write_nifti(piece, Geometry.from_spacing(piece.shape, (1.0, 1.0, 1.0)), tmp_path / "piece.nii.gz")
    report = segment_study(
        {"MR": tmp_path / "piece.nii.gz"}, load_bundle(find_model("hippocampus_mr")), tmp_path / "out"
    )
    assert any("unlike the 200 that the model learned from" in warning for warning in report.warnings)
