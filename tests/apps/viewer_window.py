"""A browser window over a served folder, as the browser tests use it: pages stay open, and nothing sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.workflows.results.open_study import list_studies

TIMEOUT_MS = 90_000

_AS_OPENED = """(host) => {
    const { room } = host;
    room.escape();
    room.maximise(null);
    room.toggle3d(false);
    room.setTool("crosshair");
    room.setSlab({ mode: "none" });
    room.hidden.clear();
    Object.assign(room, { hover: null, opacity: 0.25, isMaskShown: true, hasOutline: true });
    Object.assign(room, { isInverted: false, isSmooth: true });
    room.resetViews();
    room.setActive(room.panes[0]);
    room.applyPreset("0");
    room.goToFinding(0);
    room.drawNow();
}"""


class Window:
    """One window on a viewer. A study that was opened to be looked at stays open on a page of its own."""

    def __init__(self, context: Any, served: Any) -> None:
        self.served = served
        self.problems: list[str] = []
        self._context = context
        self._rooms: dict[str, Any] = {}

    def page(self) -> Any:
        """A new page, on nothing yet."""
        page = self._context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        return page

    def worklist(self) -> Any:
        """A new page on the worklist."""
        page = self.page()
        page.goto(self.served.url)
        page.wait_for_selector(".worklist tbody tr")
        return page

    def study(self, name: str) -> str:
        """The id of the study of that name."""
        return next(entry.id for entry in list_studies(self.served.folder) if entry.name == name)

    def open(self, name: str) -> Any:
        """The reading room on a study, on a new page, its scan loaded."""
        page, study = self.page(), self.study(name)
        page.goto(f"{self.served.url}/read?study={study}")
        page.wait_for_selector(f".room[data-loaded='{study}']")
        return page.locator(".room")

    def read(self, name: str) -> Any:
        """The reading room on a study that a test only looks at: as it was first opened, perhaps by another test."""
        if name not in self._rooms:
            self._rooms[name] = self.open(name)
        room = self._rooms[name]
        room.page.bring_to_front()
        room.page.mouse.move(5, 5)
        room.evaluate(_AS_OPENED)
        return room


@contextmanager
def window_on(chromium: Any, served: Any) -> Iterator[Window]:
    """A window of 1280 x 800; no page may have had an error by its end."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    window = Window(context, served)
    yield window
    context.close()
    assert window.problems == []


def in_room(room: Any, expression: str) -> Any:
    """The value of an expression over `room`, after a redraw."""
    return room.evaluate(f"(host) => {{ const room = host.room; room.drawNow(); return ({expression}); }}")


def wait_in_room(room: Any, condition: str) -> None:
    """Wait until an expression over `room` holds."""
    room.page.wait_for_function(
        f"(host) => {{ const room = host.room; return ({condition}); }}", arg=room.element_handle()
    )


def wait_for_state(room: Any, state: str) -> None:
    """Wait until the review panel says that."""
    room.locator("[data-read=review-state]").get_by_text(state, exact=True).wait_for()


def labels_in(room: Any) -> NDArray[np.uint16]:
    """The labels (k, j, i) as the browser has them."""
    ni, nj, nk = in_room(room, "room.volume.grid.shape")
    return np.array(in_room(room, "Array.from(room.mask)"), np.uint16).reshape(nk, nj, ni)


def brush_stroke(room: Any, plane: str) -> None:
    """Draw with the mouse across the middle of a pane."""
    mouse, box = room.page.mouse, room.locator(f".pane-{plane}").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.55
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 30, y + 5, steps=6)
    mouse.up()
