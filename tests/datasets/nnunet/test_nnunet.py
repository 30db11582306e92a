"""nnU-Net's folders: its folds become ours, and a data set leaves for it and comes back the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.task import Task, parse_task
from medseg.datasets.layouts import read_folder
from medseg.datasets.manifest import CaseRow, DataFile, DataSet, Manifest, write_manifest
from medseg.datasets.nnunet.splits import read_splits, with_splits, write_splits
from medseg.datasets.nnunet.write_folder import write_nnunet_folder
from medseg.exchange.read import read_label_map, read_scan

WriteImage = Callable[..., Path]
CONTENT = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}


def row(case: str, subject: str = "", fold: int | None = None) -> CaseRow:
    return CaseRow(case, subject or case, fold, {"CT": DataFile(f"imagesTr/{case}_0000.nii.gz")}, DataFile(case))


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def splits_of(*held_out: str, cases: str = "abcd") -> list[dict[str, list[str]]]:
    return [{"train": sorted(set(cases) - set(held)), "val": list(held)} for held in held_out]


class TestSplits:
    def test_fold_n_holds_what_split_n_holds_out(self, tmp_path: Path) -> None:
        path = write_json(tmp_path / "s.json", splits_of("bd", "a", "c"))
        assert {r.case: r.fold for r in with_splits([row(n) for n in "abcd"], path)} == {"a": 1, "b": 0, "c": 2, "d": 0}

    def test_of_one_part_leave_the_rest_in_a_fold_of_its_own(self, tmp_path: Path) -> None:
        path = write_json(tmp_path / "s.json", splits_of("b"))
        assert {r.case: r.fold for r in with_splits([row(n) for n in "abcd"], path)} == {"a": 1, "b": 0, "c": 1, "d": 1}

    def test_leave_test_cases_and_cases_without_a_mask_in_no_fold(self, tmp_path: Path) -> None:
        path = write_json(tmp_path / "s.json", splits_of("ab", "cd"))
        test = replace(row("t"), channels={"CT": DataFile("imagesTs/t_0000.nii.gz")})
        rows = with_splits([*(row(n) for n in "abcd"), test, replace(row("u"), label=None)], path)
        assert [r.fold for r in rows] == [0, 0, 1, 1, None, None]

    @pytest.mark.parametrize(
        ("splits", "message"),
        [
            (splits_of("ab", "ce", cases="abcde"), r"split 0, names cases that the data set lacks.*: e\. "),
            (splits_of("ab", "c", cases="abc"), r"split 0, leaves cases out that have a mask: d\. "),
            ([{"train": ["a", "b", "c", "d"], "val": ["a"]}], r"split 0, both trains on and holds out: a\. "),
            (splits_of("ab", "bc"), r"split 1, holds out once more: b\. "),
            ([{"train": ["a"]}], "is not a splits_final.json of nnU-Net: 0.val: Field required"),
            ([{"train": ["a"], "val": []}], "is not a splits_final.json of nnU-Net"),
            ({"train": []}, "is not a splits_final.json of nnU-Net"),
        ],
    )
    def test_that_our_folds_cannot_say_are_refused(self, splits: object, message: str, tmp_path: Path) -> None:
        path = write_json(tmp_path / "s.json", splits)
        with pytest.raises(InputError, match=message):
            with_splits([row(n) for n in "abcd"], path)

    def test_that_divide_a_subject_are_refused(self, tmp_path: Path) -> None:
        path = write_json(tmp_path / "s.json", splits_of("ab", "cd"))
        with pytest.raises(InputError, match=r"divides subject Ann between folds"):
            with_splits([row("a"), row("b", "Ann"), row("c", "Ann"), row("d")], path)

    def test_must_be_json_and_there(self, tmp_path: Path) -> None:
        (tmp_path / "s.json").write_text("[", encoding="utf-8")
        with pytest.raises(InputError, match=r"s\.json is not JSON"):
            read_splits(tmp_path / "s.json")
        with pytest.raises(InputError, match="there is no file"):
            read_splits(tmp_path / "t.json")

    def test_make_the_round_trip(self, tmp_path: Path) -> None:
        rows = [row("a", fold=0), row("b", fold=1), row("c", fold=0), row("t")]
        write_splits(rows, tmp_path / "s.json")
        assert json.loads((tmp_path / "s.json").read_text()) == [
            {"train": ["b"], "val": ["a", "c"]},
            {"train": ["a", "c"], "val": ["b"]},
        ]
        assert list(with_splits([replace(r, fold=None) for r in rows[:3]], tmp_path / "s.json")) == rows[:3]
        write_splits(rows[:1], tmp_path / "one.json")
        assert not (tmp_path / "one.json").exists()


class TestFolder:
    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        """A made nnUNet_raw folder of four cases; its files are empty, since folds ask for names alone."""
        folder = tmp_path / "nnUNet_raw" / "Dataset007_Made"
        write_json(folder / "dataset.json", CONTENT)
        for case in "abcd":
            for name in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).touch()
        return folder

    def test_without_a_file_gets_folds_of_our_own(self, raw: Path) -> None:
        assert read_folder(raw).folds == (0, 1, 2, 3)

    @pytest.mark.parametrize("place", ["nnUNet_raw", "nnUNet_preprocessed"])
    def test_finds_the_folds_beside_the_data_and_where_nnunet_keeps_them(
        self, raw: Path, tmp_path: Path, place: str
    ) -> None:
        write_json(tmp_path / place / raw.name / "splits_final.json", splits_of("ad", "bc"))
        manifest = read_folder(raw)
        assert {r.case: r.fold for r in manifest.rows} == {"a": 0, "b": 1, "c": 1, "d": 0}
        assert manifest.facts.notes == ("The folds are those of splits_final.json.",)

    def test_takes_the_file_that_is_named_before_one_that_is_found(self, raw: Path, tmp_path: Path) -> None:
        write_json(raw / "splits_final.json", splits_of("ad", "bc"))
        named = write_json(tmp_path / "mine.json", splits_of("ab", "cd"))
        assert {r.case: r.fold for r in read_folder(raw, splits=named).rows} == {"a": 0, "b": 0, "c": 1, "d": 1}

    def test_of_a_manifest_has_its_own_folds(self, raw: Path, tmp_path: Path) -> None:
        write_manifest(read_folder(raw), tmp_path / "m")
        with pytest.raises(InputError, match="is a manifest, which has its own folds"):
            read_folder(tmp_path / "m", splits=write_json(tmp_path / "s.json", splits_of("ab", "cd")))


class TestExport:
    @pytest.fixture
    def task(self, task_file: Path) -> Task:
        text = task_file.read_text().replace("index = 2", "index = 300")
        return parse_task(text.replace('title = "Two', 'ignored_index = 77\ntitle = "Two'), "made")

    @pytest.fixture
    def manifest(self, tmp_path: Path, task: Task, write_image: WriteImage) -> Manifest:
        """Three cases of two patients, one of them for the test; an NRRD among the NIfTI files, labels 1, 77, 300."""
        rows = []
        for case, subject, fold, ending in (
            ("a", "Ann", 0, "nii.gz"),
            ("b", "Bob", 1, "nrrd"),
            ("t", "Tom", None, "nii.gz"),
        ):
            write_image(tmp_path / "data" / f"{case}.{ending}")
            mask = np.zeros((4, 5, 6), dtype=np.uint16)
            mask[0, 0, :4] = (1, 300, 77, 300)
            write_image(tmp_path / "data" / f"{case}_mask.nii.gz", mask)
            files = {"CT": DataFile(f"{case}.{ending}")}
            rows.append(CaseRow(case, subject, fold, files, DataFile(f"{case}_mask.nii.gz")))
        facts = DataSet(name="made", title="Made", task="task.toml", licence="unknown")
        return Manifest(facts, task, tuple(rows), tmp_path / "data")

    def test_is_a_folder_that_nnunet_and_medseg_read(self, manifest: Manifest, tmp_path: Path) -> None:
        seen: list[tuple[int, int]] = []
        folder = tmp_path / "Dataset101_Made"
        assert write_nnunet_folder(manifest, folder, lambda done, total: seen.append((done, total))) == 3
        assert seen == [(1, 3), (2, 3), (3, 3)]
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert files == [
            "dataset.json", "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTs/t_0000.nii.gz",
            "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "labelsTs/t.nii.gz", "splits_final.json", "subjects.csv",
        ]  # fmt: skip
        described = json.loads((folder / "dataset.json").read_text())
        assert described["labels"] == {"background": 0, "liver": 1, "tumour": 2, "ignore": 3}
        assert described["channel_names"] == {"0": "CT"}
        assert (described["numTraining"], described["file_ending"]) == (2, ".nii.gz")
        assert read_scan(folder / "labelsTr/b.nii.gz").volume.array[0, 0].tolist() == [1, 2, 3, 2, 0, 0]

        back = read_folder(folder)
        assert {r.case: (r.subject, r.fold) for r in back.rows} == {
            "a": ("Ann", 0), "b": ("Bob", 1), "t": ("Tom", None)
        }  # fmt: skip
        assert back.task.ignored_index == 3
        for ours, theirs in zip(manifest.cases, back.cases, strict=True):
            first, second = read_scan(ours.channels["CT"]).volume, read_scan(theirs.channels["CT"]).volume
            np.testing.assert_array_equal(first.array, second.array)
            assert first.geometry.difference(second.geometry) is None
            assert theirs.label is not None
            assert read_label_map(theirs.label, back.task.label_schema).geometry.difference(first.geometry) is None

    def test_replaces_its_own_kind_and_nothing_else(self, manifest: Manifest, tmp_path: Path) -> None:
        folder = tmp_path / "Dataset101_Made"
        folder.mkdir()
        (folder / "thesis.txt").touch()
        with pytest.raises(InputError, match="holds other files and will not be overwritten"):
            write_nnunet_folder(manifest, folder)
        (folder / "dataset.json").touch()
        write_nnunet_folder(manifest, folder)
        assert not (folder / "thesis.txt").exists()

    @pytest.mark.parametrize("name", ["mine", "Dataset1_Mine", "dataset101_Mine", "Dataset101"])
    def test_to_a_name_that_nnunet_does_not_find_is_refused(
        self, manifest: Manifest, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(InputError, match=r"would not find .*Call it Dataset101_Made"):
            write_nnunet_folder(manifest, tmp_path / name)

    def test_of_a_link_out_of_the_data_is_refused_and_leaves_nothing(self, manifest: Manifest, tmp_path: Path) -> None:
        (tmp_path / "data" / "a.nii.gz").rename(tmp_path / "secret.nii.gz")
        (tmp_path / "data" / "a.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(InputError, match="is a link that leads out of the data folder"):
            write_nnunet_folder(manifest, tmp_path / "Dataset101_Made")
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    def test_of_a_link_inside_the_data_is_a_file_of_its_own(self, manifest: Manifest, tmp_path: Path) -> None:
        (tmp_path / "data" / "a.nii.gz").rename(tmp_path / "data" / "x.nii.gz")
        (tmp_path / "data" / "a.nii.gz").symlink_to("x.nii.gz")
        write_nnunet_folder(manifest, tmp_path / "Dataset101_Made")
        assert not (tmp_path / "Dataset101_Made" / "imagesTr" / "a_0000.nii.gz").is_symlink()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"label": None}, "case a has no file for its mask"),
            ({"channels": {}}, "case a has no file for CT"),
            ({"case": "../a"}, r"case '\.\./a' cannot be a part of a file's name"),
            ({"label": DataFile("gone.nii.gz")}, "gone.nii.gz, which does not exist"),
        ],
    )
    def test_of_a_case_that_is_not_whole_is_refused(
        self, manifest: Manifest, tmp_path: Path, change: dict[str, Any], message: str
    ) -> None:
        first, *others = manifest.rows
        with pytest.raises(InputError, match=message):
            write_nnunet_folder(replace(manifest, rows=(replace(first, **change), *others)), tmp_path / "Dataset101_M")
        assert not (tmp_path / "Dataset101_M").exists()
