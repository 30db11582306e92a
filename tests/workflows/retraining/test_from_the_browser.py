"""The whole loop from a browser: corrected, accepted, retrained, let through the gate, and the next study is better."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_balls import RADIUS_MM, centre_of, make_ball_image
from made_site import YOUNG_RULES, Site, young_site
from served_viewer import launched_chromium, viewer_over
from viewer_window import Spot, accept, open_row, paint, save

from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import CHALLENGER, CHAMPION
from medseg.training.planning.plan import Plan
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.retraining.retrain import retrain

pytestmark = pytest.mark.browser

SCANS = {"today": 130, "tomorrow": 131}
"""The scans of new patients, and the seeds of their balls."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """A site whose champion has hardly learned anything."""
    monkeypatch.setattr("secrets.token_hex", lambda count: "salt")  # who is for training is then no chance
    return young_site(tmp_path)


@pytest.fixture
def page(site: Site) -> Iterator[Any]:
    """The viewer over two scans of new patients, with the registry's models."""
    for name, seed in SCANS.items():
        write_nifti(make_ball_image(site.grid, seed)[0], site.grid, site.results / f"{name}.nii.gz")
    models = str(site.registry.folder.parent)
    with viewer_over(site.results, "--models", models) as viewer, launched_chromium() as browser:
        opened = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        opened.set_default_timeout(60_000)
        opened.goto(viewer.url)
        opened.wait_for_selector(".worklist tbody tr")
        yield opened


def segment_by_champion(page: Any, scan: str) -> None:
    """From the worklist, and back there when the result is listed."""
    page.locator("tr", has_text=scan).first.click()
    page.keyboard.press("s")
    page.get_by_label("Model").select_option(f"{CHAMPION}@models")
    page.locator("[data-action=start]").click()
    page.locator("tr", has_text=f"segmented/{scan}__").wait_for()


def correct_and_accept(page: Any, scan: str) -> None:
    """What the model drew is wiped away, the ball is painted and saved, and the study is accepted with it."""
    room = open_row(page, f"segmented/{scan}__")
    paint(room, (Spot(0, centre_of(SCANS[scan]), 30.0), Spot(1, centre_of(SCANS[scan]), RADIUS_MM)))
    save(room)
    accept(room)
    page.keyboard.press("q")
    page.wait_for_selector(".worklist tbody tr")


def model_of(site: Site, scan: str) -> str:
    reports = [entry.report for entry in list_studies(site.results) if f"{scan}__" in entry.name]
    assert reports[0] is not None
    return reports[0].model.sha256


def test_what_is_corrected_in_the_browser_makes_the_next_champion(
    page: Any, site: Site, ball_plan: Plan, tmp_path: Path
) -> None:
    registry = site.registry
    segment_by_champion(page, "today")
    assert model_of(site, "today") == registry.version("1").sha256
    correct_and_accept(page, "today")
    made = retrain(registry.folder, site.sources(), tmp_path / "run", plan=ball_plan)
    assert made.selection.corrections == 1
    verdict = judge_challenger(registry.folder, site.original, rules=YOUNG_RULES)
    assert verdict.failed == ()
    promote(registry.folder, CHALLENGER, person="ann")
    segment_by_champion(page, "tomorrow")
    assert model_of(site, "tomorrow") == made.model.sha256 == registry.version(CHAMPION).sha256
