"""From a folder of results: its reviews found untouched, readers compared, one of them chosen."""

import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg.cli import main
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.datasets.manifest import Manifest
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.reviewing.judge_readings import compare_readings, verify_reviews
from medseg.workflows.segmenting.segment_study import segment_study
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture
def results(tmp_path: Path, trained: TrainedModel, ball_data: Manifest) -> Path:
    """One study, corrected by jane and by john side by side."""
    folder = tmp_path / "results"
    segment_study(ball_data.cases[0].channels, trained.bundle, folder / "one")
    (entry,) = list_studies(folder)
    opened = open_study(entry)
    assert opened.label_map is not None
    assert opened.report is not None
    store = CorrectionStore(folder / REVIEW_FOLDER)
    for plane, reader in ((0, "jane"), (1, "john")):
        array = np.array(opened.label_map.array)
        array[plane] = 1
        drawn = LabelMap(array, opened.label_map.geometry, opened.label_map.schema)
        by = Signature(reader, duration_s=20)
        task = opened.report.task.name
        store.correct(drawn, opened.label_map, opened.source_sha256, task, by=by, is_second_reading=True)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["medseg", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_two_readers_are_compared_and_a_third_decides(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (pair,) = compare_readings(results)
    assert (pair.study, pair.first.reader, pair.second.reader) == ("one", "jane", "john")
    assert pair.problem == "john read it a second time, and nobody has said which reading stands"
    assert pair.agreement.kappa is not None
    assert 0 < pair.agreement.kappa < 1
    assert run(monkeypatch, "review", "agreement", results) == 0
    assert "one: jane, john" in capsys.readouterr().out
    assert run(monkeypatch, "review", "adjudicate", results, "one", "--for", "john", "--by", "ann") == 0
    assert "the mask of john stands" in capsys.readouterr().out
    assert compare_readings(results)[0].problem is None
    assert run(monkeypatch, "review", "adjudicate", results, "two", "--for", "john", "--by", "ann") == 2
    assert "no segmented study 'two'" in capsys.readouterr().err


def test_verify_tells_of_tampering(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = verify_reviews(results)
    assert head is not None
    assert run(monkeypatch, "review", "verify", results, "--noted", head.link) == 0
    assert f"2 records untouched, the last link is {head.link}" in capsys.readouterr().out
    connection = sqlite3.connect(results / REVIEW_FOLDER / "reviews.sqlite")
    connection.executescript("DROP TRIGGER no_removal_of_records; DELETE FROM records WHERE number = 2;")
    connection.close()
    assert run(monkeypatch, "review", "verify", results) == 2
    assert "removed from the end" in capsys.readouterr().err


def test_a_folder_without_reviews_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no reviews"):
        verify_reviews(tmp_path)
