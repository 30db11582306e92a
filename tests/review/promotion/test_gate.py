"""The gate lets through what is better, and nothing that is worse anywhere; on made scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.core.errors import InputError, StoreError
from medseg.review.promotion.gate import Measured, judge
from medseg.review.promotion.verdict import Check, GateRules, GateVerdict, read_verdict, write_verdict

CASES = 40
LABELS = ("anterior", "posterior")
SUBJECTS = [f"s{n}" for n in range(CASES)]
VOLUMES = np.linspace(0.1, 4.0, CASES)[:, None] * np.ones((1, 2))
BASE = np.clip(0.8 + 0.05 * np.random.default_rng(0).normal(size=(CASES, 2)), 0, 1)


def scores(dice: NDArray[np.float64]) -> tuple[CaseScores, ...]:
    return tuple(
        CaseScores(
            f"case{n}",
            tuple(
                LabelScores(label, float(value), 1.0, 1.0, 1.0, 0.0, 0.0, float(volume), float(volume))
                for label, value, volume in zip(LABELS, row, volumes, strict=True)
            ),
            1.0,
        )
        for n, (row, volumes) in enumerate(zip(dice, VOLUMES, strict=True))
    )


def verdict(
    dice: NDArray[np.float64], seconds: float = 1.0, error: float | None = 0.05, rules: GateRules | None = None
) -> GateVerdict:
    champion = Measured("a" * 64, scores(BASE), 1.0, 0.05)
    return judge(champion, Measured("b" * 64, scores(dice), seconds, error), SUBJECTS, "made", rules)


def noise(size: float) -> NDArray[np.float64]:
    return size * np.random.default_rng(1).normal(size=(CASES, 2))


def test_a_better_model_is_promoted() -> None:
    found = verdict(np.clip(BASE + 0.02 + noise(0.01), 0, 1))
    assert found.failed == ()
    assert found.is_passed
    (mean,) = (check for check in found.checks if check.name == "Dice, mean")
    assert mean.interval is not None
    assert mean.interval[0] < mean.difference < mean.interval[1]


def test_a_spoilt_model_is_refused() -> None:
    found = verdict(np.zeros_like(BASE))
    assert {"Dice, mean", "Dice, anterior", "Dice, small structures", "structures found"} <= set(found.failed)


def test_one_with_swapped_labels_is_refused() -> None:
    found = verdict(np.full_like(BASE, 0.02))
    assert {"Dice, mean", "Dice, anterior", "Dice, posterior"} <= set(found.failed)


def test_a_gain_in_one_label_does_not_pay_for_another() -> None:
    found = verdict(np.clip(BASE + np.array([0.1, -0.03]), 0, 1))
    assert "Dice, mean" not in found.failed
    assert "Dice, posterior" in found.failed


def test_a_gain_on_average_does_not_pay_for_small_structures() -> None:
    change = np.where(VOLUMES < 0.6, -0.1, 0.05)
    found = verdict(np.clip(BASE + change, 0, 1))
    (mean,) = (check for check in found.checks if check.name == "Dice, mean")
    assert mean.is_passed
    assert mean.difference > 0.02
    assert "Dice, small structures" in found.failed


def test_a_few_disasters_are_refused() -> None:
    dice = np.clip(BASE + 0.03, 0, 1)
    dice[-2:] = 0.3
    assert "Dice, worst cases" in verdict(dice).failed


def test_what_is_missed_altogether_counts() -> None:
    dice = np.clip(BASE + 0.05, 0, 1)
    dice[20, 0] = dice[25, 1] = 0.0
    assert "structures found" in verdict(dice).failed


def test_the_same_model_gains_nothing() -> None:
    assert verdict(BASE).failed == ("Dice, mean",)
    assert verdict(BASE, rules=GateRules(must_gain=False)).is_passed


def test_what_cannot_be_shown_is_not_shown() -> None:
    """A gain of 0.002 in the mean, so noisy that a loss beyond the margin is possible."""
    jitter = noise(0.15)
    dice = BASE + 0.002 + jitter - jitter.mean(axis=0)
    found = verdict(dice)
    assert "Dice, mean" in found.failed


def test_calibration_and_run_time() -> None:
    better = np.clip(BASE + 0.02, 0, 1)
    assert verdict(better, seconds=1.6).failed == ("seconds a case",)
    assert verdict(better, error=0.08).failed == ("calibration error",)
    assert "calibration error" not in {check.name for check in verdict(better, error=None).checks}


def test_a_false_alarm_where_nothing_is_counts_against_it() -> None:
    champion, challenger = np.clip(BASE, 0, 1), np.clip(BASE + 0.001, 0, 1)
    champion[:8, 0] = np.nan  # nothing there, nothing found
    challenger[:8, 0] = 0.0
    one, other = (Measured(sha * 64, scores(dice), 1.0) for sha, dice in (("a", champion), ("b", challenger)))
    assert "Dice, anterior" in judge(one, other, SUBJECTS, "made").failed


def test_too_few_cases_or_others_are_refused() -> None:
    few = Measured("a" * 64, scores(BASE)[:5], 1.0)
    with pytest.raises(InputError, match="5 test cases show too little"):
        judge(few, few, SUBJECTS[:5], "made")
    whole = Measured("a" * 64, scores(BASE), 1.0)
    with pytest.raises(InputError, match="not scored on the same cases"):
        judge(whole, Measured("b" * 64, scores(BASE)[::-1], 1.0), SUBJECTS, "made")


def test_a_verdict_is_written_and_read(tmp_path: Path) -> None:
    made = verdict(np.zeros_like(BASE))
    write_verdict(made, tmp_path / "verdict.json")
    assert read_verdict(tmp_path / "verdict.json") == made
    text = (tmp_path / "verdict.md").read_text()
    assert "is refused: Dice, mean" in text
    assert "| Dice, mean | 0.80" in text
    (tmp_path / "verdict.json").write_text("{}")
    with pytest.raises(StoreError, match="is no verdict"):
        read_verdict(tmp_path / "verdict.json")
    assert isinstance(made.checks[0], Check)


def test_half_as_slow_again_is_the_limit_whatever_the_champion_takes() -> None:
    better = scores(np.clip(BASE + 0.02, 0, 1))
    for seconds, passes in ((5.9, True), (6.0, True), (6.1, False)):
        found = judge(
            Measured("a" * 64, scores(BASE), 4.0, None), Measured("b" * 64, better, seconds, None), SUBJECTS, "made"
        )
        (time,) = (check for check in found.checks if check.name == "seconds a case")
        assert time.is_passed is passes
        assert time.limit == pytest.approx(2.0)
        assert time.difference == pytest.approx(seconds - 4.0)


def test_where_nothing_is_everything_is_found() -> None:
    nothing = tuple(
        replace(case, labels=tuple(replace(one, reference_ml=0.0) for one in case.labels)) for case in scores(BASE)
    )
    found = judge(Measured("a" * 64, nothing, 1.0, None), Measured("b" * 64, nothing, 1.0, None), SUBJECTS, "made")
    (structures,) = (check for check in found.checks if check.name == "structures found")
    assert (structures.champion, structures.challenger, structures.is_passed) == (1.0, 1.0, True)


def test_the_rules_of_the_house() -> None:
    assert GateRules().fewest_cases == 10
    for wrong in ({"fewest_cases": 1}, {"worst_share": 0.0}, {"worst_share": 1.1}, {"most_times_as_slow": 0.9}):
        with pytest.raises(ValidationError):
            GateRules.model_validate(wrong)
