import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.task import Task, load_task
from medseg.datasets.layouts import list_cases, read_folder, rows_of_patterns, with_checksums
from medseg.datasets.manifest import DataSet, FilePatterns, read_manifest, write_manifest

WriteImage = Callable[..., Path]


@pytest.fixture
def task(task_file: Path) -> Task:
    return load_task(task_file)


@pytest.fixture
def pair(tmp_path: Path, write_image: WriteImage, write_mask: WriteImage) -> Path:
    """images/ and labels/ of six cases in two formats, and what else people leave in such folders."""
    folder = tmp_path / "My data"
    for n in range(6):
        write_image(folder / "images" / f"c{n}.nii.gz")
        write_mask(folder / "labels" / f"c{n}.nrrd", 1, 2)
    (folder / "images" / "._c0.nii.gz").write_bytes(b"left by a Mac")
    (folder / "images" / ".medseg-unfinished-x-c9.nii.gz").write_bytes(b"left by a killed writer")
    (folder / "images" / "readme.txt").write_text("not an image")
    return folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


class TestPairOfFolders:
    def test_is_matched_by_names_without_suffixes(self, pair: Path, task: Task) -> None:
        manifest = read_folder(pair, task)
        assert [case.name for case in manifest.cases] == [f"c{n}" for n in range(6)]
        assert manifest.cases[0].channels == {"CT": pair / "images" / "c0.nii.gz"}
        assert manifest.cases[0].label == pair / "labels" / "c0.nrrd"
        assert manifest.facts.name == "my_data"
        assert manifest.missing_files() == ()

    def test_is_split_into_five_folds(self, pair: Path, task: Task) -> None:
        manifest = read_folder(pair, task)
        assert sorted(len(manifest.validation(fold)) for fold in manifest.folds) == [1, 1, 1, 1, 2]
        assert read_folder(pair, task).rows == manifest.rows
        assert read_folder(pair, task, seed=3).rows != manifest.rows

    def test_of_three_cases_is_split_into_three(self, tmp_path: Path, task: Task) -> None:
        names = [f"{folder}/c{n}.nii.gz" for n in range(3) for folder in ("images", "labels")]
        assert read_folder(touch(tmp_path, *names), task).folds == (0, 1, 2)

    def test_of_one_subject_leaves_nothing_to_train_on(self, tmp_path: Path, task: Task) -> None:
        manifest = read_folder(touch(tmp_path, "images/a.nii.gz", "labels/a.nii.gz"), task)
        assert manifest.folds == (0,)
        assert manifest.training(0) == ()

    def test_keeps_images_without_a_mask_for_the_test(self, pair: Path, task: Task) -> None:
        (pair / "labels" / "c3.nrrd").unlink()
        assert [case.name for case in read_folder(pair, task).test] == ["c3"]

    def test_without_a_task_names_the_values_in_its_masks(self, pair: Path, write_mask: WriteImage) -> None:
        write_mask(pair / "labels" / "c5.nrrd", 7)
        manifest = read_folder(pair)
        assert [(label.index, label.name) for label in manifest.task.labels] == [
            (1, "label_1"),
            (2, "label_2"),
            (7, "label_7"),
        ]
        assert [channel.name for channel in manifest.task.channels] == ["image"]

    def test_without_a_task_refuses_masks_with_fractions(self, pair: Path, write_image: WriteImage) -> None:
        write_image(pair / "labels" / "c5.nrrd", np.full((4, 5, 6), 0.5, dtype=np.float32))
        with pytest.raises(InputError, match=r"c5\.nrrd is not a mask: it holds other values than whole numbers"):
            read_folder(pair)

    def test_without_a_task_refuses_empty_masks(self, tmp_path: Path, write_mask: WriteImage) -> None:
        touch(tmp_path, "images/a.nii.gz")
        write_mask(tmp_path / "labels" / "a.nii.gz")
        with pytest.raises(InputError, match="nothing but background"):
            read_folder(tmp_path)

    def test_with_several_channels_goes_by_the_ending_of_the_names(self, tmp_path: Path) -> None:
        names = [f"images/p_1_{name}.nii.gz" for name in ("FLAIR", "T1", "T1CE", "T2")]
        manifest = read_folder(touch(tmp_path, *names, "labels/p_1.nii.gz"), load_task("brain_tumour_mr"))
        (case,) = manifest.cases
        assert case.name == "p_1"
        assert case.channels["T1CE"] == tmp_path / "images" / "p_1_T1CE.nii.gz"

    def test_with_several_channels_refuses_an_image_of_none(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"p\.nii\.gz names no channel: .*<case>_FLAIR"):
            read_folder(touch(tmp_path, "images/p.nii.gz", "labels/p.nii.gz"), load_task("brain_tumour_mr"))

    def test_refuses_a_mask_without_an_image(self, pair: Path, task: Task) -> None:
        touch(pair, "labels/c6.nrrd")
        with pytest.raises(InputError, match=r"c6\.nrrd has no image of the same name"):
            read_folder(pair, task)

    def test_refuses_twins(self, pair: Path, task: Task) -> None:
        touch(pair, "images/c0.mha")
        with pytest.raises(InputError, match="the same name but for the suffix"):
            read_folder(pair, task)

    def test_refuses_a_folder_without_images(self, tmp_path: Path, task: Task) -> None:
        with pytest.raises(InputError, match="holds no image"):
            read_folder(touch(tmp_path, "images/a.txt", "labels/a.nii.gz"), task)


class TestSubjects:
    def test_come_from_subjects_csv_and_stand_in_one_fold(self, pair: Path, task: Task) -> None:
        lines = [f"c{n},{'Ann' if n < 3 else f'p{n}'}" for n in range(6)]
        (pair / "subjects.csv").write_text("\n".join(["case,subject", *lines]), encoding="utf-8")
        manifest = read_folder(pair, task)
        assert [case.subject for case in manifest.cases] == ["Ann", "Ann", "Ann", "p3", "p4", "p5"]
        assert len({row.fold for row in manifest.rows if row.subject == "Ann"}) == 1
        assert manifest.folds == (0, 1, 2, 3)

    def test_must_be_given_for_every_case(self, pair: Path, task: Task) -> None:
        (pair / "subjects.csv").write_text("case,subject\nc0,Ann\nc1,\n", encoding="utf-8")
        with pytest.raises(InputError, match="names no subject for case c1 and 4 more"):
            read_folder(pair, task)

    def test_need_their_columns(self, pair: Path, task: Task) -> None:
        (pair / "subjects.csv").write_text("case,patient\nc0,Ann\n", encoding="utf-8")
        with pytest.raises(InputError, match="lacks the columns case and subject"):
            read_folder(pair, task)


class TestOtherLayouts:
    def test_a_dataset_json_goes_before_a_pair_of_folders(self, pair: Path, task: Task) -> None:
        training = [{"image": "images/c0.nii.gz", "label": "labels/c0.nrrd"}]
        content = {"modality": {"0": "CT"}, "labels": {"0": "b", "1": "liver", "2": "cancer"}, "training": training}
        (pair / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
        manifest = read_folder(pair)
        assert [case.name for case in manifest.cases] == ["c0"]
        assert manifest.task.labels[1].kind == "lesion"

    def test_the_test_folder_of_nnunet_is_kept_for_the_test_even_with_masks(self, tmp_path: Path) -> None:
        cases = [f"{kind}{part}/{n}{end}.nii.gz" for part in ("Tr", "Ts") for n in "abc" for kind, end in
                 (("images", "_0000"), ("labels", ""))]  # fmt: skip
        content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
        (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
        for name in cases:
            touch(tmp_path, name.replace("/", "/s_") if "Ts" in name else name)
        manifest = read_folder(tmp_path)
        assert [case.name for case in manifest.test] == ["s_a", "s_b", "s_c"]
        assert manifest.folds == (0, 1, 2)

    def test_a_manifest_beside_the_data_goes_before_all(self, pair: Path, task: Task) -> None:
        written = with_checksums(read_folder(pair, task))
        write_manifest(written, pair)
        again = read_folder(pair)
        assert again == read_manifest(pair, pair)
        assert again.rows == written.rows
        assert again.task == task
        assert all(len(file.sha256) == 64 for row in again.rows for file in row.files)

    def test_a_folder_of_none_is_refused_with_what_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match=r"no manifest\.toml, no dataset\.json, and no pair of folders \(images/ and"
        ):
            read_folder(tmp_path)

    def test_a_file_is_refused(self, task_file: Path) -> None:
        with pytest.raises(InputError, match="is not a folder"):
            read_folder(task_file)


class TestPatterns:
    PATTERNS = FilePatterns(channels={"CT": "{group}/CTCA/{case}.nrrd"}, label="{group}/Annotations/{case}.nrrd")

    def test_find_images_and_masks_of_a_case(self, tmp_path: Path) -> None:
        names = ["Normal/CTCA/N_1.nrrd", "Normal/Annotations/N_1.nrrd", "Sick/CTCA/S_1.nrrd", "Sick/Other/S_1.nrrd"]
        rows = rows_of_patterns(touch(tmp_path, *names), self.PATTERNS)
        assert [(row.case, row.channels["CT"].path) for row in rows] == [
            ("N_1", "Normal/CTCA/N_1.nrrd"),
            ("S_1", "Sick/CTCA/S_1.nrrd"),
        ]
        assert rows[0].label is not None
        assert rows[1].label is None

    def test_a_word_that_stands_twice_is_the_same_both_times(self, tmp_path: Path) -> None:
        patterns = FilePatterns(channels={"T1": "{case}/{case}_t1.nii.gz", "T2": "{case}/{case}_t2.nii.gz"})
        names = ["a/a_t1.nii.gz", "a/a_t2.nii.gz", "b/c_t1.nii.gz", "d/d_t1.nii.gz", "a/._a_t1.nii.gz"]
        rows = rows_of_patterns(touch(tmp_path, *names), patterns)
        assert [(row.case, sorted(row.channels)) for row in rows] == [("a", ["T1", "T2"]), ("d", ["T1"])]

    def test_signs_of_other_languages_of_patterns_are_taken_as_they_are(self, tmp_path: Path) -> None:
        patterns = FilePatterns(channels={"CT": "a[1].b/{case}.img.nii"})
        rows = rows_of_patterns(touch(tmp_path, "a[1].b/7.img.nii", "a1xb/8.img.nii"), patterns)
        assert [row.case for row in rows] == ["7"]

    def test_two_files_for_one_case_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path, "1-200/CTCA/7.nrrd", "201-400/CTCA/7.nrrd")
        with pytest.raises(InputError, match="both named like case 7"):
            rows_of_patterns(tmp_path, self.PATTERNS)

    def test_fill_a_manifest_once_the_data_is_there(self, tmp_path: Path, task: Task) -> None:
        facts = DataSet(name="asoca", title="t", task="coronary_cta", licence="unknown", files=self.PATTERNS)
        with pytest.raises(InputError, match=r"holds no file named like \{group\}/CTCA/\{case\}\.nrrd. Fetch"):
            list_cases(facts, task, tmp_path)
        touch(tmp_path, *(f"N/{kind}/{n}.nrrd" for n in range(10) for kind in ("CTCA", "Annotations")))
        manifest = list_cases(facts, task, tmp_path)
        assert [len(manifest.validation(fold)) for fold in manifest.folds] == [2] * 5

    def test_are_needed_to_fill_a_manifest(self, tmp_path: Path, task: Task) -> None:
        facts = DataSet(name="mine", title="t", task="coronary_cta", licence="unknown")
        with pytest.raises(InputError, match=r"has no \[files\] table"):
            list_cases(facts, task, tmp_path)


def test_checksums_are_summed_file_by_file(pair: Path, task: Task) -> None:
    seen: list[tuple[int, int]] = []
    manifest = with_checksums(read_folder(pair, task), lambda done, total: seen.append((done, total)))
    assert seen == [(n, 12) for n in range(1, 13)]
    assert len({file.sha256 for row in manifest.rows for file in row.files}) == 7  # six images, and one mask for all
