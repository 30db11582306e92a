"""A correction by hand in a real Chromium: what is drawn is what is on disk, and nobody's work is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.imaging.slices import PLANES, mask_from_screen
from medseg.review.corrections import CorrectionStore
from medseg.review.records import Correction, Verdict
from medseg.workflows.results.open_study import OpenedStudy, as_reviewed, list_studies, open_study

pytestmark = pytest.mark.browser


@pytest.fixture
def served(
    write_result: Callable[..., Path], tmp_path: Path, serve: Callable[[Path], AbstractContextManager[Any]]
) -> Iterator[Any]:
    write_result("study_1", "PIR", turned_deg=20.0)
    with serve(tmp_path / "results") as viewer:
        yield viewer


@pytest.fixture
def tab(chromium: Any, served: Any) -> Iterator[Callable[[], Any]]:
    """A function that opens the study in a new tab and returns its page and room."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    study = list_studies(served.folder)[0].id

    def open_tab() -> tuple[Any, Any]:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{served.url}/read?study={study}")
        page.wait_for_selector(f".room[data-loaded='{study}']")
        return page, page.locator(".room")

    yield open_tab
    context.close()


def in_room(room: Any, expression: str) -> Any:
    return room.evaluate(f"(host) => {{ const room = host.room; room.drawNow(); return ({expression}); }}")


def labels_in(room: Any) -> NDArray[np.uint8]:
    """The labels (k, j, i) as the browser has them."""
    ni, nj, nk = in_room(room, "room.volume.grid.shape")
    return np.array(in_room(room, "Array.from(room.mask)"), np.uint8).reshape(nk, nj, ni)


def stored(folder: Path) -> OpenedStudy:
    return as_reviewed(open_study(list_studies(folder)[0]), CorrectionStore(folder / ".medseg-review"))


def brush_stroke(page: Any, room: Any, plane: str) -> None:
    """A stroke across the middle of a pane."""
    box = room.locator(f".pane-{plane}").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.55
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 5, steps=6)
    page.mouse.up()


def wait_for_state(room: Any, state: str) -> None:
    deadline = time.monotonic() + 20
    while room.locator("[data-read=review-state]").inner_text() != state:
        shown = room.locator(".message").inner_text() if room.locator(".message").is_visible() else ""
        assert time.monotonic() < deadline, f"never said {state!r}; the page says {shown!r}"
        time.sleep(0.05)


def test_drawn_in_three_planes_undone_saved_and_shown_again(tab: Any, served: Any) -> None:
    page, room = tab()
    before = labels_in(room)
    page.keyboard.press("b")
    for plane in PLANES:
        brush_stroke(page, room, plane)
    three = labels_in(room)
    page.keyboard.press("e")
    brush_stroke(page, room, "axial")
    assert not np.array_equal(labels_in(room), three)
    page.keyboard.press("Control+z")
    assert np.array_equal(labels_in(room), three)
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+z")
    drawn = labels_in(room)
    assert (drawn != before).sum() > 10
    room.get_by_label("Reason").fill("the rim")
    room.get_by_label("Reason").blur()
    page.keyboard.press("Control+s")
    wait_for_state(room, "saved")

    on_disk = stored(served.folder)
    assert on_disk.label_map is not None
    assert on_disk.correction is not None
    assert on_disk.correction.reason == "the rim"
    expected = mask_from_screen(drawn, on_disk.volume.geometry, on_disk.label_map.schema)
    assert np.array_equal(on_disk.label_map.array, expected.array)
    _, again = tab()
    assert np.array_equal(labels_in(again), drawn)
    assert again.locator(".badge.in-review").count() == 1


def test_a_second_tab_gets_a_conflict_and_keeps_its_work(tab: Any, served: Any) -> None:
    first, room = tab()
    second, other = tab()
    for page, at in ((first, room), (second, other)):
        page.keyboard.press("b")
        brush_stroke(page, at, "axial" if page is first else "coronal")
    first.keyboard.press("Control+s")
    wait_for_state(room, "saved")
    drawn = labels_in(other)
    second.keyboard.press("Control+s")
    second.wait_for_selector(".message:not([hidden])")
    assert "another correction" in other.locator(".message").inner_text()
    assert np.array_equal(labels_in(other), drawn)
    records = stored(served.folder).records
    assert len([record for record in records if isinstance(record, Correction)]) == 1


def test_a_draft_survives_the_tab(tab: Any, served: Any) -> None:
    page, room = tab()
    page.keyboard.press("b")
    brush_stroke(page, room, "axial")
    drawn = labels_in(room)
    wait_for_state(room, "draft kept")
    page.close()
    again_page, again = tab()
    assert np.array_equal(labels_in(again), drawn)
    assert in_room(again, "room.edit.isDirty")
    again.get_by_role("button", name="Discard").click()
    again_page.wait_for_function("() => true")
    deadline = time.monotonic() + 10
    while in_room(again, "room.edit.isDirty"):
        assert time.monotonic() < deadline
    assert not np.array_equal(labels_in(again), drawn)


def test_a_whole_review_by_keyboard(tab: Any, served: Any) -> None:
    page, room = tab()
    page.keyboard.press("n")
    page.keyboard.press("y")
    page.wait_for_selector(".verdict.accepted")
    page.keyboard.press("n")
    page.keyboard.press("u")
    page.wait_for_selector(".verdict.rejected")
    before = labels_in(room)
    page.keyboard.press("b")
    page.keyboard.press("]")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press(" ")
    assert not np.array_equal(labels_in(room), before)
    page.keyboard.press("Control+s")
    wait_for_state(room, "saved")
    page.wait_for_selector(".badge.in-review")
    page.keyboard.press("Shift+Y")
    page.wait_for_selector(".badge.accepted")
    records = stored(served.folder).records
    kinds = [(type(record).__name__, record.decision if isinstance(record, Verdict) else None) for record in records]
    assert kinds == [("Verdict", "accepted"), ("Verdict", "rejected"), ("Correction", None), ("Verdict", "accepted")]
    page.keyboard.press("q")
    page.wait_for_selector(".worklist .badge.accepted")


def test_brush_paints_a_disc_of_its_radius_and_stays_within_values(tab: Any) -> None:
    _, room = tab()
    # Spacing 1 x 1.5 x 3 mm: a disc of 3 mm about a voxel is |di|^2 + |1.5 dj|^2 <= 9 in the axial plane.
    dab = "room.tools.brush.space(room.panes[0])"
    in_room(room, f"(room.setCursor([12, 10, 8]), room.panel.change({{ label: 3, radiusMm: 3 }}), {dab})")
    found = {tuple(at) for at in np.argwhere(labels_in(room) == 3)[:, ::-1].tolist()}
    disc = {(12 + i, 10 + j, 8) for i in range(-3, 4) for j in range(-2, 3) if i * i + (1.5 * j) ** 2 <= 9}
    assert found == disc
    in_room(room, "room.edit.undo()")
    in_room(room, f"(room.panel.change({{ is3d: true }}), {dab})")
    assert {at[0] for at in np.argwhere(labels_in(room) == 3).tolist()} == {7, 8, 9}
    in_room(room, "room.edit.undo()")
    value = in_room(room, "room.volume.value([12, 10, 8])")
    in_room(room, f"(room.panel.change({{ isLimited: true, limits: [{value - 1}, {value + 1}] }}), {dab})")
    assert (12, 10, 8) in {tuple(at[::-1]) for at in np.argwhere(labels_in(room) == 3).tolist()}
    assert (labels_in(room) == 3).sum() < len(disc)


def test_holes_islands_and_slices_between(tab: Any) -> None:
    _, room = tab()
    draw = """(() => {
        const { grid } = room.volume;
        room.mask.fill(0);
        const put = (i, j, k) => { room.mask[grid.offset([i, j, k])] = 2; };
        for (let i = 4; i < 9; i += 1) for (let j = 4; j < 9; j += 1) if (i !== 6 || j !== 6) put(i, j, 5);
        for (let i = 4; i < 9; i += 1) for (let j = 4; j < 9; j += 1) put(i, j, 9);
        put(20, 15, 2);
        room.panel.change({ label: 2 });
        room.setActive(room.panes[0]);
    })()"""
    in_room(room, draw)
    in_room(room, "room.panel.fillHoles()")
    assert labels_in(room)[5, 6, 6] == 2
    in_room(room, "room.setCursor([20, 15, 2]), room.panel.islands(false)")
    assert labels_in(room)[2, 15, 20] == 0
    in_room(room, "room.panel.interpolate()")
    labels = labels_in(room)
    for k in range(5, 10):
        assert np.argwhere(labels[k] == 2).tolist() == [[j, i] for j in range(4, 9) for i in range(4, 9)]


def test_measurements_by_hand(tab: Any) -> None:
    page, room = tab()
    marks = """(() => {
        const add = (kind, points) => room.marks.add({ kind, plane: "axial", depth: 2, points });
        add("length", [[2, 4, 8], [6, 6, 8]]);
        add("diameters", [[2, 4, 8], [8, 4, 8], [5, 2, 8], [5, 4, 8]]);
        add("angle", [[6, 4, 8], [2, 4, 8], [2, 8, 8]]);
        add("roi", [[2, 4, 8], [6, 8, 8]]);
    })()"""
    in_room(room, marks)
    # Spacing 1 x 1.5 x 3 mm: hypot(4, 3) = 5 mm; 6 x 3 mm; a right angle.
    texts = room.locator(".marks .name").all_inner_texts()
    assert texts[:3] == ["Length: 5.0 mm", "Two diameters: 6.0 × 3.0 mm", "Angle: 90.0°"]
    values = in_room(
        room,
        """(() => {
            const found = [];
            for (let i = 2; i <= 6; i += 1) for (let j = 4; j <= 8; j += 1)
                if ((i - 4) ** 2 + (j - 6) ** 2 <= 4) found.push(room.volume.value([i, j, 8]));
            return found;
        })()""",
    )
    assert texts[3].startswith(f"Ellipse: {np.mean(values):.1f} ± {np.std(values, ddof=1):.1f} HU")
    in_room(room, "room.review.marksSent")
    page.keyboard.press("Delete")
    deadline = time.monotonic() + 10
    while room.locator(".marks .name").count() != 3:
        assert time.monotonic() < deadline
    room.evaluate("async (host) => { await host.room.review.marksSent; }")
    _, again = tab()
    assert again.locator(".marks .name").all_inner_texts() == texts[:3]


def test_a_length_is_drawn_by_dragging(tab: Any) -> None:
    page, room = tab()
    page.keyboard.press("6")
    box = room.locator(".pane-axial").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 300, steps=4)
    page.mouse.up()
    length_mm = 100 / in_room(room, "room.panes[0].view.pixelsPerMm")
    assert room.locator(".marks .name").inner_text() == f"Length: {length_mm:.1f} mm"


def test_the_third_dimension_is_drawn(tab: Any) -> None:
    page, room = tab()
    page.keyboard.press("v")
    seen = in_room(
        room,
        """(() => {
            const { pane3d } = room;
            pane3d.show(true);
            if (!pane3d.gl) return null;
            const { gl, canvas } = pane3d;
            const pixels = new Uint8Array(canvas.width * canvas.height * 4);
            gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
            let bright = 0;
            for (let n = 0; n < pixels.length; n += 4) if (pixels[n] > 20) bright += 1;
            return bright / (pixels.length / 4);
        })()""",
    )
    if seen is None:
        pytest.skip("this chromium has no WebGL2")
    assert 0.02 < seen < 0.9
