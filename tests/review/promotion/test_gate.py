"""The gate lets through what is better, and nothing that is worse anywhere; on made scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.analysis.evaluation.detection import CaseDetections, PredictedLesion
from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.analysis.evaluation.summary import RESAMPLES, draw_cases
from medseg.core.errors import InputError, StoreError
from medseg.review.promotion.gate import Measured, PastCorrections, judge
from medseg.review.promotion.lesions import lesion_checks
from medseg.review.promotion.shadow import ShadowResult, ShadowSummary, summarise_shadow
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


def lesions(*hits: int) -> tuple[CaseDetections, ...]:
    """Ten scans of a lesion of 0.1 ml and one of 5 ml each, of which those numbered are found, the small ones first."""
    return tuple(
        CaseDetections(
            f"case{n}",
            tuple(PredictedLesion(1.0, 1.0, reference, 0.5) for reference in (0, 1) if reference * 10 + n in hits),
            (0.1, 5.0),
        )
        for n in range(10)
    )


def test_small_lesions_that_are_missed_count_where_large_ones_are_found() -> None:
    everything, large = range(20), range(10, 20)
    draws = draw_cases(SUBJECTS[:10], 10, RESAMPLES, 0)
    same = lesion_checks(lesions(*everything), lesions(*everything), draws, GateRules())
    assert [check.is_passed for check in same] == [True, True]
    found, false = lesion_checks(lesions(*everything), lesions(*large), draws, GateRules())
    assert (found.name, found.champion, found.challenger) == ("lesions up to 0.1 ml found", 1.0, 0.0)
    assert not found.is_passed
    assert false.is_passed
    assert lesion_checks((), (), draws, GateRules()) == []


def test_false_lesions_count() -> None:
    draws = draw_cases(SUBJECTS[:10], 10, RESAMPLES, 0)
    calling = tuple(replace(case, predicted=(PredictedLesion(1.0, 1.0),)) for case in lesions())
    (_, false) = lesion_checks(lesions(), calling, draws, GateRules())
    assert (false.challenger, false.is_passed) == (1.0, False)


def test_what_was_corrected_is_not_unlearned() -> None:
    better = np.clip(BASE + 0.02, 0, 1)
    champion, challenger = Measured("a" * 64, scores(BASE), 1.0), Measured("b" * 64, scores(better), 1.0)
    forgetful = Measured("b" * 64, scores(BASE - 0.2), 1.0)
    for on_corrections, failed in ((challenger, ()), (forgetful, ("Dice, past corrections",))):
        past = PastCorrections(champion, on_corrections, tuple(SUBJECTS))
        made = judge(champion, challenger, SUBJECTS, "made", past=past)
        assert made.failed == failed
        assert f"Past corrections: {CASES}." in made.markdown()


def test_a_shadow_is_told_of_and_its_failures_count() -> None:
    def shadow(*failures: str | None) -> ShadowSummary | None:
        return summarise_shadow(
            [
                ShadowResult(
                    study=f"study{n}",
                    scan_sha256="c" * 64,
                    champion_sha256="a" * 64,
                    challenger_sha256="b" * 64,
                    dice={} if failure else {"anterior": 0.9, "posterior": 0.7},
                    volume_ml={} if failure else {"anterior": (2.0, 3.0)},
                    findings={} if failure else {"anterior": (1, 2)},
                    failure=failure,
                )
                for n, failure in enumerate(failures)
            ]
        )

    champion = Measured("a" * 64, scores(BASE), 1.0)
    challenger = Measured("b" * 64, scores(np.clip(BASE + 0.02, 0, 1)), 1.0)
    well, ill = shadow(None, None), shadow(None, "it broke")
    assert shadow() is None
    assert well is not None
    assert well.dice == pytest.approx(0.8)
    assert (well.volume_ratio, well.findings) == ({"anterior": 1.5}, {"anterior": (2, 4)})
    assert judge(champion, challenger, SUBJECTS, "made", shadow=well).is_passed
    made = judge(champion, challenger, SUBJECTS, "made", shadow=ill)
    assert made.failed == ("failures in shadow",)
    assert "saw 2 studies beside the champion: mean Dice between the two 0.800" in made.markdown()


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
