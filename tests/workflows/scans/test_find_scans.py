import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Modality, Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.workflows.scans.find_scans import FoundScans, find_scans

TASK = load_task("hippocampus_mr")
GRID = Geometry.from_spacing((6, 5, 4), (1.0, 1.0, 2.0))
OUTPUT = Path("/nowhere/output")
WriteSeries = Callable[..., Path]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def series() -> WriteSeries:
    """Write a small DICOM series into a folder."""

    def write(folder: Path, modality: Modality = "MR") -> Path:
        voxels = np.arange(120, dtype=np.int16).reshape(GRID.shape)
        noun = Series(Study("P1"), modality, description=folder.name)  # a series of another name has another UID
        write_series(Volume(voxels, GRID), folder, noun)
        return folder

    return write


def names(found: FoundScans) -> list[str]:
    return [scan.name for scan in found.scans]


def test_image_files_of_a_tree_are_named_by_their_places(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "sub/b.nrrd", "sub/deeper/c d.mha", "notes.txt", ".hidden.nii.gz")
    found = find_scans(tmp_path, TASK, OUTPUT)
    assert names(found) == ["a", "sub_b", "sub_deeper_c_d"]
    assert found.scans[1].sources == {"MR": tmp_path / "sub" / "b.nrrd"}
    assert [(passed.path.name, passed.reason) for passed in found.passed_over] == [("notes.txt", "it is not DICOM")]


def test_names_that_collide_are_told_apart(tmp_path: Path) -> None:
    found = find_scans(touch(tmp_path, "a/b.nii.gz", "a_b.nii.gz", "A_B.nrrd"), TASK, OUTPUT)
    assert len(set(names(found))) == 3
    assert names(find_scans(tmp_path, TASK, OUTPUT)) == names(found)


def test_a_name_that_is_no_utf8_is_passed_over_and_can_be_written_down(tmp_path: Path) -> None:
    for name in (b"caf\xe9.nii.gz", b"caf\xe9.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"1")
    found = find_scans(touch(tmp_path, "a.nii.gz"), TASK, OUTPUT)
    assert names(found) == ["a"]
    told = {str(passed.path): passed.reason for passed in found.passed_over}
    assert told[f"{tmp_path}/caf\\xe9.nii.gz"] == "its name, or a folder's above it, is not UTF-8. Rename it."
    assert told[f"{tmp_path}/caf\\xe9.txt"] == "it is not DICOM"


def test_each_series_of_the_right_modality_is_a_scan(tmp_path: Path, series: WriteSeries) -> None:
    series(tmp_path / "patient" / "one")
    series(tmp_path / "patient" / "two")
    series(tmp_path / "ct", "CT")
    found = find_scans(tmp_path, TASK, OUTPUT)
    assert [scan.sources["MR"] for scan in found.scans] == [tmp_path / "patient" / "one", tmp_path / "patient" / "two"]
    (passed,) = found.passed_over
    assert passed.path == tmp_path / "ct"
    assert passed.reason.endswith("is of the modality CT; the model takes MR")


def test_two_series_in_one_folder_are_two_scans(tmp_path: Path, series: WriteSeries) -> None:
    series(tmp_path / "one")
    series(tmp_path / "two")
    for number, path in enumerate(sorted(tmp_path.rglob("*.dcm"))):
        path.rename(tmp_path / f"{number}.dcm")
    found = find_scans(tmp_path, TASK, OUTPUT)
    assert len({scan.series["MR"] for scan in found.scans}) == 2
    assert [scan.sources["MR"] for scan in found.scans] == [tmp_path, tmp_path]
    assert len({scan.sha256 for scan in found.scans}) == 2


def test_results_are_no_scans(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "out/results/a/segmentation.nii.gz", "old/a/report.json", "old/a/segmentation.nii.gz")
    assert names(find_scans(tmp_path, TASK, tmp_path / "out")) == ["a"]


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    first = find_scans(touch(tmp_path, "a.nii.gz"), TASK, OUTPUT).scans[0].sha256
    assert find_scans(tmp_path, TASK, OUTPUT).scans[0].sha256 == first
    (tmp_path / "a.nii.gz").write_bytes(b"other")
    assert find_scans(tmp_path, TASK, OUTPUT).scans[0].sha256 != first


def test_a_list_of_paths_may_name_files_and_folders(tmp_path: Path) -> None:
    touch(tmp_path / "data", "a.nii.gz", "b.nii.gz")
    (tmp_path / "list.txt").write_text("data/b.nii.gz\n\ndata\nnone.nii.gz\n")
    found = find_scans(tmp_path / "list.txt", TASK, OUTPUT)
    assert [scan.sources["MR"].name for scan in found.scans] == ["a.nii.gz", "b.nii.gz", "b.nii.gz"]
    assert [passed.reason for passed in found.passed_over] == ["it does not exist"]


def test_a_table_names_the_channels(tmp_path: Path) -> None:
    task = load_task("brain_tumour_mr")
    touch(tmp_path, "1.nii.gz", "2.nii.gz", "3.nii.gz", "4.nii.gz")
    (tmp_path / "list.csv").write_text("case,FLAIR,T1,T1CE,T2\nAnn B,1.nii.gz,2.nii.gz,3.nii.gz,4.nii.gz\n")
    (scan,) = find_scans(tmp_path / "list.csv", task, OUTPUT).scans
    assert scan.name == "Ann_B"
    assert scan.sources["T1CE"] == tmp_path / "3.nii.gz"


def test_a_manifest_names_the_channels(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("images/a", "labels/a"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        write_nifti(np.ones(GRID.shape, dtype=np.uint8), GRID, data / f"{name}.nii.gz")
    facts = 'name = "d"\ntitle = "d"\ntask = "hippocampus_mr"\nlicence = "unknown"\nfolder = "data"\n'
    (tmp_path / "manifest.toml").write_text(facts)
    header = "case,subject,fold,MR,label,sha256_MR,sha256_label\n"
    (tmp_path / "cases.csv").write_text(f"{header}a,a,0,images/a.nii.gz,labels/a.nii.gz,,\n")
    (scan,) = find_scans(tmp_path, TASK, OUTPUT, data_root=tmp_path).scans
    assert (scan.name, scan.sources) == ("a", {"MR": data / "images" / "a.nii.gz"})


class TestRefused:
    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"there is no .*none"):
            find_scans(tmp_path / "none", TASK, OUTPUT)

    def test_a_tree_for_a_model_of_four_channels(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"takes 4 channels.*a \.csv file with the columns case, FLAIR, T1, T1CE, T2"
        ):
            find_scans(tmp_path, load_task("brain_tumour_mr"), OUTPUT)

    def test_a_table_without_a_channel(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("case,CT\na,a.nii\n")
        with pytest.raises(InputError, match=r"lacks the columns MR; it has case, CT"):
            find_scans(tmp_path / "list.csv", TASK, OUTPUT)
