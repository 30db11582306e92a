"""Reading in a real Chromium: a study found in the worklist, its pictures moved, mask and slabs as numpy has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_window import Window, in_room, on_screen, picture_of, stored, wait_in_room, window_on

from medseg.core.geometry import Geometry, PlaneName
from medseg.core.labels import Label, LabelSchema
from medseg.core.task import Window as GreyWindow
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_volume
from medseg.imaging.pictures.overlay import OverlayStyle, overlay
from medseg.imaging.pictures.slices import DEPTH, PLANES, for_screen, grey, mask_for_screen, picture
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.records import mask_sha256
from medseg.workflows.results.open_study import list_studies, open_study

pytestmark = pytest.mark.browser

PATIENTS = {"a": "Roe^Ann", "b10": "Doe^Jane", "b2": "Poe^Max"}
NOISE = "noise.nii.gz"
LESION = 2


@pytest.fixture(scope="module")
def window(
    chromium: Any,
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Window]:
    """Three results, of which b10 is accepted, and a scan of noise whose values are those of a byte."""
    root = tmp_path_factory.mktemp("reading")
    for turned_deg, (name, patient) in enumerate(PATIENTS.items()):
        writer_in(root)(name, patient_name=patient, turned_deg=turned_deg)
    values = np.random.default_rng(0).integers(-128, 128, (14, 12, 10)).astype(np.int16)
    noise = Volume(values, Geometry.from_spacing(values.shape, (0.8, 1.5, 3.0)))
    write_volume(noise, root / "results" / NOISE)
    accept_on_disk(root / "results", "b10")
    with serve(root / "results") as viewer, window_on(chromium, viewer) as opened:
        yield opened


def accept_on_disk(results: Path, name: str) -> None:
    """Jane accepts a study as the model left it."""
    opened = open_study(next(entry for entry in list_studies(results) if entry.name == name))
    assert opened.label_map is not None
    assert opened.report is not None
    by = Signature("jane", model_sha256=opened.report.model.sha256)
    store = CorrectionStore(results / REVIEW_FOLDER)
    store.decide(mask_sha256(opened.label_map), "accepted", None, opened.source_sha256, opened.report.task.name, by=by)


def listed(page: Any) -> list[str]:
    """The folders of the worklist, in its order."""
    return [str(name) for name in page.locator(".worklist tbody td.col-name").all_inner_texts()]


def test_the_worklist_is_sorted_filtered_and_searched(window: Window) -> None:
    page = window.worklist()
    for column, order in (("patient", ["b10", "b2", "a"]), ("name", ["a", "b2", "b10"])):
        heading = page.locator(f"th[data-column={column}]")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert listed(page) == [*order, NOISE]
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        # A scan that names no patient stands last either way.
        assert listed(page) == ([*order[::-1], NOISE] if column == "patient" else [NOISE, *order[::-1]])

    page.get_by_label("Status").select_option("accepted")
    assert listed(page) == ["b10"]
    page.get_by_text("1 of 4 studies", exact=True).wait_for()
    page.get_by_label("Status").select_option("all")
    page.keyboard.press("/")
    page.keyboard.type("ann 2026-03-13")
    assert listed(page) == []
    page.keyboard.press("Backspace")
    assert listed(page) == ["a"]
    page.keyboard.press("Enter")
    page.wait_for_selector(f".room[data-loaded='{window.study('a')}']")


def test_the_next_undecided_study_on_one_key(window: Window) -> None:
    room = window.open("a")
    for name in ("b2", "a"):  # b10 lies between and is accepted; after the last the first comes again
        room.page.keyboard.press("g")
        room.page.wait_for_selector(f".room[data-loaded='{window.study(name)}']")
        family, given = PATIENTS[name].split("^")
        assert f"{family}, {given}" in room.locator(".who").inner_text()
        assert room.page.url.endswith(window.study(name))


def test_cine_plays_the_slices_of_the_active_plane_round_and_round(window: Window) -> None:
    room = window.read(NOISE)
    page = room.page
    before, start = picture_of(room, "axial"), in_room(room, "[...room.cursor]")
    page.keyboard.press("Space")
    wait_in_room(room, f"room.cursor[2] !== {start[2]}")
    page.keyboard.press("Escape")
    assert in_room(room, "room.cine.isPlaying") is False
    assert not np.array_equal(picture_of(room, "axial"), before)
    assert in_room(room, "room.cursor.slice(0, 2)") == start[:2]
    page.keyboard.press("a")
    page.keyboard.press("End")
    page.keyboard.press("Space")
    wait_in_room(room, "room.cursor[1] < 11")
    page.keyboard.press("Space")
    assert in_room(room, "room.cine.isPlaying") is False


def close_to(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two pictures are the same but for the rounding of a grey level."""
    return bool(np.abs(one.astype(int) - other).max() <= 1)


def extent(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The first and last row and column of what is not black."""
    rows, columns = np.nonzero(pixels.any(axis=2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def fitted(window: Window) -> tuple[Any, NDArray[np.uint8]]:
    """The room on the noise, no voxel of it black, and its axial picture before anything is moved."""
    room = window.read(NOISE)
    in_room(room, "room.setWindow({ centre: 0, width: 2000 })")
    return room, on_screen(room, "axial")


def test_zoom_holds_what_is_under_the_pointer(window: Window) -> None:
    room, before = fitted(window)
    page = room.page
    page.keyboard.press("-")
    assert in_room(room, "room.panes.map((pane) => pane.view.zoom)") == [0.8, 1, 1]
    middle = (np.array(before.shape[:2]) / 2).repeat(2)
    shrunk = middle + (np.array(extent(before)) - middle) * 0.8
    assert np.abs(np.array(extent(on_screen(room, "axial"))) - shrunk).max() <= 1.5
    page.keyboard.press("+")
    assert np.array_equal(on_screen(room, "axial"), before)

    box = room.locator(".pane-axial").bounding_box()
    under = "room.panes[0].voxelAt(room.hover.x, room.hover.y)"
    page.mouse.move(box["x"] + 250, box["y"] + 200)
    there, cursor = in_room(room, under), in_room(room, "[...room.cursor]")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    wait_in_room(room, "room.panes[0].view.zoom === 1.12")
    assert in_room(room, under) == pytest.approx(there, abs=1e-6)
    assert in_room(room, "[...room.cursor]") == cursor
    assert not close_to(on_screen(room, "axial"), before)
    page.keyboard.press("r")
    assert np.array_equal(on_screen(room, "axial"), before)


@pytest.mark.parametrize("button", ["left", "middle"])
def test_the_picture_moves_with_the_hand(window: Window, button: str) -> None:
    room, before = fitted(window)
    mouse, cursor = room.page.mouse, in_room(room, "[...room.cursor]")
    if button == "left":
        room.page.keyboard.press("h")
    box = room.locator(".pane-axial").bounding_box()
    mouse.move(box["x"] + 200, box["y"] + 200)
    mouse.down(button=button)
    mouse.move(box["x"] + 230, box["y"] + 220, steps=3)
    mouse.up(button=button)
    assert close_to(on_screen(room, "axial")[20:, 30:], before[:-20, :-30])
    assert in_room(room, "[...room.cursor]") == cursor


def test_one_plane_is_made_as_large_as_the_room(window: Window) -> None:
    room, _ = fitted(window)
    page = room.page
    sizes = "room.panes.map((pane) => [pane.width, pane.height])"
    before = in_room(room, sizes)
    small = extent(on_screen(room, "coronal"))
    page.keyboard.press("Enter")
    wait_in_room(room, f"room.panes[0].width > {before[0][0]}")
    page.keyboard.press("a")
    wait_in_room(room, f"room.panes[1].width > 2 * {before[1][0]} && room.panes[1].height > 1.9 * {before[1][1]}")
    assert [room.locator(f".pane-{plane}").is_visible() for plane in PLANES] == [False, True, False]
    large = extent(on_screen(room, "coronal"))
    assert large[1] - large[0] > 1.9 * (small[1] - small[0])
    room.locator(".pane-coronal").dblclick()
    wait_in_room(room, f"JSON.stringify({sizes}) === JSON.stringify({before})")


_TEXTS = """(host) => {
    const drawn = [];
    const { prototype } = CanvasRenderingContext2D;
    const { fillText } = prototype;
    prototype.fillText = (text) => drawn.push(text);
    host.room.drawNow([host.room.panes[0]]);
    prototype.fillText = fillText;
    return drawn;
}"""


@pytest.mark.parametrize("presses", [0, 4, 12])
def test_the_scale_bar_is_as_long_as_it_says(window: Window, presses: int) -> None:
    room = window.read(NOISE)
    in_room(room, "room.setWindow({ centre: 5000, width: 1 })")  # every voxel is black
    for key in ("x", "t", *"+" * presses):
        room.page.keyboard.press(key)
    pixels_per_mm, width = in_room(room, "[room.panes[0].view.pixelsPerMm, room.panes[0].width]")
    known = [n * 10.0**power for power in range(-2, 4) for n in (1, 2, 5)]
    length_mm = max(mm for mm in known if mm <= width / 4 / pixels_per_mm)
    bottom = on_screen(room, "axial", "canvas")[-12:-8, :, 0]
    _, columns = np.nonzero(np.where(np.arange(bottom.shape[1]) > width / 2 + 30, bottom > 60, False))
    assert columns.max() - columns.min() == pytest.approx(length_mm * pixels_per_mm, abs=3)
    text = f"{length_mm / 10:g} cm" if length_mm >= 10 else f"{length_mm:g} mm"
    assert text in room.evaluate(_TEXTS)


def labels_of(window: Window, name: str, plane: PlaneName, index: int) -> NDArray[np.unsignedinteger[Any]]:
    """A slice of a study's mask as it is on disk."""
    label_map = stored(window, name).label_map
    assert label_map is not None
    return picture(mask_for_screen(label_map), plane, index)


@pytest.mark.parametrize("plane", PLANES)
def test_the_outline_runs_around_the_label_and_can_be_left_out(window: Window, plane: PlaneName) -> None:
    room = window.read("a")
    in_room(room, "room.setOpacity(0)")
    index, number = in_room(room, "[...room.cursor]"), PLANES.index(plane)
    view = in_room(room, f"room.panes[{number}].view")
    rows, columns = np.nonzero(labels_of(window, "a", plane, index[DEPTH[plane]]) == LESION)
    around = [
        view["top"] + rows.min() * view["rowPixels"],
        view["top"] + (rows.max() + 1) * view["rowPixels"],
        view["left"] + columns.min() * view["columnPixels"],
        view["left"] + (columns.max() + 1) * view["columnPixels"],
    ]
    seen = on_screen(room, plane)
    coloured = seen * (np.ptp(seen, axis=2, keepdims=True) > 8)
    assert np.abs(np.array(extent(coloured)) - around).max() <= 2
    middle = tuple(int(sum(pair) / 2) for pair in (around[:2], around[2:]))
    assert not coloured[middle].any()
    room.page.keyboard.press("o")
    assert np.ptp(on_screen(room, plane), axis=2).max() == 0


def schema_with(colour: tuple[int, int, int]) -> LabelSchema:
    """The labels of the task, the lesion in another colour."""
    schema = load_task("phantom_ct").label_schema

    def recoloured(label: Label) -> Label:
        return label.model_copy(update={"colour": colour}) if label.index == LESION else label

    return schema.model_copy(update={"labels": tuple(recoloured(label) for label in schema.labels)})


def test_each_label_is_hidden_and_coloured_by_itself(window: Window) -> None:
    room = window.open("b2")
    index = in_room(room, "(room.setOpacity(0.4), room.setWindow({ centre: 260, width: 700 }), room.cursor[2])")
    under = grey(for_screen(stored(window, "b2").volume).values("axial", index), GreyWindow(centre=260, width=700))
    labels = labels_of(window, "b2", "axial", index)

    def is_shown(schema: LabelSchema, *hidden: int) -> bool:
        style = OverlayStyle(opacity=0.4, has_outline=False, hidden=frozenset(hidden))
        return np.array_equal(picture_of(room, "axial"), overlay(under, labels, schema, style))

    schema = load_task("phantom_ct").label_schema
    lesion, organ = (room.get_by_role("button", name=f"Show or hide {name}") for name in ("lesion", "organ"))
    assert is_shown(schema)
    organ.click()
    assert is_shown(schema, 1)
    lesion.click()
    assert is_shown(schema, 1, LESION)
    assert not is_shown(schema, 1)
    assert np.ptp(on_screen(room, "axial"), axis=2).max() == 0
    assert lesion.get_attribute("aria-pressed") == "false"
    lesion.click()
    room.get_by_label("Colour of lesion").fill("#10e020")
    assert is_shown(schema_with((0x10, 0xE0, 0x20)))
    assert (on_screen(room, "axial") == (0x10, 0xE0, 0x20)).all(axis=2).any()


_PROJECTIONS: dict[str, Callable[..., NDArray[Any]]] = {
    "mip": np.max,
    "minip": np.min,
    "mean": lambda values, axis: np.floor(np.mean(values, axis=axis) + 0.5),
}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("mode", _PROJECTIONS)
def test_slabs_equal_numpys(window: Window, plane: PlaneName, mode: str) -> None:
    """A slab holds the slices whose middle lies within half its thickness of the middle of the slice in view."""
    screen = for_screen(read_scan(window.served.folder / NOISE).volume)
    axis, spacing_mm = 2 - DEPTH[plane], screen.geometry.spacing_mm[DEPTH[plane]]
    room = window.read(NOISE)
    in_room(room, "room.setWindow({ centre: -0.5, width: 255 })")  # a grey level for each value
    room.get_by_label("Slab", exact=True).select_option(mode)
    count = screen.array.shape[axis]
    for thickness_mm in (2, 5, 7, 60):
        room.get_by_label("Thickness of the slab").fill(str(thickness_mm))
        for index in (0, count // 2, count - 1):
            apart_mm = np.abs(np.arange(count) - index) * spacing_mm
            slab = np.compress(apart_mm <= thickness_mm / 2, screen.array, axis=axis)
            expected = picture(np.expand_dims(_PROJECTIONS[mode](slab, axis=axis), axis), plane, 0) + 128
            in_room(room, f"room.cursor[{DEPTH[plane]}] = {index}")
            seen = picture_of(room, plane)
            assert np.array_equal(seen, np.repeat(expected[..., None], 3, axis=2)), (thickness_mm, index)
