"""The predicted Dice follows the true one, and its interval holds it as often as it says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.models.quality.dice_prediction import DicePredictor

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


def test_too_few_cases_are_a_sentence() -> None:
    with pytest.raises(InputError, match="9 cases are too few for an interval that holds 90%"):
        DicePredictor.fit(*cases(9, 0))
    with pytest.raises(InputError, match="holds 99% of the time; it takes 99"):
        DicePredictor.fit(*cases(50, 0), 0.99)
