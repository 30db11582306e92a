from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.core.task import Task, load_task
from medseg.datasets.checks import check_manifest
from medseg.datasets.layouts import read_folder, with_checksums
from medseg.datasets.manifest import Manifest

WriteImage = Callable[..., Path]


@pytest.fixture
def task(task_file: Path) -> Task:
    return load_task(task_file)


@pytest.fixture
def sound(tmp_path: Path, task: Task, write_image: WriteImage, write_mask: WriteImage) -> Manifest:
    """Three sound cases a, b, c with checksums; each mask holds one voxel of liver and two of tumour."""
    folder = tmp_path / "data"
    for name in "abc":
        write_image(folder / "images" / f"{name}.nii.gz")
        write_mask(folder / "labels" / f"{name}.nii.gz", 1, 2, 2)
    return with_checksums(read_folder(folder, task))


def image(manifest: Manifest, case: str) -> Path:
    return manifest.data_folder / "images" / f"{case}.nii.gz"


def label(manifest: Manifest, case: str) -> Path:
    return manifest.data_folder / "labels" / f"{case}.nii.gz"


def problems(manifest: Manifest, checksums: bool = False) -> list[str]:
    return [str(problem) for problem in check_manifest(manifest, checksums=checksums).problems]


def test_a_sound_set_has_no_problems_and_a_summary(sound: Manifest) -> None:
    done: list[tuple[int, int]] = []
    result = check_manifest(sound, on_case=lambda now, total: done.append((now, total)))
    assert result.problems == ()
    assert done == [(1, 3), (2, 3), (3, 3)]
    case = result.cases[0]
    assert (case.case, case.shape, case.spacing_mm) == ("a", (4, 5, 6), (1.0, 2.0, 2.5))
    # one voxel is 1 x 2 x 2.5 mm = 0.005 ml
    assert case.label_volumes_ml == pytest.approx({"liver": 0.005, "tumour": 0.01})


def test_the_overview_counts_what_was_read(sound: Manifest) -> None:
    overview = dict(check_manifest(sound).overview())
    assert overview["cases read"] == "3 of 3 subjects"
    assert overview["cases in folds"] == "1, 1, 1"
    assert overview["kept for the test"] == "0"
    assert overview["shape, median"] == "4 x 5 x 6"
    assert overview["spacing in mm, largest"] == "1 x 2 x 2.5"
    assert overview["label tumour"] == "in 3 of 3 masks, median 0.01 ml, 0.01 to 0.01 ml"


def test_the_overview_of_nothing_is_short(sound: Manifest) -> None:
    assert check_manifest(replace(sound, rows=())).overview() == (("cases read", "0 of 0 subjects"),)


def test_a_label_that_no_mask_holds_is_counted_as_none(sound: Manifest, write_mask: WriteImage) -> None:
    for name in "abc":
        write_mask(label(sound, name), 1)
    assert dict(check_manifest(sound, checksums=False).overview())["label tumour"] == "in 0 of 3 masks"


def test_a_missing_file_is_told_and_the_others_are_looked_at(sound: Manifest) -> None:
    image(sound, "a").unlink()
    label(sound, "b").unlink()
    result = check_manifest(sound)
    assert [str(problem) for problem in result.problems] == [
        f"a: {image(sound, 'a')} is missing. Fetch the data set, or correct the path in cases.csv.",
        f"b: {label(sound, 'b')} is missing. Fetch the data set, or correct the path in cases.csv.",
    ]
    assert [case.case for case in result.cases] == ["a", "b", "c"]


def test_a_wrong_checksum_is_told_with_both_numbers(sound: Manifest, write_image: WriteImage) -> None:
    write_image(image(sound, "b"), np.ones((4, 5, 6), dtype=np.float32))
    (found,) = problems(sound, checksums=True)
    assert found.startswith(f"b: {image(sound, 'b')} is not the file of the manifest: its sha256 is ")
    assert sound.rows[1].channels["CT"].sha256[:12] in found
    assert problems(sound, checksums=False) == []


@pytest.mark.parametrize("content", [b"text", b"", b"\x1f\x8b\x08\x00cut off"])
def test_an_unreadable_image_is_told(sound: Manifest, content: bytes) -> None:
    image(sound, "a").write_bytes(content)
    (found,) = problems(sound)
    assert found.startswith("a: CT cannot be read: ")


def test_an_unreadable_mask_is_told(sound: Manifest) -> None:
    label(sound, "a").write_bytes(b"text")
    (found,) = problems(sound)
    assert found.startswith("a: its mask cannot be used: ")


def test_a_label_outside_the_schema_is_told(sound: Manifest, write_mask: WriteImage) -> None:
    write_mask(label(sound, "c"), 1, 3)
    (found,) = problems(sound)
    assert "holds label 3, which the schema does not name (it names labels 1, 2)" in found


def test_a_mask_on_another_grid_is_told_in_mm(sound: Manifest, write_mask: WriteImage) -> None:
    write_mask(label(sound, "c"), 1, shift_mm=1.5)
    (found,) = problems(sound)
    assert found.startswith("c: CT and the mask are on different grids: the grids lie up to 1.500 mm apart")


def test_a_mask_of_another_spacing_is_told_in_mm(sound: Manifest, write_mask: WriteImage) -> None:
    write_mask(label(sound, "c"), 1, spacing_mm=(1.0, 2.0, 2.6))
    (found,) = problems(sound)
    assert "up to 0.500 mm apart" in found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_told(sound: Manifest, value: float, write_image: WriteImage) -> None:
    voxels = np.zeros((4, 5, 6), dtype=np.float32)
    voxels[0, 0, 0] = voxels[3, 4, 5] = value
    write_image(image(sound, "b"), voxels)
    (found,) = problems(sound)
    assert found.startswith("b: CT cannot be read: ")
    assert "not finite numbers" in found


def test_a_channel_too_few_is_told(sound: Manifest) -> None:
    four = replace(sound, task=load_task("brain_tumour_mr"), rows=sound.rows[:1])
    found = problems(four)
    assert found[0].startswith("a: it has the channels CT, and the task brain_tumour_mr needs FLAIR, T1, T1CE, T2.")


def test_channels_of_a_case_on_different_grids_are_told(sound: Manifest, write_image: WriteImage, task: Task) -> None:
    write_image(sound.data_folder / "images" / "a2.nii.gz", shift_mm=3.0)
    row = sound.rows[0]
    second = replace(row.channels["CT"], path="images/a2.nii.gz", sha256="unknown")
    both = replace(
        sound,
        task=task.model_copy(
            update={"channels": (*task.channels, task.channels[0].model_copy(update={"name": "CT2"}))}
        ),
        rows=(replace(row, channels={"CT": row.channels["CT"], "CT2": second}),),
    )
    (found,) = problems(both)
    assert found.startswith("a: CT and CT2 are on different grids: the grids lie up to 3.000 mm apart")


def test_one_image_under_two_subjects_is_told(sound: Manifest) -> None:
    image(sound, "c").write_bytes(image(sound, "a").read_bytes())
    (found,) = problems(sound)
    assert found.startswith("c: its image is that of a, voxel for voxel, under another subject (c and a).")


def test_one_image_twice_under_one_subject_is_no_problem(sound: Manifest) -> None:
    image(sound, "c").write_bytes(image(sound, "a").read_bytes())
    together = replace(sound, rows=tuple(replace(row, subject="Ann") for row in sound.rows))
    assert problems(together) == []


def test_all_problems_are_told_at_once(sound: Manifest, write_mask: WriteImage) -> None:
    image(sound, "a").write_bytes(b"text")
    write_mask(label(sound, "b"), 9)
    image(sound, "c").unlink()
    assert [problem.split(":")[0] for problem in problems(sound)] == ["a", "b", "c"]
