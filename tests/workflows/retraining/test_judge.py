"""The gate with real, tiny models: a spoilt one, one of swapped labels, a better one; and the promotion by verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from made_site import BallImage, Site

from apps.retraining.promote import main
from medseg.core.errors import InputError, StoreError
from medseg.exchange.nifti import write_nifti
from medseg.models.bundle import ModelBundle, load_bundle, save_bundle
from medseg.models.inference.ensemble import Model
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.models.store import load_model
from medseg.review.promotion.verdict import Check, GateRules, GateVerdict, write_verdict
from medseg.workflows.retraining.judge import judge_challenger, promote, verdict_path
from medseg.workflows.segmenting.segment_study import segment_study

RULES = GateRules(most_times_as_slow=20.0)
"""Seconds say nothing on a busy machine."""


def changed(site: Site, folder: Path, change: str) -> Path:
    """The champion spoilt: its weights scattered, its two classes swapped, or worse than it is by some noise."""
    bundle = load_bundle(site.trained.folder)
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in bundle.weights.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if change == "scattered":
            weights[name] = noise.to(tensor.dtype)
        elif change == "swapped" and tensor.shape[:1] == (2,):
            weights[name] = tensor.flip(0)
        else:
            weights[name] = tensor
    save_bundle(folder, bundle.spec, weights, bundle.provenance.model_copy(update={"seed": 7}), None)
    return folder


def challenge(site: Site, folder: Path) -> None:
    site.registry.point(CHALLENGER, str(site.registry.add(folder).number), person="ann", reason="to be judged")


@pytest.mark.parametrize("change", ["scattered", "swapped"])
def test_a_spoilt_challenger_is_refused_and_not_promoted(site_with_tests: Site, tmp_path: Path, change: str) -> None:
    site = site_with_tests
    challenge(site, changed(site, tmp_path / "spoilt", change))
    verdict = judge_challenger(site.registry.folder, site.original, rules=RULES)
    assert verdict.cases == 13
    assert {"Dice, mean", "Dice, sarcoma"} <= set(verdict.failed)
    with pytest.raises(StoreError, match=r"the gate refused version 2: .*Dice, mean"):
        promote(site.registry.folder, CHALLENGER, person="ann")
    assert site.registry.aliases()[CHAMPION] == 1
    assert "is refused" in next((site.registry.folder / "verdicts").glob("*.md")).read_text()


def test_a_better_challenger_is_promoted_and_can_be_taken_back(
    site_with_tests: Site, ball_image: BallImage, tmp_path: Path
) -> None:
    """The trained model against one of scattered weights as champion."""
    site = site_with_tests
    registry = site.registry
    registry.point(
        CHAMPION, str(registry.add(changed(site, tmp_path / "bad", "scattered")).number), person="a", reason=""
    )
    registry.point(CHALLENGER, "1", person="ann", reason="better")
    with pytest.raises(StoreError, match="there is no verdict"):
        promote(registry.folder, CHALLENGER, person="ann")
    rules = RULES.model_copy(update={"calibration_margin": 1.0, "lesion_margin": 1.0})
    site.correct("corrected", *ball_image(site.grid, 200))
    verdict = judge_challenger(registry.folder, site.original, rules=rules, results=[site.results])
    assert verdict.failed == ()
    assert verdict.corrections == 1
    assert {"Dice, past corrections", "false lesions a scan"} <= {check.name for check in verdict.checks}
    assert promote(registry.folder, CHALLENGER, person="ann").number == 1
    champion = load_model(f"champion@{registry.folder}")
    report = segment_study(site.original.cases[0].channels, champion, tmp_path / "next study")
    assert report.model.sha256 == site.trained.bundle.sha256
    assert registry.aliases() == {CHAMPION: 1, CHALLENGER: 1}
    assert registry.roll_back(CHAMPION, person="ann", reason="a test").number == 2


def test_of_two_judged_against_one_champion_only_the_first_is_promoted(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is promoted while the second, of which the gate knows nothing against the first, is being loaded."""
    registry, load = site.registry, Registry.load
    for change in ("scattered", "swapped"):
        judged = registry.add(changed(site, tmp_path / change, change))
        verdict = passed_verdict(judged.sha256, site.trained.bundle.sha256)
        write_verdict(verdict, verdict_path(registry.folder, judged.sha256, site.trained.bundle.sha256))

    def load_while_the_first_is_promoted(self: Registry, name: str) -> Model:
        monkeypatch.setattr(Registry, "load", load)
        promote(registry.folder, "2", person="ann")
        return load(self, name)

    monkeypatch.setattr(Registry, "load", load_while_the_first_is_promoted)
    with pytest.raises(StoreError, match=r"the champion changed meanwhile: .*Judge version 3 again"):
        promote(registry.folder, "3", person="bob")
    assert [move.number for move in registry.history(CHAMPION)] == [1, 2]


def passed_verdict(challenger_sha256: str, champion_sha256: str) -> GateVerdict:
    check = Check(name="Dice, mean", is_passed=True, champion=0.5, challenger=0.6, difference=0.1, limit=0.0)
    return GateVerdict(
        created=datetime(2026, 1, 1, tzinfo=UTC),
        champion_sha256=champion_sha256,
        challenger_sha256=challenger_sha256,
        dataset="balls",
        cases=1,
        subjects=1,
        rules=RULES,
        checks=(check,),
    )


def test_one_that_has_learned_from_the_test_is_refused(site_with_tests: Site, tmp_path: Path) -> None:
    site = site_with_tests
    bundle: ModelBundle = load_bundle(site.trained.folder)
    names = {case.name: "0" * 64 for case in site.original.cases}
    provenance = bundle.provenance.model_copy(update={"case_sha256": names})
    save_bundle(tmp_path / "peeped", bundle.spec, bundle.weights, provenance, None)
    challenge(site, tmp_path / "peeped")
    with pytest.raises(InputError, match="has learned from 13 of the test cases"):
        judge_challenger(site.registry.folder, site.original)


def test_a_test_case_that_was_changed_is_noticed(site_with_tests: Site, tmp_path: Path) -> None:
    site = site_with_tests
    challenge(site, changed(site, tmp_path / "spoilt", "swapped"))
    for path in (site.folder / "more" / "images").iterdir():
        write_nifti(np.random.default_rng(0).normal(size=site.grid.shape).astype(np.float32), site.grid, path)
    with pytest.raises(InputError, match="is not the scan that was frozen"):
        judge_challenger(site.registry.folder, site.original)


def test_the_program_tells_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "models"), str(tmp_path)]) == 2
    assert Registry(tmp_path / "models").folder.exists() is False
