"""The whole chain, with a tiny network: archive, service, reader, retraining, gate, and the next study by the champion.

benchmarks/product/whole_chain.py is the same with the commands, on made CT of full size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain_stages import correct_and_accept, models_of, running_site, send
from made_balls import RADIUS_MM, UPRIGHT, centre_of, make_ball_image, plan_for_balls
from made_site import YOUNG_RULES, Site, young_site
from orthanc import require_orthanc, require_storescu
from served_viewer import launched_chromium
from viewer_window import Spot, paint, window_on

from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.models.registry.registry import CHALLENGER, CHAMPION
from medseg.workflows.retraining.judge import judge_challenger, promote
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import Sources

pytestmark = pytest.mark.browser

CORRECTED = {"anna": 130, "bert": 131, "cleo": 132}
"""Seeds of the balls of the patients whose studies are corrected."""

NEXT = {"dora": 133}


@pytest.fixture
def chromium() -> Iterator[Any]:
    require_orthanc()
    require_storescu()
    with launched_chromium() as browser:
        yield browser


@pytest.fixture
def young(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """A site whose champion has hardly learned anything."""
    monkeypatch.setattr("secrets.token_hex", lambda count: "salt")  # who is for training is then no chance
    return young_site(tmp_path)


def mr_study(folder: Path, patient: str, seed: int) -> Path:
    image, _ = make_ball_image(UPRIGHT, seed)
    study = Study(patient_id=patient, patient_name=patient, date="20260101")
    write_series(Volume(image.astype(np.int16), UPRIGHT), folder / patient, Series(study, "MR"))
    return folder / patient


def redraw(room: Any, seed: int) -> None:
    """Wipe away what the model drew, and paint the ball."""
    paint(room, (Spot(0, centre_of(seed), 30.0), Spot(1, centre_of(seed), RADIUS_MM)))


def test_what_readers_correct_makes_the_champion_that_segments_the_next_study(
    chromium: Any, young: Site, tmp_path: Path
) -> None:
    registry, original = young.registry, young.original
    first = registry.version(CHAMPION).sha256[:16]
    with running_site(tmp_path, registry.folder, "MR") as site:
        send(site, *(mr_study(tmp_path / "new", *patient) for patient in CORRECTED.items()))
        assert models_of(site) == {patient: {"SEG": first, "SR": first} for patient in CORRECTED}
        with window_on(chromium, site) as window:
            for patient, seed in CORRECTED.items():
                correct_and_accept(window, patient, partial(redraw, seed=seed))

        sources = Sources((site.results,), original)
        made = retrain(registry.folder, sources, tmp_path / "second", plan=plan_for_balls(original.task))
        assert made.selection.corrections == len(CORRECTED)
        verdict = judge_challenger(registry.folder, original, results=sources.results, rules=YOUNG_RULES)
        assert verdict.failed == ()
        assert verdict.corrections == len(CORRECTED)
        promote(registry.folder, CHALLENGER, person="ann")

        send(site, *(mr_study(tmp_path / "new", *patient) for patient in NEXT.items()))
        second = registry.version(CHAMPION).sha256[:16]
        assert second == made.model.sha256[:16] != first
        assert models_of(site) == {
            **{patient: {"SEG": first, "SR": first} for patient in CORRECTED},
            **{patient: {"SEG": second, "SR": second} for patient in NEXT},
        }
