"""The viewer in a real Chromium: opened, scrolled, windowed, read out; its pictures are numpy's, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.task import Window, load_task
from medseg.imaging.overlay import OverlayStyle, overlay
from medseg.imaging.slices import PLANES, for_screen, grey, mask_for_screen, picture
from medseg.workflows.results.open_study import list_studies, open_study

pytestmark = pytest.mark.browser

STORED = {"lps": ("LPS", 0.0), "ras": ("RAS", 0.0), "sagittal_first": ("PIR", 0.0), "oblique": ("LPS", 25.0)}
HOSTILE_NAME = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("viewer")
    write = writer_in(root)
    for name, (axis_codes, turned_deg) in STORED.items():
        write(name, axis_codes, turned_deg=turned_deg)
    write("script", patient_name=HOSTILE_NAME)
    with serve(root / "results") as viewer:
        yield viewer


@pytest.fixture
def page(chromium: Any, served: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []


def study_id(served: Any, name: str) -> str:
    return next(entry.id for entry in list_studies(served.folder) if entry.name == name)


def read(page: Any, served: Any, name: str) -> Any:
    """The reading room on a study, its scan loaded."""
    page.goto(f"{served.url}/read?study={study_id(served, name)}")
    page.wait_for_selector(f".room[data-loaded='{study_id(served, name)}']")
    return page.locator(".room")


def in_room(room: Any, expression: str) -> Any:
    """The value of an expression over `room`, after a redraw."""
    return room.evaluate(f"(host) => {{ const room = host.room; room.drawNow(); return ({expression}); }}")


def test_open_scroll_window_jump_and_read_out(page: Any, served: Any) -> None:
    page.goto(served.url)
    page.get_by_role("button", name="Doe, Jane").first.click()
    page.wait_for_selector(".room[data-loaded]")
    room = page.locator(".room")
    start = in_room(room, "[...room.cursor]")

    room.locator(".pane-axial").hover()
    page.mouse.wheel(0, -100)
    assert in_room(room, "[...room.cursor]") == [start[0], start[1], start[2] + 1]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    assert in_room(room, "room.cursor[2]") == 0
    page.keyboard.press("End")
    assert in_room(room, "room.cursor[2]") == 15
    page.keyboard.press("PageDown")
    assert in_room(room, "room.cursor[2]") == 5

    page.keyboard.press("2")
    assert in_room(room, "room.window") == {"centre": -600, "width": 1500}
    box = room.locator(".pane-axial").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 150, box["y"] + 100, steps=5)
    page.mouse.up(button="right")
    assert in_room(room, "room.window.width") > 1500

    room.locator("tr[data-finding='1'] .jump").click()
    assert in_room(room, "[...room.cursor]") == in_room(room, "room.study.findings[1].index")
    first = in_room(room, "room.study.findings[0].index")
    in_room(room, f"room.setCursor({first})")
    assert room.locator("tr.chosen").get_attribute("data-finding") == "0"


@pytest.mark.parametrize("name", STORED)
def test_pictures_equal_numpys(page: Any, served: Any, name: str) -> None:
    entry = next(entry for entry in list_studies(served.folder) if entry.name == name)
    opened = open_study(entry)
    screen = for_screen(opened.volume)
    assert opened.label_map is not None
    labels = mask_for_screen(opened.label_map)
    window = Window(centre=260, width=700)
    style = OverlayStyle(opacity=0.4, has_outline=False)
    room = read(page, served, name)
    in_room(room, "(room.opacity = 0.4, room.setWindow({ centre: 260, width: 700 }))")
    for plane in PLANES:
        depth = picture(labels, plane, 0).size and {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
        for index in (0, screen.geometry.shape[depth] // 2, screen.geometry.shape[depth] - 1):
            expected = overlay(
                grey(screen.values(plane, index), window),
                picture(labels, plane, index),
                load_task("phantom_ct").label_schema,
                style,
            )
            assert np.array_equal(shown(room, plane, depth, index), expected), (plane, index)


def shown(room: Any, plane: str, depth: int, index: int) -> NDArray[np.uint8]:
    """The pixels (rows, columns, RGB) the browser made of a slice."""
    made = in_room(
        room,
        f"""(() => {{
            room.cursor[{depth}] = {index};
            const pane = room.panes.find((one) => one.planeName === "{plane}");
            pane.draw();
            return {{ rows: pane.image.height, columns: pane.image.width, data: Array.from(pane.image.data) }};
        }})()""",
    )
    return np.array(made["data"], np.uint8).reshape(made["rows"], made["columns"], 4)[..., :3]


def test_left_stays_left_on_the_screen(page: Any, served: Any) -> None:
    """The lesion at the patient's right, front and head is drawn at the top left of the axial and coronal panes."""
    for name in STORED:
        room = read(page, served, name)
        in_room(room, "room.goToFinding(0)")
        for plane in ("axial", "coronal"):
            at = in_room(
                room,
                f"""(() => {{
                    const pane = room.panes.find((one) => one.planeName === "{plane}");
                    const {{ x, y }} = pane.screenOf(room.cursor);
                    return [x / pane.width, y / pane.height];
                }})()""",
            )
            assert at[0] < 0.5, (name, plane)
            assert at[1] < 0.5, (name, plane)
        letters = in_room(room, "room.study.edges.axial.left")
        assert letters.startswith("R")


def test_clicks_hit_the_voxels_they_point_at(page: Any, served: Any) -> None:
    room = read(page, served, "oblique")
    wanted = [(i, j, k) for i in (3, 12) for j in (4, 15) for k in (2, 13)]
    for plane in PLANES:
        for target in wanted:
            in_room(room, f"room.setCursor({list(target)})")
            point = in_room(room, f"room.panes.find((one) => one.planeName === '{plane}').screenOf({list(target)})")
            box = room.locator(f".pane-{plane}").bounding_box()
            in_room(
                room, f"room.nudge('ArrowLeft', 2), room.setActive(room.panes.find((p) => p.planeName === '{plane}'))"
            )
            page.mouse.click(box["x"] + point["x"], box["y"] + point["y"])
            hit = in_room(room, "[...room.cursor]")
            depth = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
            assert [value for n, value in enumerate(hit) if n != depth] == [
                value for n, value in enumerate(target) if n != depth
            ]


def test_the_read_out_names_position_value_and_label(page: Any, served: Any) -> None:
    room = read(page, served, "ras")
    in_room(room, "room.goToFinding(0)")
    page.mouse.move(5, 5)
    # RAS voxel (18, 14, 10): 18 mm right, 21 mm front, 30 mm up; 40 * 18 + 140 + 10 - 200 HU.
    assert room.locator("[data-read=where]").inner_text() == "R 18.0  A 21.0  S 30.0 mm"
    assert room.locator("[data-read=voxel]").inner_text() == "voxel 18, 14, 10"
    assert room.locator("[data-read=value]").inner_text() == "670 HU"
    assert room.locator("[data-read=label]").inner_text() == "lesion"


def test_a_name_that_is_a_script_shows_as_text(page: Any, served: Any) -> None:
    page.goto(served.url)
    page.get_by_role("button", name=HOSTILE_NAME).wait_for()
    room = read(page, served, "script")
    assert HOSTILE_NAME in room.locator(".who").inner_text()
    assert page.locator(".room script").count() == 0


def test_the_reader_is_told_what_this_is_not(page: Any, served: Any) -> None:
    assert "Not for diagnostic use" in read(page, served, "lps").locator(".notice").inner_text()


def test_a_rerun_of_the_page_sends_no_voxels(page: Any, served: Any) -> None:
    room = read(page, served, "lps")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    before = in_room(room, "room.server.permits.study")
    in_room(room, "room.page.trigger('renew', Date.now())")
    deadline = time.monotonic() + 10
    while in_room(room, "room.server.permits.study") == before:
        assert time.monotonic() < deadline, "the page did not run again"
    assert [url for url in asked if "/data/studies/" in url] == []


def picture_of(room: Any, plane: str) -> NDArray[np.uint8]:
    """The pixels of the slice that a pane shows now, as RGBA in one row."""
    pane = f"room.panes.find((one) => one.planeName === '{plane}')"
    return np.array(in_room(room, f"Array.from({pane}.image.data)"), np.uint8)


@pytest.mark.parametrize(("plane", "depth", "slices"), [("axial", 2, 16), ("coronal", 1, 20), ("sagittal", 0, 24)])
def test_the_slider_is_the_slice(page: Any, served: Any, plane: str, depth: int, slices: int) -> None:
    room = read(page, served, "lps")
    slider = page.get_by_role("slider", name=f"{plane.capitalize()} slice", exact=True)
    index = f"room.cursor[{depth}]"
    start = in_room(room, index)
    assert slider.get_attribute("aria-valuetext") == f"{start + 1} of {slices}"

    room.locator(f".pane-{plane}").hover()
    page.mouse.wheel(0, -100)
    assert in_room(room, index) == start + 1
    assert slider.input_value() == str(start + 2)
    assert slider.get_attribute("aria-valuetext") == f"{start + 2} of {slices}"

    before = in_room(room, "[...room.cursor]")
    picture_before = picture_of(room, plane)
    slider.fill("3")
    assert in_room(room, "[...room.cursor]") == [2 if axis == depth else at for axis, at in enumerate(before)]
    assert not np.array_equal(picture_of(room, plane), picture_before)

    box = slider.bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + box["height"] / 2)
    page.mouse.down()
    assert abs(in_room(room, index) - slices / 2) <= 1
    page.mouse.move(middle, box["y"] + 1, steps=4)
    assert in_room(room, index) == slices - 1
    page.mouse.up()
    page.mouse.move(5, 5)
    assert in_room(room, index) == slices - 1


def test_keys_on_the_slider_are_the_keys_of_its_pane(page: Any, served: Any) -> None:
    room = read(page, served, "lps")
    slider = page.get_by_role("slider", name="Coronal slice", exact=True)
    slider.focus()
    page.keyboard.press("Home")
    assert in_room(room, "[room.active.planeName, room.cursor[1]]") == ["coronal", 0]
    for key, expected in (("ArrowUp", 1), ("ArrowRight", 2), ("PageUp", 12), ("ArrowDown", 11), ("ArrowLeft", 10)):
        page.keyboard.press(key)
        assert in_room(room, "room.cursor[1]") == expected, key
        assert slider.input_value() == str(expected + 1), key

    # The wheel makes the axial pane the active one; a key on the coronal slider still means the coronal pane.
    box = room.locator(".pane-axial").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -100)
    assert in_room(room, "room.active.planeName") == "axial"
    axial = in_room(room, "room.cursor[2]")
    page.keyboard.press("ArrowUp")
    assert in_room(room, "room.cursor.slice(1)") == [11, axial]
    page.keyboard.press("m")
    assert in_room(room, "room.isMaskShown") is False


def test_the_slider_stands_beside_the_picture(page: Any, served: Any) -> None:
    """Letters, texts and scale bar are drawn on the canvas, which ends where the slider begins."""
    room = read(page, served, "lps")
    for plane in PLANES:
        canvas = room.locator(f".pane-{plane} .picture").bounding_box()
        slider = room.locator(f".pane-{plane} .slice-slider").bounding_box()
        assert canvas["x"] + canvas["width"] <= slider["x"] + 0.5
        assert in_room(room, f"room.panes.find((one) => one.planeName === '{plane}').width") <= canvas["width"] + 0.5


def test_back_to_the_worklist_on_a_key(page: Any, served: Any) -> None:
    read(page, served, "lps")
    page.keyboard.press("q")
    page.wait_for_selector(".worklist tbody tr")
