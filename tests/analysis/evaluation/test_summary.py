"""Means, their intervals, and what they leave out."""

import math

import numpy as np
import pytest

from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.analysis.evaluation.summary import summarise
from medseg.core.errors import InputError


def case(name: str, dice: dict[str, float], hd95_mm: float = 1.0, tolerance_mm: float = 1.0) -> CaseScores:
    labels = tuple(
        LabelScores(label, value, value, hd95_mm, hd95_mm, 0.0, 0.0, 1.0, 1.0) for label, value in dice.items()
    )
    return CaseScores(name, labels, tolerance_mm)


def test_means_per_label_and_over_labels() -> None:
    summary = summarise([case("a", {"x": 0.8, "y": 0.2}), case("b", {"x": 0.6, "y": 0.4})])
    assert summary.by_label["x"]["dice"].mean == pytest.approx(0.7)
    assert summary.by_label["y"]["dice"].mean == pytest.approx(0.3)
    assert summary.over_labels["dice"].mean == pytest.approx(0.5)
    assert (summary.case_count, summary.over_labels["dice"].cases) == (2, 4)


def test_undefined_and_infinite_scores_are_left_out_and_counted() -> None:
    cases = [case("a", {"x": 0.8}), case("b", {"x": math.nan}, math.nan), case("c", {"x": 0.0}, math.inf)]
    summary = summarise(cases)
    dice, distance = summary.by_label["x"]["dice"], summary.by_label["x"]["hd95_mm"]
    assert dice.mean == pytest.approx(0.4)
    assert (dice.cases, dice.undefined, dice.infinite) == (2, 1, 0)
    assert (distance.mean, distance.cases, distance.undefined, distance.infinite) == (1.0, 1, 1, 1)


def test_a_label_that_is_nowhere_does_not_pull_the_mean_over_labels() -> None:
    summary = summarise([case("a", {"x": 0.8, "y": math.nan}), case("b", {"x": 0.6, "y": math.nan})])
    assert math.isnan(summary.by_label["y"]["dice"].mean)
    assert all(math.isnan(end) for end in summary.by_label["y"]["dice"].interval)
    assert summary.over_labels["dice"].mean == pytest.approx(0.7)


def test_the_interval_is_that_of_the_mean() -> None:
    # 100 draws of a normal distribution: the mean's 95 % interval is 1.96 sd / sqrt(100) to each side.
    values = np.random.default_rng(3).normal(0.7, 0.1, 100)
    statistic = summarise([case(str(n), {"x": float(v)}) for n, v in enumerate(values)]).by_label["x"]["dice"]
    half = 1.96 * values.std() / 10
    assert statistic.interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)


def test_the_same_seed_gives_the_same_interval_and_another_a_near_one() -> None:
    cases = [case(str(n), {"x": n / 10}) for n in range(10)]
    first, again, other = summarise(cases), summarise(cases), summarise(cases, seed=1)
    assert first == again
    assert first.by_label["x"]["dice"].interval != other.by_label["x"]["dice"].interval
    assert first.by_label["x"]["dice"].interval == pytest.approx(other.by_label["x"]["dice"].interval, abs=0.03)


def test_patients_are_drawn_with_all_their_scans() -> None:
    # Twenty equal scans of each of two patients say as much as two scans: the interval spans both patients.
    cases = [case(f"{patient}{n}", {"x": value}) for patient, value in (("a", 0.0), ("b", 1.0)) for n in range(20)]
    subjects = [name.case[0] for name in cases]
    assert summarise(cases, subjects=subjects).by_label["x"]["dice"].interval == (0.0, 1.0)
    low, high = summarise(cases).by_label["x"]["dice"].interval
    assert 0.3 < low < high < 0.7


def test_one_case_has_no_spread() -> None:
    assert summarise([case("a", {"x": 0.5})]).by_label["x"]["dice"].interval == (0.5, 0.5)


def test_what_cannot_be_summarised_is_refused() -> None:
    with pytest.raises(InputError, match="no cases"):
        summarise([])
    with pytest.raises(InputError, match="case 'b' was scored for other labels"):
        summarise([case("a", {"x": 1.0}), case("b", {"y": 1.0})])
    with pytest.raises(InputError, match=r"2\.0 mm"):
        summarise([case("a", {"x": 1.0}), case("b", {"x": 1.0}, tolerance_mm=2.0)])
    with pytest.raises(InputError, match="1 cases but 2 subjects"):
        summarise([case("a", {"x": 1.0})], subjects=["p", "q"])
