"""The pages around the reading room in a real Chromium: brought in, segmented, exported, looked up."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_window import Window, window_on

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.workflows.results.open_study import list_studies, measured, open_study

pytestmark = pytest.mark.browser

_STYLES_ARRIVED = """(one) => Promise.all(
    [...one.getRootNode().querySelectorAll("link")].map(
        (link) => link.sheet || new Promise((arrived) => link.addEventListener("load", arrived)),
    ),
)"""


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("office")
    writer_in(root)("study_1")
    (entry,) = list_studies(root / "results")
    report = measured(open_study(entry)).report
    assert report is not None
    (entry.path / "report.json").write_text(report.model_dump_json())
    # Large enough to be at work for many seconds, so that a job on it can be taken back.
    noise = np.random.default_rng(0).integers(0, 200, (160, 160, 160)).astype(np.int16)
    write_volume(Volume(noise, Geometry.from_spacing(noise.shape, (1, 1, 1))), root / "results" / "large.nii")
    (root / "results" / "cut.nii").write_bytes(bytes(400))
    with serve(root / "results") as viewer:
        yield viewer


@pytest.fixture(scope="module")
def window(chromium: Any, served: Any) -> Iterator[Window]:
    with window_on(chromium, served) as opened:
        yield opened


@pytest.fixture
def page(window: Window) -> Iterator[Any]:
    opened = window.worklist()
    yield opened
    opened.close()


def test_brought_in_segmented_and_read(page: Any, served: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(100, 20, (40, 44, 40)).astype(np.int16)
    write_volume(Volume(values, Geometry.from_spacing((40, 44, 40), (1, 1, 1))), tmp_path / "head.nii.gz")
    page.keyboard.press("u")
    page.get_by_label("Files or a zip").first.set_input_files(tmp_path / "head.nii.gz")
    page.get_by_text("One scan was taken in.").wait_for()
    page.keyboard.press("Escape")
    page.locator("tr", has_text="uploads/head").wait_for()
    page.locator("tr", has_text="uploads/head").click()
    page.keyboard.press("s")
    page.locator("[data-action=start]").click()
    page.locator(".job-line", has_text="head").wait_for()
    # The job goes on while another page is looked at.
    page.get_by_role("button", name="Models", exact=True).click()
    page.locator("[data-model=hippocampus_mr]").wait_for()
    page.get_by_role("button", name="Jobs", exact=True).click()
    page.locator(".badge.done").wait_for()
    page.get_by_role("button", name="Worklist", exact=True).click()
    page.locator("tr", has_text="segmented/head__hippocampus_mr").dblclick()
    page.wait_for_selector(".room[data-loaded]")
    (entry,) = [entry for entry in list_studies(served.folder) if entry.kind == "result" and "head" in entry.name]
    assert entry.report is not None
    assert entry.report.model.name == "hippocampus_mr"


def test_a_job_is_taken_back_from_the_page(page: Any, served: Any) -> None:
    page.locator("tr", has_text="large").first.click()
    page.keyboard.press("s")
    page.locator("[data-action=start]").click()
    page.locator(".job-line", has_text="large").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Jobs", exact=True).click()
    page.locator("tr", has_text="large").locator(".badge.cancelled").wait_for()
    assert list((served.folder / "segmented").glob("large__hippocampus_mr*")) == []


def test_a_job_that_fails_says_why(page: Any, served: Any) -> None:
    page.locator("tr", has_text="cut.nii").first.click()
    page.keyboard.press("s")
    page.locator("[data-action=start]").click()
    page.locator("dialog").wait_for(state="detached")
    page.get_by_role("button", name="Jobs", exact=True).click()
    failed = page.locator("tr", has_text="cut.nii").filter(has=page.locator(".badge.failed"))
    failed.wait_for()
    assert "cut.nii is not a NIfTI file" in failed.inner_text()
    assert str(served.folder) not in failed.inner_text()


def press(pressed: Any) -> None:
    """Press the mouse button on an element, and keep it down. What moves as the styles arrive has moved before."""
    pressed.evaluate(_STYLES_ARRIVED)
    pressed.hover()
    pressed.page.mouse.down()


def test_a_press_on_a_row_is_a_click_though_the_reading_order_comes_meanwhile(window: Window, served: Any) -> None:
    page = window.page()
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/data/reading-order", hold)
    with page.expect_request("**/data/reading-order"):
        page.goto(served.url)
    pressed = page.locator(".worklist tbody tr:not(.chosen)").last
    study = pressed.get_attribute("data-study")
    press(pressed.locator(".col-name"))
    held.pop().fulfill(json=[study])
    page.wait_for_function("(host) => host.worklist.order.length > 0", arg=page.locator(".room").element_handle())
    page.mouse.up()
    # The row is chosen, and the order is shown.
    page.locator(f"tr.chosen[data-study='{study}'] .col-next", has_text="1").wait_for()
    page.close()


@pytest.mark.parametrize(
    ("name", "place"), [("Worklist", ".job-strip"), ("Jobs", ".job-strip"), ("Jobs", ".jobs tbody")]
)
def test_a_press_on_cancel_is_a_click_though_the_jobs_are_looked_at_meanwhile(page: Any, name: str, place: str) -> None:
    job = {"id": "j", "source": "head", "model": "brain", "state": "running", "submitted_s": 0, "settled_s": None}
    progress = {"stage": "predicting", "done": 0.1, "total": 1}
    page.route("**/data/jobs", lambda route: route.fulfill(json=[{**job, "progress": progress}]))
    page.route("**/data/jobs/j/cancel", lambda route: route.fulfill(status=204))
    page.get_by_role("button", name=name, exact=True).click()
    if name == "Jobs":  # the worklist, which has such a strip too, stays until the page is there
        page.locator(".jobs tbody tr").first.wait_for()
    cancel = page.locator(place).get_by_role("button", name="Cancel")
    press(cancel)
    progress["done"] = 0.6
    page.get_by_text("predicting 60 %").wait_for()
    with page.expect_request("**/data/jobs/j/cancel"):
        page.mouse.up()


def test_what_is_no_scan_is_said_in_the_dialog(page: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.nii", b"\0" * 100_000_000)
    page.get_by_role("button", name="Bring in").click()
    page.get_by_label("Files or a zip").first.set_input_files(tmp_path / "bomb.zip")
    page.locator("dialog", has_text="times its size").wait_for()


def test_exported_from_the_reading_room(page: Any, tmp_path: Path) -> None:
    page.locator("tr", has_text="study_1").first.dblclick()
    page.wait_for_selector(".room[data-loaded]")
    page.keyboard.press("Shift+E")
    page.get_by_label("Findings (CSV)").check()
    page.get_by_label("Report with pictures (PDF)").check()
    assert page.get_by_label("DICOM SEG").is_disabled()
    with page.expect_download() as download:
        page.locator("[data-action=take]").click()
    download.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.namelist() == ["findings.csv", "report.pdf"]


def test_what_was_done_is_in_the_log_and_counted(page: Any) -> None:
    page.locator("tr", has_text="study_1").first.dblclick()
    page.wait_for_selector(".room[data-loaded]")
    page.keyboard.press("Shift+Y")
    page.wait_for_selector(".badge.accepted")
    page.keyboard.press("q")
    page.get_by_role("button", name="Log", exact=True).click()
    page.locator("tr", has_text="study accepted").wait_for()
    assert page.locator("tr", has_text="view").count() > 0
    page.get_by_role("button", name="Dashboard", exact=True).click()
    page.locator("svg .bar.accepted").wait_for()
    assert "1 of " in page.locator(".tiles").inner_text()


def test_how_far_an_upload_is_and_stopped(page: Any, tmp_path: Path) -> None:
    """The page is told of an arrival that is unpacked, then stays half read until it is stopped."""
    stopped: list[str] = []
    is_unpacked = threading.Event()

    def told(route: Any) -> None:
        if route.request.method == "DELETE":
            stopped.append(route.request.url)
            route.fulfill(status=204)
        elif stopped:
            route.fulfill(status=422, body="it was stopped, and nothing was kept")
        elif not is_unpacked.is_set():
            route.fulfill(json={"stage": "waiting", "done": 0, "total": 0, "taken": None})
        else:
            route.fulfill(json={"stage": "reading", "done": 40, "total": 160, "taken": None})

    page.route("**/data/arrivals/*", told)
    (tmp_path / "notes.txt").write_text("no scan")
    page.keyboard.press("u")
    page.get_by_label("Files or a zip").first.set_input_files(tmp_path / "notes.txt")
    page.get_by_text("Looking at what arrived …").wait_for()
    is_unpacked.set()
    page.get_by_text("Read 40 of 160 images …").wait_for()
    assert page.locator("progress.arriving").get_attribute("value") == "0.25"
    page.locator("[data-action=stop]").click()
    page.get_by_text("The upload was stopped; nothing was kept.").wait_for()
    assert page.locator("[data-action=stop]").is_disabled()
    assert len(stopped) == 1


def test_stopped_while_the_server_begins_to_take_it_in(page: Any, tmp_path: Path) -> None:
    """The id of the arrival comes after the stop, and the arrival is ended all the same."""
    begun: list[Any] = []

    def hold(route: Any) -> None:
        begun.append(route)

    page.route("**/data/uploads/*/done?*", hold)
    page.route("**/data/arrivals/*", lambda route: route.fulfill(status=422, body="it was stopped"))
    (tmp_path / "notes.txt").write_text("no scan")
    page.keyboard.press("u")
    with page.expect_request("**/data/uploads/*/done?*"):
        page.get_by_label("Files or a zip").first.set_input_files(tmp_path / "notes.txt")
    page.locator("[data-action=stop]").click()
    with page.expect_request(lambda asked: asked.method == "DELETE" and asked.url.endswith("/arrivals/late")):
        begun[0].fulfill(json={"arrival": "late"})
    page.get_by_text("The upload was stopped; nothing was kept.").wait_for()
