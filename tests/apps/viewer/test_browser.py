"""The viewer in a real Chromium: opened, scrolled, windowed, read out; its pictures are numpy's, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_window import Window, in_room, wait_in_room, window_on

from medseg.core.geometry import Geometry
from medseg.core.task import Window as GreyWindow
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.imaging.pictures.overlay import OverlayStyle, overlay
from medseg.imaging.pictures.slices import PLANES, for_screen, grey, mask_for_screen, picture
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
    flat = np.arange(480, dtype=np.int16).reshape(24, 20, 1)
    write_volume(Volume(flat, Geometry.from_spacing(flat.shape, (1, 1, 5))), root / "results" / "flat.nii.gz")
    with serve(root / "results") as viewer:
        yield viewer


@pytest.fixture(scope="module")
def window(chromium: Any, served: Any) -> Iterator[Window]:
    with window_on(chromium, served) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/data/jobs"])
def test_no_other_page_may_frame_the_viewer_or_learn_its_addresses(served: Any, path: str) -> None:
    headers = httpx.get(served.url + path, timeout=30, trust_env=False).headers
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")


def test_open_scroll_window_jump_and_read_out(window: Window) -> None:
    page = window.worklist()
    page.get_by_role("button", name="Doe, Jane").first.click()
    page.wait_for_selector(".room[data-loaded]")
    room = page.locator(".room")
    start = in_room(room, "[...room.cursor]")

    room.locator(".pane-axial").hover()
    page.mouse.wheel(0, -100)
    wait_in_room(room, f"room.cursor.join() === '{start[0]},{start[1]},{start[2] + 1}'")
    page.mouse.wheel(0, -300)
    wait_in_room(room, f"room.cursor[2] === {start[2] + 4}")
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
def test_pictures_equal_numpys(window: Window, name: str) -> None:
    entry = next(entry for entry in list_studies(window.served.folder) if entry.name == name)
    opened = open_study(entry)
    screen = for_screen(opened.volume)
    assert opened.label_map is not None
    labels = mask_for_screen(opened.label_map)
    grey_window = GreyWindow(centre=260, width=700)
    style = OverlayStyle(opacity=0.4, has_outline=False)
    room = window.read(name)
    in_room(room, "(room.opacity = 0.4, room.setWindow({ centre: 260, width: 700 }))")
    for plane in PLANES:
        depth = picture(labels, plane, 0).size and {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
        for index in (0, screen.geometry.shape[depth] // 2, screen.geometry.shape[depth] - 1):
            expected = overlay(
                grey(screen.values(plane, index), grey_window),
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


def test_left_stays_left_on_the_screen(window: Window) -> None:
    """The lesion at the patient's right, front and head is drawn at the top left of the axial and coronal panes."""
    for name in STORED:
        room = window.read(name)
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


def test_clicks_hit_the_voxels_they_point_at(window: Window) -> None:
    room = window.read("oblique")
    wanted = [(i, j, k) for i in (3, 12) for j in (4, 15) for k in (2, 13)]
    for plane in PLANES:
        for target in wanted:
            in_room(room, f"room.setCursor({list(target)})")
            point = in_room(room, f"room.panes.find((one) => one.planeName === '{plane}').screenOf({list(target)})")
            box = room.locator(f".pane-{plane}").bounding_box()
            in_room(
                room, f"room.nudge('ArrowLeft', 2), room.setActive(room.panes.find((p) => p.planeName === '{plane}'))"
            )
            room.page.mouse.click(box["x"] + point["x"], box["y"] + point["y"])
            hit = in_room(room, "[...room.cursor]")
            depth = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
            assert [value for n, value in enumerate(hit) if n != depth] == [
                value for n, value in enumerate(target) if n != depth
            ]


def test_the_read_out_names_position_value_and_label(window: Window) -> None:
    room = window.read("ras")
    in_room(room, "room.goToFinding(0)")
    room.page.mouse.move(5, 5)
    # RAS voxel (18, 14, 10): 18 mm right, 21 mm front, 30 mm up; 40 * 18 + 140 + 10 - 200 HU.
    assert room.locator("[data-read=where]").inner_text() == "R 18.0  A 21.0  S 30.0 mm"
    assert room.locator("[data-read=voxel]").inner_text() == "voxel 18, 14, 10"
    assert room.locator("[data-read=value]").inner_text() == "670 HU"
    assert room.locator("[data-read=label]").inner_text() == "lesion"


def test_a_name_that_is_a_script_shows_as_text(window: Window) -> None:
    window.worklist().get_by_role("button", name=HOSTILE_NAME).wait_for()
    room = window.read("script")
    assert HOSTILE_NAME in room.locator(".who").inner_text()
    assert room.page.locator(".room script").count() == 0


def test_the_reader_is_told_what_this_is_not(window: Window) -> None:
    assert "Not for diagnostic use" in window.read("lps").locator(".notice").inner_text()


def test_a_rerun_of_the_page_sends_no_voxels(window: Window) -> None:
    room = window.read("lps")
    asked: list[str] = []
    room.page.on("request", lambda request: asked.append(request.url))
    before = in_room(room, "room.server.permits.study")
    in_room(room, "room.page.trigger('renew', Date.now())")
    wait_in_room(room, f"room.server.permits.study !== '{before}'")
    assert [url for url in asked if "/data/studies/" in url] == []


def picture_of(room: Any, plane: str) -> NDArray[np.uint8]:
    """The pixels of the slice that a pane shows now, as RGBA in one row."""
    pane = f"room.panes.find((one) => one.planeName === '{plane}')"
    return np.array(in_room(room, f"Array.from({pane}.image.data)"), np.uint8)


@pytest.mark.parametrize(("plane", "depth", "slices"), [("axial", 2, 16), ("coronal", 1, 20), ("sagittal", 0, 24)])
def test_the_slider_is_the_slice(window: Window, plane: str, depth: int, slices: int) -> None:
    room = window.read("lps")
    slider = room.page.get_by_role("slider", name=f"{plane.capitalize()} slice", exact=True)
    index = f"room.cursor[{depth}]"
    start = in_room(room, index)
    assert slider.get_attribute("aria-valuetext") == f"{start + 1} of {slices}"

    room.locator(f".pane-{plane}").hover()
    room.page.mouse.wheel(0, -100)
    wait_in_room(room, f"{index} === {start + 1}")
    assert slider.input_value() == str(start + 2)
    assert slider.get_attribute("aria-valuetext") == f"{start + 2} of {slices}"

    before = in_room(room, "[...room.cursor]")
    picture_before = picture_of(room, plane)
    slider.fill("3")
    assert in_room(room, "[...room.cursor]") == [2 if axis == depth else at for axis, at in enumerate(before)]
    assert not np.array_equal(picture_of(room, plane), picture_before)

    box = slider.bounding_box()
    middle = box["x"] + box["width"] / 2
    room.page.mouse.move(middle, box["y"] + box["height"] / 2)
    room.page.mouse.down()
    assert abs(in_room(room, index) - slices / 2) <= 1
    room.page.mouse.move(middle, box["y"] + 1, steps=4)
    assert in_room(room, index) == slices - 1
    room.page.mouse.up()
    room.page.mouse.move(5, 5)
    assert in_room(room, index) == slices - 1


def test_keys_on_the_slider_are_the_keys_of_its_pane(window: Window) -> None:
    room = window.read("lps")
    slider = room.page.get_by_role("slider", name="Coronal slice", exact=True)
    slider.focus()
    room.page.keyboard.press("Home")
    assert in_room(room, "[room.active.planeName, room.cursor[1]]") == ["coronal", 0]
    for key, expected in (("ArrowUp", 1), ("ArrowRight", 2), ("PageUp", 12), ("ArrowDown", 11), ("ArrowLeft", 10)):
        room.page.keyboard.press(key)
        assert in_room(room, "room.cursor[1]") == expected, key
        assert slider.input_value() == str(expected + 1), key

    # The wheel makes the axial pane the active one; a key on the coronal slider still means the coronal pane.
    box = room.locator(".pane-axial").bounding_box()
    room.page.mouse.move(box["x"] + 100, box["y"] + 100)
    room.page.mouse.wheel(0, -100)
    wait_in_room(room, "room.active.planeName === 'axial'")
    axial = in_room(room, "room.cursor[2]")
    room.page.keyboard.press("ArrowUp")
    assert in_room(room, "room.cursor.slice(1)") == [11, axial]
    room.page.keyboard.press("m")
    assert in_room(room, "room.isMaskShown") is False


def test_the_slider_stands_beside_the_picture(window: Window) -> None:
    """Letters, texts and scale bar are drawn on the canvas, which ends where the slider begins."""
    room = window.read("lps")
    for plane in PLANES:
        canvas = room.locator(f".pane-{plane} .picture").bounding_box()
        slider = room.locator(f".pane-{plane} .slice-slider").bounding_box()
        assert canvas["x"] + canvas["width"] <= slider["x"] + 0.5
        assert in_room(room, f"room.panes.find((one) => one.planeName === '{plane}').width") <= canvas["width"] + 0.5


def test_escape_closes_the_keys_and_the_room_rests_under_them(window: Window) -> None:
    room = window.open("lps")
    page, keys = room.page, room.locator(".help[open]")
    before = in_room(room, "room.isInverted")
    page.keyboard.press("?")
    keys.wait_for()
    page.keyboard.press("i")
    assert in_room(room, "room.isInverted") == before
    page.keyboard.press("Escape")
    keys.wait_for(state="detached")
    page.keyboard.press("i")
    assert in_room(room, "room.isInverted") != before


def test_back_to_the_worklist_on_a_key(window: Window) -> None:
    page = window.open("lps").page
    page.keyboard.press("q")
    page.wait_for_selector(".worklist tbody tr")


def test_a_scan_of_one_slice_without_a_mask(window: Window) -> None:
    room = window.open("flat.nii.gz")
    assert in_room(room, "room.panes.map((pane) => [pane.picture.rows, pane.picture.columns])") == [
        [20, 24],
        [1, 24],
        [1, 20],
    ]
    assert "This scan has not been segmented." in room.locator(".findings").inner_text()
    assert "There is no mask to show." in room.locator(".labels").inner_text()
    cursor = in_room(room, "[...room.cursor]")
    room.page.keyboard.press("End")
    room.page.keyboard.press("ArrowUp")
    assert in_room(room, "[...room.cursor]") == cursor
    assert room.get_by_label("Axial slice").is_disabled()
    room.page.keyboard.press("v")
    room.page.keyboard.press("Shift+E")
    room.page.get_by_text("the scan was not segmented").first.wait_for()
