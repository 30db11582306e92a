"""Two and three scans of one made patient: each lesion's fate, the response, and what is refused."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import Task, load_task
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_label_map, write_volume
from medseg.workflows.results.follow_up import follow_up

TASK = load_task("phantom_ct")
GRID = Geometry.from_spacing((64, 56, 48), (2.0, 2.0, 2.5), (-64.0, -56.0, 0.0))
LESION = 2
Balls = dict[str, tuple[tuple[float, float, float], float]]
BASELINE: Balls = {"grows": ((-20, 0, 60), 9.0), "goes": ((20, 10, 60), 6.0), "stays": ((0, -20, 40), 7.5)}


def made(balls: Balls) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A body of soft tissue with bones to align by, and its lesions."""
    place = GRID.world(np.moveaxis(np.indices(GRID.shape), 0, -1))
    image = np.full(GRID.shape, -1000.0)
    image[((place[..., :2] / (52.0, 44.0)) ** 2).sum(-1) <= 1] = 40
    for x, y in ((-34, 14), (30, 22), (4, 34), (-10, -32)):
        image[np.hypot(place[..., 0] - x, place[..., 1] - y) <= 5 + place[..., 2] / 40] = 600
    labels = np.zeros(GRID.shape, np.uint8)
    for centre, radius in balls.values():
        inside = np.linalg.norm(place - centre, axis=-1) <= radius
        image[inside], labels[inside] = 90, LESION
    return np.asarray(ndimage.gaussian_filter(image, 0.6), np.int16), labels


def write_result(
    folder: Path,
    balls: Balls,
    date: str,
    *,
    moved_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    patient: str = "P1",
    task: Task = TASK,
) -> Path:
    """A result whose patient, lesions and all, lies that much further on than `balls` says."""
    image, labels = made(balls)
    affine = GRID.affine.copy()
    affine[:3, 3] += moved_mm
    grid = Geometry(GRID.shape, affine)
    source = folder.with_name(folder.name + ".nii.gz")
    volume, label_map = Volume(image, grid, "HU"), LabelMap(labels, grid, task.label_schema)
    write_volume(volume, source)
    write_label_map(label_map, folder / "segmentation.nii.gz")
    report = Report(
        series=Series(Study(patient_id=patient, date=date), "CT"),
        source=source,
        source_sha256=read_scan(source).sha256,
        task=task,
        model=ModelIdentity(name="unet", sha256="0" * 64, medseg_version="0.1.0"),
        findings=measure_findings(label_map, task, volume),
        created=datetime(2026, 3, 12, tzinfo=UTC),
        duration_s=1.0,
    )
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return folder


def test_a_moved_patient_whose_lesions_grew_went_stayed_and_came(tmp_path: Path) -> None:
    first = write_result(tmp_path / "first", BASELINE, "20260101")
    by_mm = (6.0, -4.0, 5.0)
    later = {name: BASELINE[name] for name in ("grows", "stays")} | {"new": ((-10.0, 22.0, 80.0), 6.0)}
    later["grows"] = (later["grows"][0], 9.0 * 2 ** (1 / 3))  # twice the volume
    second = write_result(tmp_path / "second", later, "20260402", moved_mm=by_mm)
    voxels = [int(made({"grows": balls["grows"]})[1].astype(bool).sum()) for balls in (BASELINE, later)]

    # Given in the wrong order: the dates say which is first.
    found = follow_up([second, first], tmp_path / "out", is_deformable=False)
    kinds = {change.kind: change for change in found.changes[0]}
    assert sorted(change.kind for change in found.changes[0]) == ["matched", "matched", "new", "vanished"]
    assert found.moved_mm[0] == pytest.approx(np.linalg.norm(by_mm), abs=1.5)
    grown = max((c for c in found.changes[0] if c.kind == "matched"), key=lambda change: change.current_ml)
    assert grown.volume_change_percent == pytest.approx(100 * (voxels[1] / voxels[0] - 1))
    assert grown.volume_change_percent == pytest.approx(100, abs=10)
    assert grown.days == 91
    assert grown.doubling_time_days == pytest.approx(91 / np.log2(voxels[1] / voxels[0]))
    assert kinds["vanished"].prior_ml == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.08)
    (response,) = found.course.responses
    assert response.overall == "PD"
    assert len(response.new_lesions) == 1

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["changes.csv", "course.json", "course.pdf"]
    content = json.loads((tmp_path / "out" / "course.json").read_text())
    assert content["course"]["dates"] == ["2026-01-01", "2026-04-02"]
    assert content["course"]["responses"][0]["overall"] == "PD"
    with (tmp_path / "out" / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert {row["doubling_time_days"] for row in rows if row["change"] in ("new", "vanished")} == {""}
    assert (tmp_path / "out" / "course.pdf").read_bytes().startswith(b"%PDF")
    follow_up([first, second], tmp_path / "out", is_deformable=False)  # an older follow-up there is replaced


def test_without_a_date_the_order_given_counts_and_is_told(tmp_path: Path) -> None:
    first = write_result(tmp_path / "first", BASELINE, "20260101")
    second = write_result(tmp_path / "second", BASELINE, "")
    found = follow_up([first, second], tmp_path / "out", is_deformable=False)
    assert any("scan 2 names no study date" in warning for warning in found.warnings)
    assert {change.kind for change in found.changes[0]} == {"matched"}
    assert found.course.responses[0].overall == "SD"
    assert all(change.days is None for change in found.changes[0])


def test_what_cannot_be_compared_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    first = write_result(tmp_path / "first", BASELINE, "20260101")
    other = write_result(tmp_path / "other", BASELINE, "20260201", patient="P2")
    renamed = TASK.model_copy(
        update={
            "name": "another",
            "labels": tuple(label.model_copy(update={"name": f"my {label.name}"}) for label in TASK.labels),
        }
    )
    foreign = write_result(tmp_path / "foreign", BASELINE, "20260201", task=renamed)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    for results, output, says in (
        ([first], "out", "needs two results or more, got 1"),
        ([first, other], "out", "the prior scan is of patient P1, the current one of P2"),
        ([first, foreign], "out", "is of task another, .* of phantom_ct; their labels differ"),
        ([first, tmp_path / "first.nii.gz"], "out", "is not one result of `medseg segment`"),
        ([first, first], "taken", "holds other files and will not be overwritten"),
    ):
        with pytest.raises(InputError, match=says):
            follow_up(results, tmp_path / output, is_deformable=False)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["notes.txt"]
