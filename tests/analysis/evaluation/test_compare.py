"""Two models on the same cases."""

import math

import numpy as np
import pytest

from medseg.analysis.evaluation.compare import compare_models
from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.core.errors import InputError


def case(name: str, dice: float) -> CaseScores:
    return CaseScores(name, (LabelScores("x", dice, dice, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0),), 1.0)


def test_a_small_steady_gain_is_seen_through_cases_of_very_different_difficulty() -> None:
    dice = np.random.default_rng(0).uniform(0.2, 0.9, 30)
    gain = np.random.default_rng(1).normal(0.02, 0.01, 30)
    first = [case(str(n), float(value)) for n, value in enumerate(dice)]
    second = [case(str(n), float(value)) for n, value in enumerate(dice + gain)][::-1]
    comparison = compare_models(first, second)
    assert comparison.difference == pytest.approx(gain.mean())
    assert comparison.is_certain
    assert 0.015 < comparison.interval[0] < comparison.difference < comparison.interval[1] < 0.025
    backwards = compare_models(second, first)
    assert backwards.difference == pytest.approx(-gain.mean())


def test_noise_is_not_a_difference() -> None:
    generator = np.random.default_rng(2)
    first = [case(str(n), float(value)) for n, value in enumerate(generator.uniform(0.4, 0.6, 20))]
    second = [case(str(n), float(value)) for n, value in enumerate(generator.uniform(0.4, 0.6, 20))]
    assert not compare_models(first, second).is_certain


def test_scores_that_one_model_lacks_are_left_out_of_both() -> None:
    comparison = compare_models([case("a", 0.5), case("b", math.nan)], [case("a", 0.6), case("b", 0.0)])
    assert (comparison.first_mean, comparison.second_mean) == (0.5, 0.6)
    assert (comparison.cases, comparison.left_out) == (1, 1)


def test_other_cases_are_refused() -> None:
    with pytest.raises(InputError, match=r"only one has \['b'\]"):
        compare_models([case("a", 0.5)], [case("a", 0.5), case("b", 0.5)])
    with pytest.raises(InputError, match="twice"):
        compare_models([case("a", 0.5), case("a", 0.5)], [case("a", 0.5), case("a", 0.5)])
