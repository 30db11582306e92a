"""What a folder offers to read, and what comes of opening it: whole, damaged, and doubtful studies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_label_map, write_volume
from medseg.workflows.results.open_study import in_unit_of_task, list_studies, open_study

TASK = load_task("phantom_ct")
GRID = Geometry.from_spacing((6, 5, 4), (1.0, 2.0, 3.0))


def write_result(folder: Path, source: Path, grid: Geometry = GRID) -> Path:
    values = np.arange(120, dtype=np.int16).reshape(GRID.shape)
    write_volume(Volume(values, GRID), source)
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 2, 1] = 2
    write_label_map(LabelMap(labels, grid, TASK.label_schema), folder / "segmentation.nii.gz")
    report = Report(
        series=Series(Study(patient_name="Doe^Jane"), "CT"),
        source=source,
        source_sha256=read_scan(source).sha256,
        task=TASK,
        model=ModelIdentity(name="unet", sha256="0" * 64, medseg_version="0.1.0"),
        findings=(),
        warnings=("the scan is short",),
        created=datetime(2026, 3, 12, tzinfo=UTC),
        duration_s=1.0,
    )
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return folder


def test_a_result_opens_with_scan_mask_and_report(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / "a", tmp_path / "scans" / "a.nii.gz")
    (entry,) = list_studies(tmp_path / "out")
    assert (entry.name, entry.kind, entry.problem) == ("a", "result", None)
    opened = open_study(entry)
    assert opened.volume.array[1, 2, 3] == 1 * 20 + 2 * 4 + 3
    assert opened.volume.unit == "HU"
    assert opened.label_map is not None
    assert np.argwhere(opened.label_map.array == 2).tolist() == [[1, 2, 1]]
    assert opened.series.study.patient_name == "Doe^Jane"
    assert opened.warnings == ("the scan is short",)


def test_the_folder_may_be_the_result_itself(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "a", tmp_path / "a.nii.gz")
    assert [entry.name for entry in list_studies(folder)] == ["a"]


def test_plain_scans_are_listed_after_results_and_open_without_a_mask(tmp_path: Path) -> None:
    write_result(tmp_path / "z_result", tmp_path / "a_scan.nii.gz")
    entries = list_studies(tmp_path)
    assert [(entry.name, entry.kind) for entry in entries] == [("z_result", "result"), ("a_scan.nii.gz", "scan")]
    opened = open_study(entries[1])
    assert opened.label_map is None
    assert opened.report is None
    assert opened.volume.unit == "arbitrary"


class TestAJobOfTheService:
    """A folder with images/, result/ and objects/, as a worker leaves it."""

    def job(self, work: Path) -> Path:
        folder = work / "0123456789abcdef"
        write_result(folder / "result", folder / "images" / "scan.nii.gz")
        report = Report.model_validate_json((folder / "result" / "report.json").read_text())
        as_service = report.model_copy(update={"source": folder / "images"})
        (folder / "result" / "report.json").write_text(as_service.model_dump_json())
        shutil.copytree(folder / "images", folder / "objects")
        return folder

    def names(self, folder: Path) -> list[str]:
        return [entry.name for entry in list_studies(folder)]

    def test_only_its_result_is_listed(self, tmp_path: Path) -> None:
        folder = self.job(tmp_path / "work")
        assert self.names(tmp_path / "work") == ["0123456789abcdef/result"]
        shutil.rmtree(folder / "images")
        assert self.names(tmp_path / "work") == ["0123456789abcdef/result"]
        assert self.names(folder) == ["result"]

    def test_before_there_is_a_result_its_scan_is(self, tmp_path: Path) -> None:
        folder = self.job(tmp_path / "work")
        shutil.rmtree(folder / "result")
        shutil.rmtree(folder / "objects")
        assert self.names(tmp_path / "work") == ["0123456789abcdef/images/scan.nii.gz"]

    def test_what_lies_beside_a_result_of_another_scan_stays_listed(self, tmp_path: Path) -> None:
        folder = self.job(tmp_path / "work")
        write_result(folder / "result", tmp_path / "elsewhere.nii.gz")
        write_result(folder / "more", tmp_path / "elsewhere.nii.gz")
        job = "0123456789abcdef"
        results = [f"{job}/more", f"{job}/result"]
        assert self.names(tmp_path / "work") == [*results, f"{job}/images/scan.nii.gz", f"{job}/objects/scan.nii.gz"]

    def test_a_damaged_report_hides_nothing(self, tmp_path: Path) -> None:
        folder = self.job(tmp_path / "work")
        (folder / "result" / "report.json").write_text("{")
        assert len(self.names(tmp_path / "work")) == 3


def test_ids_stay_and_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_result(tmp_path / name, tmp_path / f"{name}.nii.gz")
    first, again = list_studies(tmp_path), list_studies(tmp_path)
    assert [entry.id for entry in first] == [entry.id for entry in again]
    assert len({entry.id for entry in first}) == 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "report.json of a is damaged: Invalid JSON"),
        (b"{}", "report.json of a is damaged: series: Field required"),
        (b"\xff\xfe", "report.json of a is damaged: it is not text"),
    ],
)
def test_a_damaged_report_is_listed_with_its_reason(tmp_path: Path, content: bytes, sentence: str) -> None:
    folder = write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz")
    (folder / "report.json").write_bytes(content)
    (entry,) = list_studies(tmp_path / "out")
    assert entry.problem is not None
    assert entry.problem.startswith(sentence)
    with pytest.raises(InputError, match="damaged"):
        open_study(entry)


@pytest.mark.parametrize("missing", ["report.json", "segmentation.nii.gz"])
def test_half_a_result_is_listed_with_its_reason(tmp_path: Path, missing: str) -> None:
    folder = write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz")
    (folder / missing).unlink()
    (entry,) = list_studies(tmp_path / "out")
    assert entry.problem is not None
    assert missing in entry.problem


def test_an_unfinished_result_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / ".medseg-unfinished-x1", tmp_path / "a.nii.gz")
    (entry,) = list_studies(tmp_path / "out")
    assert entry.problem is not None
    assert "being written, or was never finished" in entry.problem


def test_a_folder_that_is_removed_while_it_is_listed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_result(tmp_path / "out" / "kept", tmp_path / "a.nii.gz")
    (tmp_path / "out" / "removed").mkdir()
    iterdir = Path.iterdir

    def iterdir_of_one_that_goes(folder: Path) -> Iterator[Path]:
        if folder.name == "removed":
            folder.rmdir()
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir_of_one_that_goes)
    assert [entry.name for entry in list_studies(tmp_path / "out")] == ["kept"]


def test_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / ".cache" / "a", tmp_path / "a.nii.gz")
    assert list_studies(tmp_path / "out") == ()


def test_a_missing_source_is_a_sentence(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").unlink()
    (entry,) = list_studies(tmp_path / "out")
    with pytest.raises(InputError, match=r"no longer at .*a\.nii\.gz\. Bring it back"):
        open_study(entry)


def test_a_mask_on_another_grid_is_left_out_with_the_reason(tmp_path: Path) -> None:
    shifted = Geometry.from_spacing(GRID.shape, GRID.spacing_mm, (0.0, 0.0, 7.0))
    write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz", shifted)
    opened = open_study(list_studies(tmp_path / "out")[0])
    assert opened.label_map is None
    assert any("another grid than the scan: the grids lie up to 7.000 mm apart" in text for text in opened.warnings)


def test_an_unreadable_mask_is_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz")
    (folder / "segmentation.nii.gz").write_bytes(b"not an image")
    opened = open_study(list_studies(tmp_path / "out")[0])
    assert opened.label_map is None
    assert any("mask is not shown, because it cannot be read" in text for text in opened.warnings)


def test_a_scan_that_changed_is_doubtful(tmp_path: Path) -> None:
    write_result(tmp_path / "out" / "a", tmp_path / "a.nii.gz")
    write_volume(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "a.nii.gz")
    opened = open_study(list_studies(tmp_path / "out")[0])
    assert opened.label_map is not None
    assert any("not the one that was segmented" in text for text in opened.warnings)


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        list_studies(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("task", "unit"), [("sarcoma_pet", "SUVbw"), ("phantom_ct", "HU"), ("sarcoma_mr", "arbitrary")]
)
def test_a_scan_without_a_unit_is_in_that_of_its_task(task: str, unit: str) -> None:
    grid = Geometry.from_spacing((2, 2, 2), (1.0, 1.0, 1.0))
    report = Report(
        series=Series(Study(), "OT"), source=Path("scan.nii.gz"), source_sha256="0" * 64, task=load_task(task),
        model=ModelIdentity(name="m", sha256="0", medseg_version="0"), findings=(), duration_s=1.0,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    assert in_unit_of_task(Volume(np.zeros(grid.shape), grid), report).unit == unit
    assert in_unit_of_task(Volume(np.zeros(grid.shape), grid, "Bq/ml"), report).unit == "Bq/ml"
