"""The cache of prepared cases: made once, gone on with, and not believed when it is not what was made."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.study import Case
from medseg.core.task import load_task
from medseg.exchange.nifti import write_nifti
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.training.cases import PreparedCase, prepare_cases

TASK = load_task("sarcoma_mr")
PREPARATION = Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),))
GRID = Geometry.from_spacing((7, 6, 5), (1.0, 1.0, 1.0))


@pytest.fixture
def scans(tmp_path: Path) -> list[Case]:
    """Three scans of noise, each with a mask of one voxel."""
    made = []
    for number in range(3):
        image = np.random.default_rng(number).normal(size=GRID.shape).astype(np.float32)
        mask = np.zeros(GRID.shape, np.uint8)
        mask[number, 2, 3] = 1
        paths = [tmp_path / f"{kind}{number}.nii" for kind in ("image", "mask")]
        write_nifti(image, GRID, paths[0])
        write_nifti(mask, GRID, paths[1])
        made.append(Case(f"case{number}", f"patient{number}", {TASK.channels[0].name: paths[0]}, paths[1]))
    return made


def prepare(scans: list[Case], tmp_path: Path) -> list[PreparedCase]:
    return prepare_cases(scans, TASK, PREPARATION, tmp_path / "prepared")


def folders(tmp_path: Path) -> dict[str, Path]:
    return {path.name.split("-")[0]: path for path in (tmp_path / "prepared").iterdir()}


def inodes(tmp_path: Path) -> dict[str, int]:
    """What changes when a case is made again."""
    return {name: folder.stat().st_ino for name, folder in folders(tmp_path).items()}


def test_a_case_is_made_once_and_mapped_from_disk(scans: list[Case], tmp_path: Path) -> None:
    first = prepare(scans, tmp_path)
    before = inodes(tmp_path)
    again = prepare(scans, tmp_path)
    assert inodes(tmp_path) == before
    for old, new in zip(first, again, strict=True):
        np.testing.assert_array_equal(old.image, new.image)
        assert old.sha256 == new.sha256
    assert isinstance(again[1].image, np.memmap)
    assert again[1].places[0].tolist() == [[1, 2, 3]]
    assert len({case.sha256 for case in again}) == 3


def test_a_preparation_that_was_cut_off_goes_on(scans: list[Case], tmp_path: Path) -> None:
    prepare(scans[:2], tmp_path)
    before = inodes(tmp_path)
    seen: list[tuple[int, int]] = []
    prepare_cases(scans, TASK, PREPARATION, tmp_path / "prepared", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert {name: inodes(tmp_path)[name] for name in before} == before


@pytest.mark.parametrize("name", ["image.npy", "classes.npy", "places.npz", "listing.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "emptied"])
def test_a_damaged_file_is_noticed_and_made_again(name: str, damage: str, scans: list[Case], tmp_path: Path) -> None:
    expected = prepare(scans[:1], tmp_path)[0].image.copy()
    path = folders(tmp_path)["case0"] / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"flipped": flipped, "truncated": content[: len(content) // 2], "emptied": b""}[damage])
    again = prepare(scans[:1], tmp_path)[0]
    np.testing.assert_array_equal(again.image, expected)
    assert again.classes.sum() == 1
    assert len(folders(tmp_path)) == 1


def test_a_cache_of_another_case_is_not_taken_for_this_one(scans: list[Case], tmp_path: Path) -> None:
    """One that was copied over this one's, whole and with hashes that agree."""
    expected = [case.image.copy() for case in prepare(scans, tmp_path)]
    there = folders(tmp_path)
    shutil.rmtree(there["case0"])
    shutil.copytree(there["case1"], there["case0"])
    np.testing.assert_array_equal(prepare(scans, tmp_path)[0].image, expected[0])


def test_other_data_under_the_same_name_size_and_time_is_noticed(scans: list[Case], tmp_path: Path) -> None:
    old = prepare(scans, tmp_path)[0]
    path = scans[0].channels[TASK.channels[0].name]
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-4:] = np.float32(9).tobytes()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    new = prepare(scans, tmp_path)[0]
    assert new.image[0, -1, -1, -1] > old.image[0, -1, -1, -1] + 1
    assert new.sha256 != old.sha256


def test_another_preparation_has_its_own_cache(scans: list[Case], tmp_path: Path) -> None:
    prepare(scans[:1], tmp_path)
    coarse = PREPARATION.model_copy(update={"spacing_mm": (2.0, 1.0, 1.0)})
    made = prepare_cases(scans[:1], TASK, coarse, tmp_path / "prepared")
    assert made[0].image.shape[1:] != GRID.shape
    assert prepare(scans[:1], tmp_path)[0].image.shape[1:] == GRID.shape
