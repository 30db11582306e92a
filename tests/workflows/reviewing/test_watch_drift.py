"""A folder of results: what to read next, and whether it drifts."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.task import load_task
from medseg.datasets.manifest import Manifest
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.workflows.reviewing.plan_reading import plan_reading
from medseg.workflows.reviewing.watch_drift import DRIFT_LOG, _edit_distance, watch_drift
from medseg.workflows.segmenting.segment_study import REPORT, segment_study
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture
def result(tmp_path: Path, trained: TrainedModel, ball_data: Manifest) -> Path:
    segment_study(ball_data.cases[0].channels, trained.bundle, tmp_path / "one", keeps_probabilities=True)
    return tmp_path / "one"


def copies(result: Path, folder: Path, count: int, warned_from: int) -> None:
    """The same result again and again, a minute apart, of other scans by their hash; from some on with a warning."""
    report = Report.model_validate_json((result / REPORT).read_bytes())
    for number in range(count):
        place = folder / f"study{number:03d}"
        shutil.copytree(result, place)
        one = report.model_copy(
            update={
                "created": report.created + timedelta(minutes=number),
                "warnings": ("odd",) if number >= warned_from else (),
                "source_sha256": f"{number:064x}",
            }
        )
        (place / REPORT).write_text(one.model_dump_json(), encoding="utf-8")


def test_warnings_that_become_many_are_an_alert_and_a_line_in_the_log(result: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    copies(result, folder, 45, warned_from=30)
    report = watch_drift(folder)
    assert len(report.alerts) == 1
    assert report.alerts[0].startswith("drift in scans with warnings")
    (line,) = (folder / DRIFT_LOG).read_text().splitlines()
    assert json.loads(line)["alerts"] == list(report.alerts)


def test_a_steady_folder_has_no_alerts_and_an_empty_one_is_a_sentence(result: Path, tmp_path: Path) -> None:
    copies(result, tmp_path / "results", 40, warned_from=40)
    assert watch_drift(tmp_path / "results").alerts == ()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no results to watch"):
        watch_drift(tmp_path / "empty")


def test_what_is_decided_is_not_read_again_and_what_is_not_known_is_read_first(result: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    copies(result, folder, 3, warned_from=9)
    for path in (folder / "study002").glob("probabilit*"):
        path.unlink()
    report = Report.model_validate_json((folder / "study000" / REPORT).read_bytes())
    store = CorrectionStore(folder / REVIEW_FOLDER)
    store.decide("a" * 64, "accepted", None, report.source_sha256, report.task.name, by=Signature("jane"))
    order = plan_reading(folder, random_share=0)
    assert [one.study for one in order] == ["study002", "study001"]
    assert order[0].doubt is None
    assert order[1].doubt is not None
    assert 0 < order[1].doubt < 0.5


def test_a_second_reading_does_not_hide_how_much_was_corrected(tmp_path: Path) -> None:
    task, grid = load_task("hippocampus_mr"), Geometry.from_spacing((4, 1, 1), (1.0, 1.0, 1.0))
    model, drawn = (
        LabelMap(np.array(labels, np.uint8).reshape(grid.shape), grid, task.label_schema)
        for labels in ([1, 1, 0, 0], [0, 1, 1, 0])
    )
    store = CorrectionStore(tmp_path)
    first = store.correct(drawn, model, "a" * 64, task.name, by=Signature("jane"))
    store.correct(model, model, "a" * 64, task.name, by=Signature("john"), is_second_reading=True)
    assert first.dice is not None
    assert _edit_distance(store.history("a" * 64, task.name)) == 1 - first.dice > 0
