"""A challenger has quality control of its own, and a promotion that would lose the champion's says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_site import YOUNG_RULES, BallImage, Site
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.volume import Volume
from medseg.models.bundle import load_bundle, save_bundle
from medseg.models.inference.ensemble import control_of
from medseg.models.quality.control import QualityControl, ResultQuality
from medseg.models.quality.dice_prediction import DicePredictor
from medseg.models.quality.input_gate import InputGate, scan_features
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.models.store import load_model
from medseg.training.planning.plan import Plan
from medseg.workflows.retraining.control import lost_by_promotion, lost_control
from medseg.workflows.retraining.judge import judge_challenger
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.segmenting.segment_study import QUALITY, segment_study


@pytest.fixture
def control(site: Site, ball_image: BallImage) -> QualityControl:
    """A gate that knows ten balls, and a line that knows nothing but a constant."""
    volumes = [Volume(ball_image(site.grid, number)[0], site.grid) for number in range(10)]
    predictor = DicePredictor(weights=(0.9, 0.0, 0.0), half_width=0.1, coverage=0.9, poor=0.5, cases=10)
    gate = InputGate.fit([scan_features(volume) for volume in volumes])
    return QualityControl(temperature=1.5, predictor=predictor, gate=gate, fitted_on="balls")


def shortened(plan: Plan) -> Plan:
    return plan.model_copy(update={"training": plan.training.model_copy(update={"epochs": 1, "steps_per_epoch": 2})})


def test_a_challenger_is_qualified_on_its_validation_side(
    site: Site, ball_image: BallImage, ball_plan: Plan, tmp_path: Path
) -> None:
    for number in range(20, 25):
        site.correct(f"new{number}", *ball_image(site.grid, number))
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=shortened(ball_plan))
    known = control_of(site.registry.load(CHALLENGER))
    assert made.without_control == ""
    assert known is not None
    assert known == made.model.quality
    assert (known.gate.scans, known.predictor) == (len(made.selection.cases), None)
    assert "too few held-out cases to predict a Dice; the gate knows" in known.sentence
    shutil.rmtree(tmp_path / "run" / "qualified")  # killed before it was written
    assert retrain(site.registry.folder, site.sources(), tmp_path / "run").challenger == made.challenger
    site.registry.point(CHAMPION, CHALLENGER, person="ann", reason="better")
    champion = load_model(f"champion@{site.registry.folder}")
    segment_study(site.original.cases[0].channels, champion, tmp_path / "results" / "next")
    quality = ResultQuality.model_validate_json((tmp_path / "results" / "next" / QUALITY).read_bytes())
    assert quality.predicted is None
    assert quality.distances


def test_a_challenger_of_few_scans_has_none_and_the_command_says_so(
    site: Site, ball_image: BallImage, ball_plan: Plan, tmp_path: Path
) -> None:
    site.correct("new", *ball_image(site.grid, 20))
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=shortened(ball_plan))
    scans = len(made.selection.cases)
    assert made.model.quality is None
    assert made.without_control.startswith(f"the challenger has no quality control: {scans} scans are too few")


def test_enough_held_out_patients_predict_the_dice(
    site_with_tests: Site, ball_image: BallImage, ball_plan: Plan, tmp_path: Path
) -> None:
    site = site_with_tests
    site.correct("new", *ball_image(site.grid, 20))
    made = retrain(site.registry.folder, site.sources(), tmp_path / "run", plan=shortened(ball_plan))
    held_out = sum(case.side == "validation" for case in made.selection.cases)
    assert made.model.quality is not None
    assert made.model.quality.predictor is not None
    assert made.model.quality.predictor.cases == held_out


def test_a_promotion_that_loses_control_is_warned_of(
    site_with_tests: Site, control: QualityControl, tmp_path: Path
) -> None:
    site, registry = site_with_tests, site_with_tests.registry
    plain = load_bundle(site.trained.folder)
    save_bundle(tmp_path / "with", plain.spec, plain.weights, plain.provenance, None, control)
    number = str(registry.add(tmp_path / "with").number)
    assert lost_by_promotion(registry, number) == ()
    registry.point(CHAMPION, number, person="ann", reason="qualified")
    registry.point(CHALLENGER, "1", person="ann", reason="without")
    verdict = judge_challenger(registry.folder, site.original, rules=YOUNG_RULES)
    (warning,) = verdict.warnings
    assert "the champion has quality control and this model has none" in warning
    assert f"Warning: {warning}" in verdict.markdown()
    words = ["models", "promote", str(registry.folder), "1", "--without-verdict", "a test"]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    assert f"warning: {warning}" in told.output
    assert lost_by_promotion(registry, number) == ()


def test_a_prediction_can_be_lost_alone(site: Site, control: QualityControl) -> None:
    champion = replace(site.trained.bundle, quality=control)
    less = replace(champion, quality=control.model_copy(update={"predictor": None}))
    (warning,) = lost_control(champion, less)
    assert "predicts the Dice of its results and this model does not" in warning
    assert lost_control(less, champion) == lost_control(champion, champion) == ()


def test_a_champion_that_is_lost_can_be_replaced(site: Site) -> None:
    registry = Registry(site.registry.folder)
    (folder,) = (registry.folder / "models").iterdir()
    kept = site.folder / "kept"
    shutil.copytree(folder, kept)
    bundle = load_bundle(kept)
    save_bundle(site.folder / "other", bundle.spec, bundle.weights, bundle.provenance, None)
    number = str(registry.add(site.folder / "other").number)
    shutil.rmtree(folder)
    assert lost_by_promotion(registry, number) == ()
