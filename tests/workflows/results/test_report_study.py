"""A finished result in other formats: from a folder, a zip, one series of several, a phase, a series with a gap."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import Grid, made_series, save_all
from dicom_results import TASK, images, mask_on, result_folder

from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.exchange.labels import read_labels
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends, scan_of
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.results.report_study import ReportOptions, report_study, require_writable


def _folder(folder: Path) -> tuple[Path, Mends]:
    return save_all(images(Grid()), folder / "image"), Mends()


def _zip(folder: Path) -> tuple[Path, Mends]:
    save_all(images(Grid()), folder / "image")
    with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
        for path in (folder / "image").iterdir():
            archive.write(path, f"study/{path.name}")
    return folder / "scan.zip", Mends()


def _two_series(folder: Path) -> tuple[Path, Mends]:
    save_all(images(Grid()), folder / "image" / "first")
    others = images(Grid(columns=9))
    for one in others:
        one.SeriesInstanceUID += ".9"
        one.SOPInstanceUID += ".9"
        one.SeriesDescription = "the other"
    save_all(others, folder / "image" / "second")
    return folder / "image", Mends(series="the other")


def _two_phases(folder: Path) -> tuple[Path, Mends]:
    slices = images(Grid())
    later = made_series(Grid(), offset=40)
    for number, group in enumerate((slices, later), start=1):
        for one in group:
            one.TemporalPositionIdentifier = number
    for one in later:
        one.StudyDate, one.StudyTime = "20260301", "120000"
    return save_all([*slices, *later], folder / "image"), Mends(phase="2")


def _gap(folder: Path) -> tuple[Path, Mends]:
    slices = images(Grid())
    del slices[3]
    return save_all(slices, folder / "image"), Mends(allow_gaps=True)


@pytest.mark.parametrize("make", [_folder, _zip, _two_series, _two_phases, _gap])
def test_a_result_leaves_in_every_format_whatever_it_was_read_from(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Mends]]
) -> None:
    source, mends = make(tmp_path)
    report = result_folder(source, tmp_path / "result", mends)
    written = report_study(tmp_path / "result", ["csv", "dicom-sr", "rtstruct"], tmp_path / "out")
    assert [path.name for path in written] == ["findings.csv", "segmentation.dcm", "measurements.dcm", "structures.dcm"]
    scan = read_scan(source, series=mends.series, phase=mends.phase, allow_gaps=mends.allow_gaps)
    for name in ("segmentation.dcm", "structures.dcm"):
        back = read_labels(tmp_path / "out" / name, TASK.label_schema, scan.volume.geometry)
        assert np.array_equal(back.label_map.array, mask_on(scan.volume.geometry).array)
    referenced = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm").ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == report.series.series_uid
    count = 5 if make is _gap else 6
    assert len(referenced.ReferencedInstanceSequence) == count


def test_a_scan_in_memory_is_not_read_again_and_must_be_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = _folder(tmp_path)
    result_folder(source, tmp_path / "result")
    report_study(tmp_path / "result", ["dicom-seg", "dicom-sr"], tmp_path / "read")
    scan = read_scan(source)
    monkeypatch.setattr("medseg.workflows.results.report_study.read_again", lambda *_: pytest.fail("it was read again"))
    for path in report_study(tmp_path / "result", ["dicom-seg", "dicom-sr"], tmp_path / "given", scan=scan):
        assert path.read_bytes() == (tmp_path / "read" / path.name).read_bytes()
    other = scan_of(Volume(scan.volume.array + 1, scan.volume.geometry, scan.volume.unit), scan.series)
    with pytest.raises(InputError, match="is not the one that was segmented"):
        report_study(tmp_path / "result", ["dicom-sr"], tmp_path / "other", scan=other)


@pytest.mark.parametrize("make", [_two_series, _two_phases, _gap])
def test_the_viewer_opens_a_result_without_asking_again(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Mends]]
) -> None:
    source, mends = make(tmp_path)
    report = result_folder(source, tmp_path / "result", mends)
    opened = open_study(list_studies(tmp_path / "result")[0])
    assert opened.source_sha256 == report.source_sha256
    assert opened.label_map is not None


def test_beside_the_result_only_what_is_not_there_is_written(tmp_path: Path) -> None:
    source, _ = _folder(tmp_path)
    result_folder(source, tmp_path / "result")
    before = (tmp_path / "result" / "segmentation.nii.gz").stat().st_mtime_ns
    written = report_study(tmp_path / "result", ["nifti", "json", "dicom-seg"])
    assert [path.name for path in written] == ["segmentation.dcm"]
    assert (tmp_path / "result" / "segmentation.nii.gz").stat().st_mtime_ns == before
    assert [entry.kind for entry in list_studies(tmp_path / "result")] == ["result"]


def test_a_probability_on_the_scans_grid_becomes_a_map(tmp_path: Path) -> None:
    source, _ = _folder(tmp_path)
    result_folder(source, tmp_path / "result")
    geometry = read_scan(source).volume.geometry
    write_nifti(np.full(geometry.shape, 0.25, np.float32), geometry, tmp_path / "p.nii.gz")
    given = ReportOptions(probability=tmp_path / "p.nii.gz")
    (path,) = report_study(tmp_path / "result", ["dicom-map"], tmp_path / "out", given)
    assert set(np.frombuffer(pydicom.dcmread(path).FloatPixelData, "<f4").tolist()) == {0.25}
    with pytest.raises(InputError, match="or give a map with --probability"):
        report_study(tmp_path / "result", ["dicom-map"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_scan_that_is_no_dicom_leaves_in_plain_formats_only(tmp_path: Path) -> None:
    source, _ = _folder(tmp_path)
    scan = read_scan(source)
    write_nifti(scan.volume.array, scan.volume.geometry, tmp_path / "scan.nii.gz")
    result_folder(tmp_path / "scan.nii.gz", tmp_path / "result")
    report_study(tmp_path / "result", ["csv", "pdf"], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["findings.csv", "report.pdf"]
    for refused in (
        lambda: report_study(tmp_path / "result", ["pdf", "dicom-sr"], tmp_path / "other"),
        lambda: require_writable(["dicom-sr"], tmp_path / "scan.nii.gz"),
    ):
        with pytest.raises(InputError, match=r"dicom-sr refers to .* DICOM scan, and this scan is none"):
            refused()


def test_a_result_that_is_not_whole_any_more_is_refused(tmp_path: Path) -> None:
    source, _ = _folder(tmp_path)
    report = result_folder(source, tmp_path / "result")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere", source):
        with pytest.raises(InputError, match="is no result folder"):
            report_study(folder, ["csv"], tmp_path / "out")
    with pytest.raises(InputError, match="no new or empty folder"):
        report_study(tmp_path / "result", ["csv"], source)
    with pytest.raises(InputError, match="there is no format 'docx'"):
        report_study(tmp_path / "result", ["docx"], tmp_path / "out")
    fewer = report.model_copy(update={"findings": report.findings[:-1]})
    (tmp_path / "result" / "report.json").write_text(fewer.model_dump_json(), encoding="utf-8")
    with pytest.raises(InputError, match="do not belong together"):
        report_study(tmp_path / "result", ["csv"], tmp_path / "out")
    (tmp_path / "result" / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    save_all(made_series(Grid(), offset=1), source)
    with pytest.raises(InputError, match="is not the one that was segmented"):
        report_study(tmp_path / "result", ["csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
