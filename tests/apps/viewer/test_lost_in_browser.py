"""What was drawn is safe when the session or the server is lost under a reader's hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_window import Window, brush_stroke, in_room, labels_in, save, stored, wait_for_state, window_on

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def window(
    chromium: Any,
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Window]:
    root = tmp_path_factory.mktemp("lost")
    for number, name in enumerate(("session", "server")):
        writer_in(root)(name, turned_deg=10.0 * number)
    with serve(root / "results") as viewer, window_on(chromium, viewer) as opened:
        yield opened


def changed_voxels(window: Window, name: str) -> int:
    """How many voxels the newest correction on disk changed."""
    saved = stored(window, name).correction
    assert saved is not None
    return saved.changed_voxels


def test_a_session_lost_in_the_middle_of_a_stroke(window: Window) -> None:
    room = window.open("session")
    before = labels_in(room)
    room.page.keyboard.press("b")
    box = room.locator(".pane-axial").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.55
    room.page.mouse.move(x, y)
    room.page.mouse.down()
    room.page.mouse.move(x + 15, y, steps=3)
    # The permit is no longer good, as after a long rest; the page gets another and goes on.
    in_room(room, "room.server.take({ folder: 'forged', study: 'forged' })")
    room.page.mouse.move(x + 30, y, steps=3)
    room.page.mouse.up()
    wait_for_state(room, "draft kept")
    drawn = labels_in(room)
    assert (drawn != before).sum() > 10
    again = window.open("session")
    assert np.array_equal(labels_in(again), drawn)


def test_a_server_started_again_with_a_draft_open(window: Window) -> None:
    room = window.open("server")
    before = labels_in(room)
    room.page.keyboard.press("b")
    brush_stroke(room, "axial")
    wait_for_state(room, "draft kept")
    window.served.stop()
    brush_stroke(room, "coronal")
    room.locator(".message", has_text="The server cannot be reached").wait_for()
    drawn = labels_in(room)
    window.served.start()
    wait_for_state(room, "draft kept")
    assert np.array_equal(labels_in(room), drawn)
    assert not room.locator(".message").is_visible()
    save(room)
    assert changed_voxels(window, "server") == (drawn != before).sum()
