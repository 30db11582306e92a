"""Models by path and by name; the shipped ones are whole, and their cards tell the truth about them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import StoreError
from medseg.core.geometry import Geometry
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.models.bundle import Provenance, Scores, load_bundle, save_bundle
from medseg.models.card import model_card
from medseg.models.quality.control import QualityControl
from medseg.models.quality.dice_prediction import DicePredictor
from medseg.models.quality.input_gate import InputGate, scan_features
from medseg.models.spec import ModelSpec
from medseg.models.store import find_model, shipped_models
from medseg.models.weights import weights_of


def test_a_folder_goes_before_a_name_and_neither_is_a_sentence(
    tmp_path: Path, spec: ModelSpec, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("hippocampus_mr").parent.name == "shipped_models"
    save_bundle(tmp_path / "hippocampus_mr", spec, weights_of(spec.network.build(1, 3)), provenance, None)
    assert find_model("hippocampus_mr").resolve() == tmp_path / "hippocampus_mr"
    with pytest.raises(StoreError, match=r"hippocampos is not a model bundle.*shipped model: .*hippocampus_mr"):
        find_model("hippocampos")


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_is_whole_small_and_described(name: str) -> None:
    folder = find_model(name)
    bundle = load_bundle(folder)
    assert bundle.name == name
    assert bundle.spec.task == load_task(bundle.spec.task.name)
    assert bundle.provenance.dataset_licence
    assert bundle.scores is not None
    assert (folder / "card.md").read_text(encoding="utf-8") == model_card(bundle)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000_000


def test_a_card_says_what_it_reached_and_what_it_is_not(
    tmp_path: Path, spec: ModelSpec, provenance: Provenance, scores: Scores
) -> None:
    weights = weights_of(spec.network.build(1, 3))
    card = model_card(save_bundle(tmp_path / "m", spec, weights, provenance, scores))
    assert "| mean | Dice | 0.500 | 0.400 to 0.600 | 3 |" in card
    assert "Not for diagnostic use." in card
    plain = model_card(save_bundle(tmp_path / "n", spec, weights, provenance, None))
    assert "It was not evaluated." in plain
    assert "It has no quality control" in plain


def test_a_card_says_how_far_a_result_can_be_trusted(
    tmp_path: Path, spec: ModelSpec, provenance: Provenance, scores: Scores
) -> None:
    flat = scan_features(Volume(np.zeros((4, 4, 4), np.float32), Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))))
    predictor = DicePredictor(weights=(0.9, 0, 0), half_width=0.06, coverage=0.9, poor=0.5, cases=40, held=0.884)
    quality = QualityControl(
        temperature=1.6, predictor=predictor, gate=InputGate.fit([flat] * 8), fitted_on="hippocampi, fold 0"
    )
    weights = weights_of(spec.network.build(1, 3))
    bundle = save_bundle(tmp_path / "m", spec, weights, provenance, scores, quality)
    card = model_card(bundle)
    assert "fitted on hippocampi, fold 0, held out from training" in card
    assert "predicted within 0.060 in 90% of cases, by 40 cases left out" in card
    assert "such intervals held the Dice of 88.4% of the other half" in card
    without = quality.model_copy(update={"predictor": None})
    assert "The Dice of a result is not predicted" in model_card(replace(bundle, quality=without))
    few = quality.model_copy(update={"predictor": predictor.model_copy(update={"held": None})})
    assert "too few to halve" in model_card(replace(bundle, quality=few))
