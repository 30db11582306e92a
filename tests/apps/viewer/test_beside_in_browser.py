"""What is looked at beside a study in a real Chromium: a prior one, another mask, the uncertainty, the vessels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_window import Window, window_on

from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.exchange.write import write_label_map, write_volume
from medseg.workflows.results.open_study import list_studies, open_study

pytestmark = pytest.mark.browser


DOUBT = "slices 4 and 5 lie 0.3 mm closer together than the others"


def redate(folder: Path, date: str, model: str, warnings: tuple[str, ...] = ()) -> None:
    """Let a result be of another day and another model, and come with warnings."""
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    series = replace(report.series, study=replace(report.series.study, date=date))
    model_copy = report.model.model_copy(update={"name": model})
    (folder / "report.json").write_text(
        report.model_copy(update={"series": series, "model": model_copy, "warnings": warnings}).model_dump_json()
    )


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    vessels_in: Callable[[Path, Path], None],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("beside")
    write = writer_in(root)
    redate(write("current"), "20260312", "model_a")
    redate(write("prior"), "20251201", "model_b", (DOUBT,))
    results = root / "results"
    prior = open_study(next(entry for entry in list_studies(results) if entry.name == "prior"))
    assert prior.label_map is not None
    labels = prior.label_map.array.copy()
    labels[labels == 2] = np.where(np.arange((labels == 2).sum()) % 2 == 0, 2, 0)
    write_label_map(
        LabelMap(labels, prior.volume.geometry, prior.label_map.schema), results / "prior/segmentation.nii.gz"
    )
    chance = np.zeros(labels.shape, np.float32)
    chance[3, 4, 5] = 0.5
    write_volume(Volume(chance, prior.volume.geometry), results / "current" / "probability.nii.gz")
    vessels_in(root, results / "vessels")
    with serve(results) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def window(chromium: Any, served: Any) -> Iterator[Window]:
    with window_on(chromium, served) as opened:
        yield opened


def test_two_studies_scroll_together_and_apart(window: Window) -> None:
    current, prior = window.study("current"), window.study("prior")
    page = window.worklist()
    page.locator(f"tr[data-study='{current}']").click()
    page.keyboard.press("p")
    page.wait_for_selector(f".list-page[data-loaded='{current}'][data-compared='{current}']")
    assert prior in page.url
    host = page.locator(".list-page")

    def cursors() -> list[list[int]]:
        return list(host.evaluate("(host) => [[...host.page.prior.cursor], [...host.page.current.cursor]]"))

    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    assert [cursor[2] for cursor in cursors()] == [3, 3]
    page.locator("[data-action=link]").click()
    page.keyboard.press("ArrowUp")
    assert [cursor[2] for cursor in cursors()] == [3, 4]
    # Linked again, they stay a slice apart.
    page.locator("[data-action=link]").click()
    page.keyboard.press("ArrowUp")
    assert [cursor[2] for cursor in cursors()] == [4, 5]
    assert page.get_by_label("Prior", exact=True).get_by_role("alert").inner_text() == DOUBT
    assert page.get_by_label("Current", exact=True).get_by_role("alert").count() == 0
    row = page.locator("tr[data-change]").first
    assert re.fullmatch(r"[\d.]+ → [\d.]+", row.locator(".number").first.inner_text())
    page.keyboard.press("Home")
    row.locator("button").click()
    places = """({ page }) => [page.prior, page.current].map((side) =>
        side.study.findings.find((one) => one.is_counted && one.instance === 1).index)"""
    assert cursors() == host.evaluate(places)


def test_another_mask_is_laid_over_and_its_differences_are_coloured(window: Window) -> None:
    room = window.read("current")
    page = room.page
    page.keyboard.press("Shift+D")
    page.locator("[data-read=agreement] .number").first.wait_for()
    ours = open_study(next(entry for entry in list_studies(window.served.folder) if entry.name == "current")).label_map
    theirs = open_study(next(entry for entry in list_studies(window.served.folder) if entry.name == "prior")).label_map
    assert ours is not None
    assert theirs is not None
    both = ((ours.array == 2) & (theirs.array == 2)).sum()
    dice = 2 * both / ((ours.array == 2).sum() + (theirs.array == 2).sum())
    assert room.locator("[data-read=agreement] .number").first.inner_text() == f"{dice:.3f}"
    # Stored along LPS and shown so: where only ours has the lesion the picture is green, elsewhere grey.
    i, j, k = next(tuple(at) for at in np.argwhere((ours.array == 2) & (theirs.array == 0)))
    colour = room.evaluate(
        f"""(host) => {{
            const room = host.room;
            room.setCursor([{i}, {j}, {k}]);
            room.drawNow();
            const pane = room.panes[0];
            const at = 4 * ({j} * pane.picture.columns + {i});
            return Array.from(pane.image.data.slice(at, at + 3));
        }}"""
    )
    assert colour[1] > colour[0] + 20
    assert colour[1] > colour[2] + 20


def test_the_next_uncertain_slice_is_gone_to(window: Window) -> None:
    room = window.read("current")
    page = room.page
    page.keyboard.press(";")
    page.get_by_text("Uncertain slice 1 of 1").wait_for()
    cursor, colour = room.evaluate(
        """(host) => {
            const { room } = host;
            room.drawNow();
            const [i, j] = room.cursor;
            const pane = room.panes[0];
            const at = 4 * (j * pane.picture.columns + i);
            return [[...room.cursor], Array.from(pane.image.data.slice(at, at + 3))];
        }"""
    )
    assert cursor == [3, 4, 5]
    assert colour[0] > colour[2] + 50


def test_a_vessel_is_unrolled_over_its_diameters(window: Window) -> None:
    vessels = window.study("vessels")
    page = window.worklist()
    page.locator(f"tr[data-study='{vessels}']").dblclick()
    page.wait_for_selector(f".list-page[data-loaded='{vessels}']")
    page.wait_for_selector("[data-section=tightest]")
    host = page.locator(".list-page")
    lost = host.evaluate("(host) => host.page.vessels.blockages[0].diameter_percent")
    assert 40 < lost < 60
    # In the unrolled picture the vessel is about half as wide at the blockage as at its start.
    widths = host.evaluate(
        """(host) => {
            const { along, vessels } = host.page;
            const { values, rows, columns, stepMm, scale } = along.picture;
            const widthAt = (mm) => {
                const row = Math.min(rows - 1, Math.round(mm / stepMm));
                let count = 0;
                for (let c = 0; c < columns; c += 1) if (values[row * columns + c] / scale > 0.5) count += 1;
                return count * stepMm;
            };
            return [widthAt(5), widthAt(vessels.blockages[0].position_mm)];
        }"""
    )
    assert widths[0] == pytest.approx(4.0, abs=0.6)
    assert widths[1] == pytest.approx(2.0, abs=0.6)
    page.keyboard.press("ArrowRight")
    place = host.evaluate("(host) => host.page.alongMm - host.page.vessels.blockages[0].position_mm")
    assert place == pytest.approx(0.5)
    page.keyboard.press("]")
    assert host.evaluate("(host) => host.page.angle") == 15
