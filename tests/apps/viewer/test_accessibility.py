"""Each page, with something on it, against axe-core's rules: no serious finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.viewer.desk import WORK_FOLDER
from medseg.core.label_map import LabelMap
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.records import mask_sha256
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.segmenting.segment_on_request import Requests

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    vessels_in: Callable[[Path, Path], None],
    serve: Callable[..., AbstractContextManager[Any]],
) -> Iterator[Any]:
    """Two studies that were accepted, one read twice, one that is broken, a vessel, a job that failed, an archive."""
    root = tmp_path_factory.mktemp("accessible")
    results = root / "results"
    for name, turned_deg in (("a", 0.0), ("b", 0.0), ("twice", 5.0)):
        writer_in(root)(name, turned_deg=turned_deg)
    review(results)
    (results / "broken").mkdir()
    (results / "broken" / "report.json").write_text("{")
    vessels_in(root, results / "vessels")
    requests = Requests(results / WORK_FOLDER)
    requests.submit(root / "scan.nii.gz", root / "model", "ab" * 32, results / "segmented")
    requests.set_aside("scan.nii.gz is not a NIfTI file")
    (root / "medseg.toml").write_text('[archive]\nurl = "http://127.0.0.1:9/dicom-web"\n')
    with serve(results, "--config", str(root / "medseg.toml"), reader="ann") as viewer:
        yield viewer


def review(results: Path) -> None:
    """Jane accepts the first study, and corrects another, which john then reads a second time."""
    opened = {entry.name: open_study(entry) for entry in list_studies(results) if entry.kind == "result"}
    store = CorrectionStore(results / REVIEW_FOLDER)
    for name, study in opened.items():
        assert study.label_map is not None
        assert study.report is not None
        about = (study.source_sha256, study.report.task.name)
        jane, john = (Signature(reader, model_sha256=study.report.model.sha256) for reader in ("jane", "john"))
        if name == "a":
            store.decide(mask_sha256(study.label_map), "accepted", None, *about, by=jane)
        elif name == "twice":
            drawn = np.array(study.label_map.array)
            drawn[:3, :3, :3] = 2
            corrected = LabelMap(drawn, study.label_map.geometry, study.label_map.schema)
            store.correct(corrected, study.label_map, *about, by=jane)
            store.correct(study.label_map, study.label_map, *about, by=john, is_second_reading=True)


@pytest.fixture(params=["dark", "light"])
def page(chromium: Any, served: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(f"localStorage.setItem('medseg-theme', '{request.param}')")
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    opened.goto(served.url)
    opened.wait_for_selector(".worklist tbody tr")
    yield opened
    context.close()


FOUND_IN_ARCHIVE = {
    "studies": [
        {
            "study_uid": "1.2.3",
            "patient_name": "Doe^Jane",
            "patient_id": "P-001",
            "date": "20260312",
            "description": "Abdomen",
            "series": [
                {
                    "series_uid": "1.2.3.4",
                    "modality": "CT",
                    "description": "Portal venous",
                    "body_part": "ABDOMEN",
                    "instance_count": 160,
                }
            ],
        }
    ],
    "cut_at": 200,
}
"""What an archive answers, with every word that the page shows of it."""


def row(page: Any, name: str) -> Any:
    """The row of the worklist about that folder."""
    return page.locator("tr", has=page.locator("td.col-name").get_by_text(name, exact=True))


def test_no_page_around_reading_has_a_serious_finding(page: Any, serious: Callable[[Any], list[str]]) -> None:
    found = {"worklist": serious(page)}
    page.route("**/data/archives/find", lambda route: route.fulfill(json=FOUND_IN_ARCHIVE))
    row(page, "a").click()
    for key, ready in (("u", "input[type=file]"), ("f", "[data-action=find]"), ("s", "[data-action=start]:enabled")):
        page.keyboard.press(key)
        page.locator("dialog").locator(ready).first.wait_for(state="attached")
        if key == "f":
            page.keyboard.type("P-001")
            page.keyboard.press("Enter")
            page.locator("[data-series]").wait_for()
        found[f"dialog {key}"] = serious(page)
        page.locator("dialog").get_by_role("button", name="Close").click()
        page.locator("dialog").wait_for(state="detached")
    for name, ready in (
        ("Jobs", ".badge.failed"),
        ("Models", ".model"),
        ("Dashboard", "svg .bar.accepted"),
        ("Log", ".list table"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("[aria-current=page]", has_text=name).wait_for()
        page.wait_for_selector(ready)
        found[name] = serious(page)
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_no_page_of_reading_has_a_serious_finding(page: Any, served: Any, serious: Callable[[Any], list[str]]) -> None:
    found = {}
    row(page, "vessels").dblclick()
    page.wait_for_selector(".list-page[data-loaded] [data-section=tightest]")
    found["vessels"] = serious(page)
    page.keyboard.press("q")
    for name in ("a", "b"):
        row(page, name).click()
        page.keyboard.press("x")
    page.keyboard.press("p")
    page.wait_for_selector("[data-loaded][data-compared]")
    found["compare"] = serious(page)
    page.keyboard.press("q")
    row(page, "twice").dblclick()
    page.wait_for_selector(".room[data-loaded]:not(.list-page)")
    page.locator("[data-read=readers]").get_by_text("Cohen's kappa").wait_for()
    found["reading room"] = serious(page)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    found["keys"] = serious(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+E")
    page.locator("dialog").locator("[data-action=send]").wait_for()
    found["export"] = serious(page)
    page.goto(f"{served.url}/read?study=none")
    page.get_by_text("This study cannot be shown").wait_for()
    page.get_by_role("button", name="Back to the worklist").wait_for()
    found["refusal"] = serious(page)
    assert {name: problems for name, problems in found.items() if problems} == {}
