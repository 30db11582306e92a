"""A browser window over a served folder, as the browser tests use it: pages stay open, and nothing sleeps."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.imaging.pictures.slices import mask_from_screen
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.workflows.results.open_study import OpenedStudy, as_reviewed, list_studies, open_study

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
    Object.assign(room, { isInverted: false, isSmooth: true, isCrosshairShown: true, areCornersShown: true });
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


def _pixels(room: Any, plane: str, holder: str) -> NDArray[np.uint8]:
    made = in_room(
        room,
        f"""(() => {{
            const pane = room.panes.find((one) => one.planeName === "{plane}");
            const {{ width, height, data }} = {holder};
            let bytes = "";
            for (const byte of data) bytes += String.fromCharCode(byte);
            return {{ width, height, bytes: btoa(bytes) }};
        }})()""",
    )
    pixels = np.frombuffer(base64.b64decode(made["bytes"]), np.uint8)
    return pixels.reshape(made["height"], made["width"], 4)[..., :3]


def picture_of(room: Any, plane: str) -> NDArray[np.uint8]:
    """The slice that a pane shows now, a pixel for each voxel: (rows, columns, RGB)."""
    return _pixels(room, plane, "pane.image")


def on_screen(room: Any, plane: str, canvas: str = "base") -> NDArray[np.uint8]:
    """A pane as it is shown: "base" is its picture with the outlines, "canvas" that and all that is drawn over it."""
    whole = f"pane.{canvas}.getContext('2d').getImageData(0, 0, pane.canvas.width, pane.canvas.height)"
    return _pixels(room, plane, whole)


def brush_stroke(room: Any, plane: str) -> None:
    """Draw with the mouse across the middle of a pane."""
    mouse, box = room.page.mouse, room.locator(f".pane-{plane}").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.55
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 30, y + 5, steps=6)
    mouse.up()


@dataclass(frozen=True)
class Spot:
    """A ball that a reader paints, or wipes away with label 0: its centre in RAS+ mm, its radius."""

    label: int
    centre_mm: Sequence[float]
    radius_mm: float


def paint(room: Any, spots: Sequence[Spot]) -> None:
    """Go to each place, and use brush or eraser there by the keyboard."""
    for spot in spots:
        room.page.keyboard.press("b" if spot.label else "e")
        brush = json.dumps({"radiusMm": spot.radius_mm, "is3d": True, **({"label": spot.label} if spot.label else {})})
        there = f"room.volume.grid.clamp(room.volume.grid.fromWorld({json.dumps(spot.centre_mm)}))"
        in_room(room, f"(room.panel.change({brush}), room.setCursor({there}))")
        room.page.keyboard.press(" ")


def open_row(page: Any, words: str) -> Any:
    """The reading room on the study whose row of the worklist holds these words, on the same page."""
    page.locator(".worklist tbody tr", has_text=words).dblclick()
    page.wait_for_selector(".room[data-loaded]")
    return page.locator(".room")


def save(room: Any) -> None:
    """Save the correction by its key, and wait until it is kept."""
    room.page.keyboard.press("Control+s")
    wait_for_state(room, "saved")


def accept(room: Any) -> None:
    """Accept the study by its key, and wait until it says so."""
    room.page.keyboard.press("Shift+Y")
    room.page.wait_for_selector(".badge.accepted")


def stored(window: Window, name: str) -> OpenedStudy:
    """A study as it is on disk, with its newest correction."""
    folder = window.served.folder
    entry = next(entry for entry in list_studies(folder) if entry.name == name)
    return as_reviewed(open_study(entry), CorrectionStore(folder / REVIEW_FOLDER))


def require_stored(window: Window, name: str, drawn: NDArray[np.uint16]) -> OpenedStudy:
    """A study as it is on disk, after a check that its mask is what was drawn."""
    found = stored(window, name)
    assert found.label_map is not None
    expected = mask_from_screen(drawn, found.volume.geometry, found.label_map.schema)
    assert np.array_equal(found.label_map.array, expected.array)
    return found
