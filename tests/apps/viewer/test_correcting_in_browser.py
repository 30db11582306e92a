"""A correction by hand in a real Chromium: what is drawn is what is on disk, and nobody's work is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_window import (
    Window,
    accept,
    brush_stroke,
    in_room,
    labels_in,
    require_stored,
    save,
    stored,
    wait_for_state,
    wait_in_room,
    window_on,
)

from medseg.analysis.quantification.by_hand import measure_by_hand
from medseg.imaging.pictures.slices import PLANES, mask_for_screen, mask_from_screen
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.marks import MarkList, MarkStore
from medseg.review.records import Verdict
from medseg.workflows.results.open_study import list_studies, measured, open_study

pytestmark = pytest.mark.browser

STUDIES = (
    "drawn",
    "draft",
    "behind",
    "overtaken",
    "meanwhile",
    "twice",
    "left",
    "torn",
    "review",
    "measured",
    "untouched",
)
"""A study of its own for each test that leaves something behind."""


@pytest.fixture(scope="module")
def window(
    chromium: Any,
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Window]:
    root = tmp_path_factory.mktemp("correcting")
    for number, name in enumerate(STUDIES):
        writer_in(root)(name, "PIR", turned_deg=20.0 + number)
    measure(root / "results", "review")
    with serve(root / "results") as viewer, window_on(chromium, viewer) as opened:
        yield opened


def measure(results: Path, name: str) -> None:
    """Write the report of a study anew, with what its mask holds, as an export wants it."""
    entry = next(entry for entry in list_studies(results) if entry.name == name)
    report = measured(open_study(entry)).report
    assert report is not None
    (entry.path / "report.json").write_text(report.model_dump_json())


def is_save(asked: Any) -> bool:
    """Whether a request sends a corrected mask."""
    return bool(asked.method == "PUT" and asked.url.endswith("/mask"))


def hold_first_save(room: Any) -> list[Any]:
    """The first correction that the page sends from now on; it waits on its way to the server."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        if is_save(route.request) and not held:
            held.append(route)
        else:
            route.continue_()

    room.page.route("**/mask", hold)
    return held


def test_drawn_in_three_planes_undone_saved_and_shown_again(window: Window) -> None:
    room = window.open("drawn")
    page = room.page
    before = labels_in(room)
    page.keyboard.press("b")
    for plane in PLANES:
        brush_stroke(room, plane)
    three = labels_in(room)
    page.keyboard.press("e")
    brush_stroke(room, "axial")
    assert not np.array_equal(labels_in(room), three)
    page.keyboard.press("Control+z")
    assert np.array_equal(labels_in(room), three)
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+z")
    drawn = labels_in(room)
    assert (drawn != before).sum() > 10
    room.get_by_label("Reason").fill("the rim")
    room.get_by_label("Reason").blur()
    save(room)

    on_disk = require_stored(window, "drawn", drawn)
    assert on_disk.correction is not None
    assert on_disk.correction.reason == "the rim"
    again = window.open("drawn")
    assert np.array_equal(labels_in(again), drawn)
    assert again.locator(".badge.in-review").count() == 1


def test_a_draft_survives_the_tab(window: Window) -> None:
    room = window.open("draft")
    page = room.page
    page.keyboard.press("b")
    brush_stroke(room, "axial")
    drawn = labels_in(room)
    wait_for_state(room, "draft kept")
    page.close()
    again = window.open("draft")
    assert np.array_equal(labels_in(again), drawn)
    assert in_room(again, "room.edit.isDirty")
    again.get_by_role("button", name="Discard").click()
    wait_in_room(again, "!room.edit.isDirty")
    assert not np.array_equal(labels_in(again), drawn)


@pytest.mark.parametrize("name", ["left", "torn"])
def test_a_stroke_is_kept_though_the_next_study_is_opened_at_once(window: Window, name: str) -> None:
    room = window.open(name)
    if name == "torn":  # the page runs on to another study before the draft is kept, whatever the reason
        in_room(room, "room.leave = (to) => room.page.trigger(to, Date.now())")
    room.page.keyboard.press("b")
    brush_stroke(room, "axial")
    drawn = labels_in(room)
    before = in_room(room, "room.study.id")
    room.page.keyboard.press("g")
    wait_in_room(room, f"room.study.id !== '{before}' && room.isOpen")
    room.evaluate("async (host) => { await host.room.review.left; }")
    again = window.open(name)
    wait_in_room(again, "room.edit.isDirty")
    assert np.array_equal(labels_in(again), drawn)


def correct_elsewhere(window: Window, name: str) -> None:
    """John saves a correction of a study over its model's mask, in another process: the first slice is all lesion."""
    found = stored(window, name)
    assert found.label_map is not None
    assert found.report is not None
    base = mask_for_screen(found.label_map)
    drawn = base.copy()
    drawn[0] = 2
    corrected = mask_from_screen(drawn, found.volume.geometry, found.label_map.schema)
    by = Signature("john", model_sha256=found.report.model.sha256)
    store = CorrectionStore(window.served.folder / REVIEW_FOLDER)
    store.correct(corrected, found.label_map, found.source_sha256, found.report.task.name, by=by)


def conflicting_stroke(window: Window, name: str) -> tuple[Any, NDArray[np.uint16]]:
    """The room after a stroke that could not be saved, because of john; and what has to be there when it is."""
    room = window.open(name)
    before = labels_in(room)
    room.page.keyboard.press("b")
    brush_stroke(room, "axial")
    drawn = labels_in(room)
    wait_for_state(room, "draft kept")
    correct_elsewhere(window, name)
    room.page.keyboard.press("Control+s")
    room.locator(".message", has_text="john saved another correction").wait_for()
    room.locator("[data-draft]").wait_for()
    both = drawn.copy()
    both[0] = np.where(drawn[0] != before[0], drawn[0], 2)
    assert not np.array_equal(both, drawn)
    return room, both


def test_a_stroke_that_met_a_conflict_is_put_on_the_newest_mask(window: Window) -> None:
    room, both = conflicting_stroke(window, "behind")
    room.get_by_role("button", name="Put on newest").click()
    room.locator(".message", has_text="The draft was put on the newest mask").wait_for()
    assert np.array_equal(labels_in(room), both)
    assert room.locator("[data-draft]").count() == 0
    save(room)
    require_stored(window, "behind", both)


def test_the_draft_of_a_conflict_waits_while_the_newest_mask_is_drawn_on(window: Window) -> None:
    room, both = conflicting_stroke(window, "overtaken")
    room.get_by_role("button", name="Discard").click()
    wait_in_room(room, "!room.edit.isDirty")
    assert room.locator("[data-draft]").count() == 1
    room.page.close()
    again = window.open("overtaken")
    again.locator(".message", has_text="drawn over an older mask").wait_for()
    newest = labels_in(again)
    again.page.keyboard.press("b")
    brush_stroke(again, "coronal")
    wait_for_state(again, "draft kept")
    again.get_by_role("button", name="Put on newest").click()
    again.locator(".message", has_text="Save or discard your correction first").wait_for()
    again.get_by_role("button", name="Discard").click()
    wait_in_room(again, "!room.edit.isDirty")
    again.get_by_role("button", name="Lay over").click()
    wait_in_room(again, "room.other.isShown")
    ours = np.array(in_room(again, "Array.from(room.other.labels)"), np.uint16).reshape(newest.shape)
    assert np.array_equal(np.where(np.arange(len(newest))[:, None, None] == 0, both, ours), both)
    again.get_by_role("button", name="Put on newest").click()
    again.locator(".message", has_text="The draft was put on the newest mask").wait_for()
    assert np.array_equal(labels_in(again), both)
    again.page.keyboard.press("Control+z")
    assert np.array_equal(labels_in(again), newest)


def test_what_could_not_be_saved_is_kept_as_a_draft(window: Window) -> None:
    room = window.open("untouched")
    room.page.keyboard.press("b")
    refused = {"status": 422, "body": "the disk is full", "content_type": "text/plain"}
    room.page.route(
        "**/mask", lambda route: route.fulfill(**refused) if route.request.method == "PUT" else route.fallback()
    )
    in_room(room, "(room.panel.change({ label: 3 }), room.tools.brush.space(room.panes[0]), room.panel.save())")
    room.locator(".message", has_text="the disk is full").wait_for()
    wait_for_state(room, "draft kept")
    room.get_by_role("button", name="Discard").click()
    wait_in_room(room, "!room.edit.isDirty")


def test_what_is_drawn_while_a_save_is_on_its_way_is_not_saved_yet(window: Window) -> None:
    room = window.open("meanwhile")
    held = hold_first_save(room)
    base = in_room(room, "room.maskSha256")
    room.page.keyboard.press("b")
    brush_stroke(room, "axial")
    first = labels_in(room)
    with room.page.expect_request(is_save):
        room.page.keyboard.press("Control+s")
    brush_stroke(room, "coronal")
    both = labels_in(room)
    assert not np.array_equal(first, both)
    held[0].continue_()
    wait_in_room(room, f"room.maskSha256 !== '{base}'")
    assert in_room(room, "room.edit.isDirty")
    require_stored(window, "meanwhile", first)
    # It is kept as a draft over the mask that was just saved, so closing the tab does not lose it.
    wait_for_state(room, "draft kept")
    again = window.open("meanwhile")
    assert np.array_equal(labels_in(again), both)
    # Undone, it is as saved; drawn again, it is saved without a conflict against oneself.
    room.page.bring_to_front()
    room.page.keyboard.press("Control+z")
    assert not in_room(room, "room.edit.isDirty")
    room.page.keyboard.press("Control+y")
    save(room)
    require_stored(window, "meanwhile", both)


def test_saved_twice_at_once_is_no_conflict(window: Window) -> None:
    room = window.open("twice")
    held = hold_first_save(room)
    room.page.keyboard.press("b")
    brush_stroke(room, "axial")
    with room.page.expect_request(is_save):
        room.page.keyboard.press("Control+s")
    brush_stroke(room, "coronal")
    drawn = labels_in(room)
    room.page.keyboard.press("Control+s")
    with room.page.expect_request(is_save):
        held[0].continue_()
    wait_for_state(room, "saved")
    assert not in_room(room, "room.edit.isDirty")
    assert not room.locator(".message").is_visible()
    require_stored(window, "twice", drawn)


def open_by_arrows(page: Any, name: str) -> Any:
    """The reading room on a study of the worklist, reached with arrows and Enter."""
    chosen = page.locator("tr.chosen .col-name")
    while chosen.inner_text() < name:
        before = chosen.inner_text()
        page.keyboard.press("ArrowDown")
        assert chosen.inner_text() > before
    page.keyboard.press("Enter")
    page.wait_for_selector(".room[data-loaded]")
    return page.locator(".room")


def tab_to(wanted: Any) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(100):
        if wanted.evaluate("(one) => one.getRootNode().activeElement === one"):
            return
        wanted.page.keyboard.press("Tab")
    pytest.fail("100 times Tab do not lead there")


def test_a_whole_review_by_keyboard(window: Window) -> None:
    """From the worklist through verdicts, a correction with its reason and an export to the next study."""
    page = window.worklist()
    room = open_by_arrows(page, "review")
    study = in_room(room, "room.study.id")
    assert study == window.study("review")
    page.keyboard.press("n")
    page.keyboard.press("y")
    page.wait_for_selector(".verdict.accepted")
    page.keyboard.press("n")
    page.keyboard.press("u")
    page.wait_for_selector(".verdict.rejected")

    before, cursor = labels_in(room), in_room(room, "[...room.cursor]")
    page.keyboard.press("a")
    page.keyboard.press("ArrowUp")
    assert in_room(room, "[...room.cursor]") == [cursor[0], cursor[1] + 1, cursor[2]]
    page.keyboard.press("b")
    page.keyboard.press("]")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    drawn = labels_in(room)
    assert {int(at) for at in np.argwhere(drawn != before)[:, 1]} == {cursor[1] + 1}
    page.keyboard.press("Control+z")
    assert np.array_equal(labels_in(room), before)
    page.keyboard.press("Control+y")
    tab_to(room.get_by_label("Reason"))
    page.keyboard.type("the rim")
    save(room)
    page.wait_for_selector(".badge.in-review")
    require_stored(window, "review", drawn)
    assert room.get_by_label("Reason").input_value() == ""

    page.keyboard.press("Shift+E")
    tab_to(page.get_by_label("Findings (CSV)"))
    page.keyboard.press("Space")
    tab_to(page.locator("[data-action=take]"))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "findings.csv"
    assert "lesion" in Path(download.value.path()).read_text()
    page.keyboard.press("Escape")
    accept(room)
    page.keyboard.press("g")
    page.wait_for_selector(f".room[data-loaded]:not([data-loaded='{study}'])")
    page.keyboard.press("q")
    page.locator(f"tr[data-study='{study}'] .badge.accepted").wait_for()

    records = stored(window, "review").records
    kinds = [(type(record).__name__, record.decision if isinstance(record, Verdict) else None) for record in records]
    assert kinds == [("Verdict", "accepted"), ("Verdict", "rejected"), ("Correction", None), ("Verdict", "accepted")]
    assert records[2].reason == "the rim"


def test_a_reason_that_is_being_typed_outlasts_a_run_of_the_page(window: Window) -> None:
    room = window.open("untouched")
    room.get_by_label("Reason").fill("the ri")
    before = in_room(room, "room.server.permits.study")
    in_room(room, "room.page.trigger('renew', Date.now())")
    wait_in_room(room, f"room.server.permits.study !== '{before}'")
    room.page.keyboard.type("m")
    room.page.keyboard.press("Escape")
    room.page.keyboard.press("i")
    assert in_room(room, "room.isInverted")
    assert room.get_by_label("Reason").input_value() == "the rim"


def test_brush_paints_a_disc_of_its_radius_and_stays_within_values(window: Window) -> None:
    room = window.open("untouched")
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


def test_holes_islands_and_slices_between(window: Window) -> None:
    room = window.open("untouched")
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


def test_measurements_by_hand(window: Window) -> None:
    room = window.open("measured")
    page = room.page
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
    # The report says the same of what was drawn.
    room.evaluate("async (host) => { await host.room.review.marksSent; }")
    opened = stored(window, "measured")
    kept = MarkStore(window.served.folder / ".medseg-review").of_scan(opened.source_sha256)
    drawn = [measure_by_hand(mark, reader, opened.volume) for reader, mark in kept]
    numbers = [[measured.value for measured in one.measurements] for one in drawn if one is not None]
    mean, deviation, least, most, area = numbers[3]
    assert texts == [
        f"Length: {numbers[0][0]:.1f} mm",
        f"Two diameters: {numbers[1][0]:.1f} × {numbers[1][1]:.1f} mm",
        f"Angle: {numbers[2][0]:.1f}°",
        f"Ellipse: {mean:.1f} ± {deviation:.1f} HU, {least:.0f} to {most:.0f}, {area / 100:.2f} cm²",
    ]
    page.keyboard.press("Delete")
    wait_in_room(room, "room.marks.list.length === 3")
    room.evaluate("async (host) => { await host.room.review.marksSent; }")
    # What another reader measured goes into the same report: it is seen here, and stays.
    (_, length), *_ = kept
    MarkStore(window.served.folder / ".medseg-review").keep(MarkList(marks=(length,)), opened.source_sha256, "john")
    again = window.open("measured")
    assert again.locator(".marks .name").all_inner_texts() == [*texts[:3], texts[0]]
    assert again.locator("[data-mark-of=john]").inner_text().split("\n")[-1] == "john"
    assert again.locator("[data-mark-of=john] .icon").count() == 0


def test_a_length_is_drawn_by_dragging(window: Window) -> None:
    room = window.open("untouched")
    page = room.page
    page.keyboard.press("6")
    box = room.locator(".pane-axial").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 300, steps=4)
    page.mouse.up()
    length_mm = 100 / in_room(room, "room.panes[0].view.pixelsPerMm")
    assert room.locator(".marks .name").inner_text() == f"Length: {length_mm:.1f} mm"


def test_the_third_dimension_is_drawn(window: Window) -> None:
    room = window.open("untouched")
    page = room.page
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
