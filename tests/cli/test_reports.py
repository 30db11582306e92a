"""`medseg report`, `medseg deidentify`, `medseg segment --format`, and the mends of `medseg inspect`."""

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import Grid, made_series, save_all

from medseg.cli import main
from medseg.cli.commands.reports import Format
from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_scan
from medseg.exchange.reports.formats import WRITERS
from medseg.models.bundle import Provenance, save_bundle
from medseg.models.spec import ModelSpec


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["medseg", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def bundle(tmp_path: Path, spec: ModelSpec, weights: dict, provenance: Provenance) -> Path:  # type: ignore[type-arg]
    save_bundle(tmp_path / "model", spec, weights, provenance, None)
    return tmp_path / "model"


@pytest.fixture
def mr(tmp_path: Path) -> Path:
    slices = made_series(Grid(count=16, rows=16, columns=16, step=1.0))
    for one in slices:
        one.Modality = "MR"
        one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    return save_all(slices, tmp_path / "mr")


def test_the_formats_on_the_command_line_are_those_that_are_written() -> None:
    assert [one.value for one in Format] == list(WRITERS)


def test_segment_writes_further_formats_beside_the_result(
    tmp_path: Path, bundle: Path, mr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    wanted = ("--format", "dicom-sr", "--format", "rtstruct", "--format", "pdf")
    assert run(monkeypatch, "segment", mr, "--model", bundle, "-o", out, *wanted) == 0
    assert {path.name for path in out.iterdir()} == {
        "report.json", "findings.csv", "segmentation.nii.gz", "segmentation.dcm", "measurements.dcm",
        "structures.dcm", "report.pdf",
    }  # fmt: skip
    assert run(monkeypatch, "report", out, "-f", "dicom-pictures", "-o", tmp_path / "more") == 0
    assert pydicom.dcmread(tmp_path / "more" / "pictures.dcm").Modality == "OT"


def test_kept_probabilities_become_a_map_of_the_label_that_is_meant(
    tmp_path: Path, bundle: Path, mr: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, "segment", mr, "--model", bundle, "-o", out, "-f", "dicom-map") == 2
    assert "Say which: --label NAME" in capsys.readouterr().err
    assert not out.exists()
    assert run(monkeypatch, "segment", mr, "--model", bundle, "-o", out, "--probabilities") == 0
    names = {path.name for path in out.iterdir()}
    assert {"probability_anterior_hippocampus.nii.gz", "probability_posterior_hippocampus.nii.gz"} < names
    assert (
        run(monkeypatch, "report", out, "-f", "dicom-map", "--label", "posterior_hippocampus", "-o", tmp_path / "map")
        == 0
    )
    written = pydicom.dcmread(tmp_path / "map" / "probability.dcm")
    shown = np.frombuffer(written.FloatPixelData, "<f4")
    kept = read_scan(out / "probability_posterior_hippocampus.nii.gz").volume.array
    assert np.sort(shown) == pytest.approx(np.sort(kept.ravel()), abs=1e-6)
    given = ("--probability", out / "probability_anterior_hippocampus.nii.gz", "-o", tmp_path / "given")
    assert run(monkeypatch, "report", out, "-f", "dicom-map", *given) == 0
    assert run(monkeypatch, "report", out, "-f", "dicom-map", "--label", "liver", "-o", tmp_path / "no") == 2
    assert "there is that of anterior_hippocampus, posterior_hippocampus" in capsys.readouterr().err


def test_a_nifti_scan_is_refused_before_it_is_segmented(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Geometry.from_spacing((18, 18, 18), (1.0, 1.0, 1.0))
    write_nifti(np.zeros(grid.shape, np.float32), grid, tmp_path / "scan.nii.gz")
    out = tmp_path / "out"
    code = run(monkeypatch, "segment", tmp_path / "scan.nii.gz", "--model", bundle, "-o", out, "-f", "dicom-seg")
    assert code == 2
    assert "dicom-seg refers to the patient, study and images of a DICOM scan" in capsys.readouterr().err
    assert not out.exists()


def test_deidentify_writes_images_without_the_name_and_keeps_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_all(made_series(), tmp_path / "in")
    (source / "note.txt").write_text("Made^Series was here")
    key = tmp_path / "key"
    assert run(monkeypatch, "deidentify", source, tmp_path / "out", "--key", key) == 0
    said = capsys.readouterr().out
    assert "6 images without the patient's name, 1 files left out" in said
    assert "note.txt: it is not DICOM" in said
    assert key.stat().st_mode & 0o777 == 0o600
    assert run(monkeypatch, "deidentify", source, tmp_path / "again", "--key", key) == 0
    assert run(monkeypatch, "deidentify", source, tmp_path / "other") == 0
    names = [pydicom.dcmread(tmp_path / name / "000000.dcm").PatientID for name in ("out", "again", "other")]
    assert names[0] == names[1] != names[2]
    for path in (tmp_path / "out").iterdir():
        assert b"Made^Series" not in path.read_bytes()


def test_deidentify_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_all(made_series(), tmp_path / "in")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for target in (tmp_path / "mine", source):
        assert run(monkeypatch, "deidentify", source, target) == 2
        assert "is no new or empty folder" in capsys.readouterr().err
    assert run(monkeypatch, "deidentify", tmp_path / "nowhere", tmp_path / "out") == 2
    (tmp_path / "short").write_text("abc")
    assert run(monkeypatch, "deidentify", source, tmp_path / "out", "--key", tmp_path / "short") == 2
    assert "the secret has 3 bytes" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert not (tmp_path / "out").exists()


def test_inspect_says_what_would_be_read_with_the_mends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = made_series()
    del slices[3]
    folder = save_all(slices, tmp_path / "gap")
    phases = [*made_series(), *made_series(offset=40)]
    for number, one in enumerate(phases):
        one.TemporalPositionIdentifier = 1 + number // 6
        one.SeriesInstanceUID += ".5"
        one.SOPInstanceUID += ".5"
        one.SeriesDescription = "two times"
    save_all(phases, folder / "phases")

    def outcomes(*arguments: str) -> list[str]:
        assert run(monkeypatch, "inspect", folder, "--json", *arguments) == 0
        found = json.loads(capsys.readouterr().out)
        return [volume["outcome"] for series in found["series"] for volume in series["volumes"]]

    assert outcomes() == ["refused", "choose a phase", "choose a phase"]
    assert outcomes("--allow-gaps") == ["read", "choose a phase", "choose a phase"]
    assert outcomes("--series", "two times") == ["choose a phase", "choose a phase"]
    assert outcomes("--series", "two times", "--phase", "2") == ["read"]
    assert run(monkeypatch, "inspect", folder, "--series", "third") == 2
    assert "is called 'third'; there are: CT series 3" in capsys.readouterr().err
    assert run(monkeypatch, "inspect", folder, "--phase", "7") == 2
    assert "no series" in capsys.readouterr().err
