from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.core.study import Case
from medseg.core.task import load_task
from medseg.datasets.manifest import CaseRow, DataFile, Manifest, read_facts, read_manifest, write_manifest

FACTS = """
name = "mine"
title = "My data"
task = "task.toml"
folder = "below/mine"
licence = "CC0-1.0"
"""
SHA = "0123456789abcdef" * 4
CASES = f"""case,subject,fold,CT,label,sha256_CT,sha256_label
a,Ann,0,images/a.nii.gz,labels/a.nii.gz,{SHA},unknown
b,Bob,1,images/b.nii.gz,labels/b.nii.gz,,
c,Cid,1,images/c.nii.gz,labels/c.nii.gz,{SHA},{SHA}
d,Dan,test,images/d.nii.gz,,{SHA},
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, task_file: Path) -> Write:
    """Write a manifest folder with these facts and cases."""

    def write(facts: str = FACTS, cases: str | None = CASES) -> Path:
        folder = tmp_path / "manifest"
        folder.mkdir(exist_ok=True)
        (folder / "manifest.toml").write_text(facts, encoding="utf-8")
        (folder / "task.toml").write_text(task_file.read_text(encoding="utf-8"), encoding="utf-8")
        if cases is not None:
            (folder / "cases.csv").write_text(cases, encoding="utf-8")
        return folder

    return write


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


def test_a_manifest_gives_cases_with_whole_paths(write: Write) -> None:
    manifest = read_manifest(write(), Path("/data"))
    assert manifest.task.name == "two_labels"
    assert manifest.cases[0] == Case(
        "a", "Ann", {"CT": Path("/data/below/mine/images/a.nii.gz")}, Path("/data/below/mine/labels/a.nii.gz")
    )
    assert manifest.cases[3].label is None


def test_folds_are_held_out_in_turn_and_the_test_always(write: Write) -> None:
    manifest = read_manifest(write(), Path("/data"))
    assert manifest.folds == (0, 1)
    assert names(manifest.validation(0)) == ["a"]
    assert names(manifest.training(0)) == ["b", "c"]
    assert names(manifest.validation(1)) == ["b", "c"]
    assert names(manifest.training(1)) == ["a"]
    assert names(manifest.test) == ["d"]


def test_a_fold_that_is_not_there_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="data set mine has no fold 2; it has 0, 1"):
        read_manifest(write(), Path("/data")).training(2)


def test_an_empty_cell_of_a_checksum_is_unknown(write: Write) -> None:
    row = read_manifest(write(), Path("/data")).rows[1]
    assert [file.sha256 for file in row.files] == ["unknown", "unknown"]


def test_what_is_written_reads_back_the_same(write: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write(), Path("/data"))
    write_manifest(manifest, tmp_path / "again")
    assert read_manifest(tmp_path / "again", Path("/data")) == manifest


def test_a_shipped_task_is_named_and_not_copied(write: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write(FACTS.replace("task.toml", "lung_nodules_ct")), Path("/data"))
    assert manifest.task == load_task("lung_nodules_ct")
    write_manifest(manifest, tmp_path / "again")
    assert not (tmp_path / "again" / "task.toml").exists()


def test_a_case_without_a_channel_is_not_written(write: Write, tmp_path: Path) -> None:
    manifest = read_manifest(write(), Path("/data"))
    lame = replace(manifest, rows=(CaseRow("e", "Eve", 0, {}, DataFile("labels/e.nii.gz")),))
    with pytest.raises(InputError, match="case e of mine has no file for CT"):
        write_manifest(lame, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_missing_files_are_listed(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "below" / "mine" / "images"
    folder.mkdir(parents=True)
    (folder / "a.nii.gz").touch()
    missing = read_manifest(write(), tmp_path).missing_files()
    assert len(missing) == 6
    assert folder / "a.nii.gz" not in missing


class TestRefused:
    def test_a_folder_without_its_two_files(self, write: Write, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no manifest\.toml in .*nowhere"):
            read_manifest(tmp_path / "nowhere", Path("/data"))
        with pytest.raises(InputError, match=r"no cases\.csv in"):
            read_manifest(write(cases=None), Path("/data"))

    def test_text_that_is_no_toml(self, write: Write) -> None:
        with pytest.raises(InputError, match=r"manifest\.toml is not TOML"):
            read_facts(write("name = "))

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("licence =", "license =", "licence: Field required"),
            ('name = "mine"', 'name = "My data"', "name"),
            ('folder = "below/mine"', 'folder = "/below"', "must be a path inside the data folder"),
            ('folder = "below/mine"', 'folder = "../x"', "must be a path inside the data folder"),
            ('licence = "CC0-1.0"', 'licence = "CC0-1.0"\n[source]\naddress = "ftp://x"', "source.address"),
            ('licence = "CC0-1.0"', 'licence = "CC0-1.0"\n[files]\nchannels = { CT = "a.nii" }', "files.channels.CT"),
        ],
    )
    def test_facts_that_are_not_valid_by_their_place(self, write: Write, old: str, new: str, says: str) -> None:
        with pytest.raises(InputError, match=f"not a valid manifest: .*{says}"):
            read_facts(write(FACTS.replace(old, new)))

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("case,subject", "case,patient", "lacks the column subject; its first line should be case,subject,fold,CT"),
            ("CT,label,", "MR,label,", "lacks the column CT"),
            ("a,Ann,0", "a,Ann,first", "line 2: fold"),
            ("a,Ann,0", "a,Ann,-1", "line 2: fold"),
            ("a,Ann,0", ",Ann,0", "line 2: case"),
            ("a,Ann,0", "a,,0", "line 2: subject"),
            ("images/c.nii.gz", "", "line 4: channels.CT"),
            ("images/c.nii.gz", "../../etc/passwd", "line 4: channels.CT.0: Value error, .*inside the data folder"),
            ("images/c.nii.gz", "C:/c.nii.gz", "inside the data folder"),
            (f"images/a.nii.gz,labels/a.nii.gz,{SHA}", "images/a.nii.gz,labels/a.nii.gz,12", "line 2: channels.CT.1"),
            ("b,Bob", "a,Bob", "lists case a more than once"),
            ("b,Bob,1", "b,Ann,1", "divides subject Ann between folds"),
            ("d,Dan,test", "d,Ann,test", "divides subject Ann between folds"),
        ],
    )
    def test_cases_that_are_not_valid_by_their_line(self, write: Write, old: str, new: str, says: str) -> None:
        with pytest.raises(InputError, match=says):
            read_manifest(write(cases=CASES.replace(old, new)), Path("/data"))

    def test_a_task_that_medseg_does_not_ship(self, write: Write) -> None:
        with pytest.raises(InputError, match="there is no task 'none'"):
            read_manifest(write(FACTS.replace("task.toml", "none")), Path("/data"))


def test_manifests_are_compared_by_their_values(write: Write) -> None:
    first, second = (read_manifest(write(), Path("/data")) for _ in range(2))
    assert first == second
    assert first != Manifest(first.facts, first.task, first.rows, Path("/elsewhere"))
