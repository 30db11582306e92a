"""The predicted Dice follows the true one, and its interval holds it as often as it says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.models.quality.dice_prediction import DicePredictor, held_out_coverage, result_features

Shown = list[NDArray[np.float64]]


def cases(count: int, seed: int) -> tuple[Shown, list[float]]:
    generator = np.random.default_rng(seed)
    promised = generator.uniform(0.6, 0.95, count)
    dice = 0.9 * promised + generator.normal(0, 0.03, count)
    shown = [np.array([1.0, one, one - 0.05, generator.normal()]) for one in promised]
    return shown, dice.tolist()


def test_it_follows_the_true_dice() -> None:
    predictor = DicePredictor.fit(*cases(40, 0))
    shown, dice = cases(200, 1)
    predicted = [predictor.predict(one).dice for one in shown]
    assert np.corrcoef(predicted, dice)[0, 1] > 0.9
    assert np.mean(np.abs(np.subtract(predicted, dice))) < 0.03


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_interval_holds_as_often_as_it_says(coverage: float) -> None:
    """Over 100 fits on 30 cases each: within two points of what is stated."""
    held = []
    for seed in range(100):
        predictor = DicePredictor.fit(*cases(30, seed), coverage)
        for one, dice in zip(*cases(100, 1000 + seed), strict=True):
            low, high = predictor.predict(one).interval
            held.append(low <= dice <= high)
    assert np.mean(held) == pytest.approx(coverage, abs=0.02)


def test_a_predictor_knows_how_often_its_intervals_held() -> None:
    shown, dice = cases(60, 0)
    measured = DicePredictor.fit(shown, dice).measured(shown, dice)
    assert measured.held == held_out_coverage(shown, dice)
    assert measured.held == pytest.approx(0.9, abs=0.04)
    assert held_out_coverage(shown, np.where(np.arange(60) % 2, 0.0, 1.0).tolist(), 0.5) == pytest.approx(0.5, abs=0.2)
    assert held_out_coverage(shown[:19], dice[:19]) is None
    assert held_out_coverage(shown[:20], dice[:20]) is not None


def test_a_predictor_of_before_is_still_read() -> None:
    """Its weights are of the first features, as they are."""
    old = DicePredictor(weights=(0.1, 0.5, 0.0, 0.2), half_width=0.1, coverage=0.9, poor=0.5, cases=20)
    made = old.predict(np.array([1.0, 0.8, 0.7, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]))
    assert made.dice == pytest.approx(0.1 + 0.4 + 0.2)


def test_what_a_result_shows_of_itself() -> None:
    """By hand: two voxels of 1 ml, one sure and one of 0.6; one voxel beside them of 0.4, half the answers agreeing."""
    grid = Geometry.from_spacing((1, 1, 12), (10.0, 10.0, 10.0))
    schema = load_task("sarcoma_mr").label_schema
    mask, kept, image = (np.zeros(grid.shape, kind) for kind in (np.uint8, np.uint8, np.float32))
    mask[0, 0, 4:6], kept[0, 0, 4:7], image[0, 0, 4:6] = 1, (255, 153, 102), 10.0
    agreement = ProbabilityMap(np.full(grid.shape, 51, np.uint8), grid)
    told = Probabilities({schema.labels[0].name: ProbabilityMap(kept, grid)}, agreement)
    shown = result_features(Volume(image, grid), LabelMap(mask, grid, schema), told)
    expected = 2 * 1.6 / (2 + 2.0)
    assert shown[:6] == pytest.approx([1, expected, expected, np.log10(2.01), np.log10(2 / 2 + 0.01), 0.8])
    assert shown[7:] == pytest.approx([1.0, 0.0])
    nothing = result_features(Volume(image, grid), LabelMap(0 * mask, grid, schema), Probabilities({}))
    assert np.isfinite(nothing).all()


def test_too_few_cases_are_a_sentence() -> None:
    with pytest.raises(InputError, match="9 cases are too few for an interval that holds 90%"):
        DicePredictor.fit(*cases(9, 0))
    with pytest.raises(InputError, match="holds 99% of the time; it takes 99"):
        DicePredictor.fit(*cases(50, 0), 0.99)
