"""Files that were handed over: series apart, images as they came, and a sentence for what cannot be shown."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_makers import series_and_report, two_series

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.scans.take_in_scans import TakenIn, take_in_scans

GRID = Geometry.from_spacing((4, 5, 6), (1, 1, 2))


@pytest.fixture
def arrived(tmp_path: Path) -> Path:
    (tmp_path / "arrived").mkdir()
    return tmp_path / "arrived"


def zipped(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder))


def test_two_series_of_a_zip_become_two_scans(tmp_path: Path, arrived: Path) -> None:
    (tmp_path / "made").mkdir()
    two_series(tmp_path / "made")
    zipped(tmp_path / "made", arrived / "disc.zip")
    taken = take_in_scans(arrived, tmp_path / "studies" / "uploads", "disc.zip")
    assert len(taken.scans) == 2
    assert taken.refused == ()
    entries = list_studies(tmp_path / "studies")
    assert [entry.path.parent for entry in entries] == [taken.folder] * 2


def test_what_is_no_scan_is_named_beside_what_is(tmp_path: Path, arrived: Path) -> None:
    series_and_report(arrived)
    write_nifti(np.zeros(GRID.shape, np.int16), GRID, arrived / "scan.nii.gz")
    (arrived / "notes.txt").write_text("hello")
    taken = take_in_scans(arrived, tmp_path / "studies", "../../../etc")
    assert taken.folder == tmp_path / "studies" / "etc"
    assert "scan.nii.gz" in taken.scans
    assert len(taken.scans) == 2
    assert any("notes.txt" in reason for reason in taken.refused)


@pytest.mark.parametrize("name", ["colour.nii.gz", "four.nii.gz", "cut.nii.gz", "bomb.zip", "empty"])
def test_what_cannot_be_shown_is_a_sentence_and_leaves_nothing(tmp_path: Path, arrived: Path, name: str) -> None:
    file = arrived / name
    if name == "colour.nii.gz":
        import nibabel as nib

        colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(colours, np.eye(4)), file)
    elif name == "four.nii.gz":
        import nibabel as nib

        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)), file)
    elif name == "cut.nii.gz":
        write_nifti(
            np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16),
            Geometry.from_spacing((20, 20, 20), (1, 1, 1)),
            file,
        )
        file.write_bytes(file.read_bytes()[:-2000])
    elif name == "bomb.zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros.nii", b"\0" * 200_000_000)
    with pytest.raises(InputError, match=r".{20}"):
        take_in_scans(arrived, tmp_path / "studies", name)
    assert list((tmp_path / "studies").iterdir()) == []


def test_two_uploads_of_one_name_at_once_are_both_kept(tmp_path: Path, arrived: Path) -> None:
    other, into = tmp_path / "other", tmp_path / "studies"
    write_nifti(np.zeros(GRID.shape, np.int16), GRID, arrived / "first.nii.gz")
    write_nifti(np.ones(GRID.shape, np.int16), GRID, other / "second.nii.gz")
    meanwhile: list[TakenIn] = []

    def read_the_other(stage: str, done: float, total: float, note: str = "") -> None:
        if not meanwhile:
            meanwhile.append(take_in_scans(other, into, "head.nii.gz"))

    taken = take_in_scans(arrived, into, "head.nii.gz", read_the_other)
    kept = {path.relative_to(into).as_posix() for path in into.rglob("*.nii.gz")}
    assert kept == {f"{taken.folder.name}/first.nii.gz", f"{meanwhile[0].folder.name}/second.nii.gz"}


def test_a_second_upload_of_one_name_stands_beside_the_first(tmp_path: Path, arrived: Path) -> None:
    for expected in ("scan", "scan_2"):
        write_nifti(np.zeros(GRID.shape, np.int16), GRID, arrived / "a.nii.gz")
        assert take_in_scans(arrived, tmp_path / "studies", "scan.nii.gz").folder.name == expected
