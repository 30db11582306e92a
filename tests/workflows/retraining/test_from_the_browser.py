"""The whole loop from a browser: corrected, accepted, retrained, let through the gate, and the next study is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_site import BallImage, Site
from served_viewer import launched_chromium, viewer_over

from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.review.promotion.verdict import GateRules
from medseg.training.planning.plan import Plan
from medseg.workflows.progress import silent
from medseg.workflows.results.open_study import list_studies
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import open_register
from medseg.workflows.training.train_model import train_model

pytestmark = pytest.mark.browser

RULES = GateRules(most_times_as_slow=20.0, calibration_margin=1.0, fewest_cases=4)
"""Seconds say nothing on a busy machine, and what learned for a second is not calibrated."""


@pytest.fixture
def young_site(site: Site, ball_image: BallImage, ball_plan: Plan) -> Site:
    """A site whose champion has hardly learned anything, with eleven patients more whom no model has seen."""
    rows = list(site.original.rows)
    (channel,) = rows[0].channels
    for number in range(100, 111):
        paths = [site.folder / "more" / kind / f"more{number}.nii.gz" for kind in ("images", "labels")]
        for path, array in zip(paths, ball_image(site.grid, number), strict=True):
            write_nifti(array, site.grid, path)
        image, label = (replace(rows[0].channels[channel], path=str(path)) for path in paths)
        name = f"more{number}"
        rows.append(replace(rows[0], case=name, subject=name, fold=0, channels={channel: image}, label=label))
    training = ball_plan.training.model_copy(update={"epochs": 1, "steps_per_epoch": 6})
    young = train_model(
        site.original, 0, site.folder / "young", plan=ball_plan.model_copy(update={"training": training})
    )
    registry = Registry(site.folder / "store" / "models")
    registry.add(young.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    original = replace(site.original, rows=tuple(rows))
    open_register(registry.folder, original, young.bundle, silent)
    return replace(site, original=original, registry=registry)


@pytest.fixture
def page(young_site: Site, ball_image: BallImage) -> Iterator[Any]:
    """The viewer over two scans of new patients, with the registry's models."""
    for number, name in ((130, "today"), (131, "tomorrow")):
        write_nifti(ball_image(young_site.grid, number)[0], young_site.grid, young_site.results / f"{name}.nii.gz")
    models = str(young_site.registry.folder.parent)
    with viewer_over(young_site.results, "--models", models) as viewer, launched_chromium() as browser:
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
    """A stroke of the brush in the axial plane, saved, and the study accepted with it."""
    page.locator("tr", has_text=f"segmented/{scan}__").dblclick()
    page.wait_for_selector(".room[data-loaded]")
    page.keyboard.press("b")
    box = page.locator(".pane-axial").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 5, steps=6)
    page.mouse.up()
    page.keyboard.press("Control+s")
    page.locator("[data-read=review-state]", has_text="saved").wait_for()
    page.keyboard.press("Shift+Y")
    page.wait_for_selector(".badge.accepted")
    page.keyboard.press("q")
    page.wait_for_selector(".worklist tbody tr")


def model_of(site: Site, scan: str) -> str:
    reports = [entry.report for entry in list_studies(site.results) if f"{scan}__" in entry.name]
    assert reports[0] is not None
    return reports[0].model.sha256


def test_what_is_corrected_in_the_browser_makes_the_next_champion(
    page: Any, young_site: Site, ball_plan: Plan, tmp_path: Path
) -> None:
    site, registry = young_site, young_site.registry
    segment_by_champion(page, "today")
    assert model_of(site, "today") == registry.version("1").sha256
    correct_and_accept(page, "today")
    made = retrain(registry.folder, site.sources(), tmp_path / "run", plan=ball_plan)
    assert made.selection.corrections == 1
    verdict = judge_challenger(registry.folder, site.original, rules=RULES)
    assert verdict.failed == ()
    promote(registry.folder, CHALLENGER, person="ann")
    segment_by_champion(page, "tomorrow")
    assert model_of(site, "tomorrow") == made.model.sha256 == registry.version(CHAMPION).sha256
