"""A DICOM study from the worklist to a saved correction, in one go: the path that a reader takes every day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_oracle import Grid, save_all
from dicom_results import images, result_folder
from viewer_window import (
    Window,
    brush_stroke,
    in_room,
    labels_in,
    require_stored,
    save,
    stored,
    wait_in_room,
    window_on,
)

from medseg.imaging.pictures.slices import PLANES
from medseg.review.records import Correction

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def window(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], AbstractContextManager[Any]]
) -> Iterator[Window]:
    """A result on a DICOM series of 60 slices of 40 x 36 pixels."""
    root = tmp_path_factory.mktemp("whole_path")
    (root / "results").mkdir()
    result_folder(save_all(images(Grid(count=60, rows=40, columns=36)), root / "series"), root / "results" / "ct")
    with serve(root / "results") as viewer, window_on(chromium, viewer) as opened:
        yield opened


def test_from_the_worklist_to_a_saved_correction(window: Window) -> None:
    page = window.worklist()
    page.locator(".worklist .jump").first.click()
    page.wait_for_selector(".room[data-loaded]")
    room = page.locator(".room")

    page.locator(".pane-axial").hover()
    page.keyboard.press("Home")
    for _ in range(50):
        page.mouse.wheel(0, -100)
    wait_in_room(room, "room.cursor[2] === 50")
    window_before = in_room(room, "[room.window.centre, room.window.width]")
    box = room.locator(".pane-axial").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 140, box["y"] + 80, steps=4)
    page.mouse.up(button="right")
    assert in_room(room, "[room.window.centre, room.window.width]") != window_before
    page.keyboard.press("2")
    assert in_room(room, "[room.window.centre, room.window.width]") == [-600, 1500]
    room.locator("tr[data-finding='1'] .jump").click()
    assert in_room(room, "[...room.cursor]") == in_room(room, "room.study.findings[1].index")

    before = labels_in(room)
    page.keyboard.press("b")
    for plane in PLANES:
        brush_stroke(room, plane)
    three = labels_in(room)
    page.keyboard.press("e")
    brush_stroke(room, "axial")
    assert not np.array_equal(labels_in(room), three)
    page.keyboard.press("Control+z")
    drawn = labels_in(room)
    assert np.array_equal(drawn, three)
    assert (drawn != before).sum() > 10
    save(room)

    require_stored(window, "ct", drawn)
    again = window.open("ct")
    assert np.array_equal(labels_in(again), drawn)

    # A second tab that began before saves over it: a conflict, and nothing of either is lost.
    again.page.keyboard.press("b")
    brush_stroke(again, "axial")
    page.bring_to_front()
    brush_stroke(room, "axial")
    save(room)
    again.page.bring_to_front()
    theirs = labels_in(again)
    again.page.keyboard.press("Control+s")
    again.locator(".message", has_text="another correction").wait_for()
    assert np.array_equal(labels_in(again), theirs)
    records = stored(window, "ct").records
    assert len([record for record in records if isinstance(record, Correction)]) == 2
