"""A study read twice, the second time blind, and settled by a third, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_window import brush_stroke, in_room, labels_in, wait_for_state, wait_in_room, window_on

from medseg.core.label_map import LabelMap
from medseg.imaging.pictures.slices import mask_for_screen
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.records import Adjudication
from medseg.workflows.results.open_study import OpenedStudy, as_reviewed, list_studies, open_study
from medseg.workflows.reviewing.judge_readings import compare_readings

pytestmark = pytest.mark.browser

Serve = Callable[..., AbstractContextManager[Any]]


def first_reading(results: Path) -> OpenedStudy:
    """The study as the model left it, after jane corrected it."""
    (entry,) = list_studies(results)
    opened = open_study(entry)
    assert opened.label_map is not None
    assert opened.report is not None
    drawn = np.array(opened.label_map.array)
    drawn[:3, :3, :3] = 2
    corrected = LabelMap(drawn, opened.label_map.geometry, opened.label_map.schema)
    by = Signature("jane", reason="a lesion at the edge", model_sha256=opened.report.model.sha256)
    store = CorrectionStore(results / REVIEW_FOLDER)
    store.correct(corrected, opened.label_map, opened.source_sha256, opened.report.task.name, by=by)
    return opened


def test_read_blind_compared_and_settled(chromium: Any, serve: Serve, result_folder: Path) -> None:
    opened = first_reading(result_folder)
    assert opened.label_map is not None
    with serve(result_folder, reader="john") as viewer, window_on(chromium, viewer) as window:
        page = window.worklist()
        page.keyboard.press("b")
        page.wait_for_selector(".room[data-loaded$='-second']")
        room = page.locator(".room")
        assert np.array_equal(labels_in(room), mask_for_screen(opened.label_map))
        assert "jane" not in room.inner_text()
        page.keyboard.press("Shift+Y")
        room.get_by_text("This is a second reading").wait_for()
        page.keyboard.press("b")
        brush_stroke(room, "axial")
        drawn = labels_in(room)
        room.get_by_role("button", name="Finish second reading").click()
        wait_for_state(room, "saved")
        (pair,) = compare_readings(result_folder)
        assert (pair.first.reader, pair.second.reader, pair.second.is_second_reading) == ("jane", "john", True)

    with serve(result_folder, reader="ann") as viewer, window_on(chromium, viewer) as window:
        page = window.worklist()
        page.get_by_text("to adjudicate").wait_for()
        room = window.open("study_1")
        shown = as_reviewed(opened, CorrectionStore(result_folder / REVIEW_FOLDER))
        assert shown.label_map is not None
        assert np.array_equal(labels_in(room), mask_for_screen(shown.label_map))
        told = room.locator("[data-read=readers]")
        told.get_by_text("Cohen's kappa").wait_for()
        assert pair.agreement.kappa is not None
        for number in (*pair.agreement.dice.values(), pair.agreement.kappa):
            assert f"{number:.3f}" in told.inner_text()
        room.get_by_role("button", name="Lay over").click()
        wait_in_room(room, "room.other.isShown")
        assert in_room(room, "Array.from(room.other.labels)") == drawn.ravel().tolist()
        room.locator("[data-stands=john]").click()
        room.get_by_text("The mask of john stands, by the word of ann.").wait_for()
        wait_in_room(room, f"room.maskSha256 === '{pair.second.mask_sha256}'")
        assert np.array_equal(labels_in(room), drawn)
        assert opened.report is not None
        records = CorrectionStore(result_folder / REVIEW_FOLDER).history(opened.source_sha256, opened.report.task.name)
        (word,) = [record for record in records if isinstance(record, Adjudication)]
        assert (word.reader, word.mask_sha256) == ("ann", pair.second.mask_sha256)


def test_who_read_first_reads_not_a_second_time(chromium: Any, serve: Serve, result_folder: Path) -> None:
    first_reading(result_folder)
    with serve(result_folder, reader="jane") as viewer, window_on(chromium, viewer) as window:
        page = window.worklist()
        page.keyboard.press("b")
        page.get_by_text("Jane corrected this study").wait_for()
        page.goto(f"{viewer.url}/read?study={window.study('study_1')}-second")
        page.get_by_text("This study cannot be shown: jane corrected this study").wait_for()
