"""Each limit of the gate from both sides, and the figures that the verdict names; scores are even, so all is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.core.errors import InputError
from medseg.review.promotion.gate import Measured, PastCorrections, judge
from medseg.review.promotion.shadow import ShadowSummary
from medseg.review.promotion.verdict import Check, GateRules, GateVerdict, write_verdict

CASES = 40
SUBJECTS = [f"s{n}" for n in range(CASES)]
EXACT = GateRules(margin=0.125, small_margin=0.125, worst_margin=0.125, found_margin=0.125, past_margin=0.125)
"""Margins that binary fractions hold exactly."""


def measured(dice: NDArray[np.float64], sha: str = "b", error: float | None = None, seconds: float = 1.0) -> Measured:
    """A model whose dice (case, label) these are; the n-th case's structures have n + 1 ml."""
    cases = tuple(
        CaseScores(
            f"case{n}",
            tuple(
                LabelScores(label, float(value), 1.0, 1.0, 1.0, 0.0, 0.0, n + 1.0, n + 1.0)
                for label, value in zip(("one", "other"), row, strict=True)
            ),
            1.0,
        )
        for n, row in enumerate(dice)
    )
    return Measured(sha * 64, cases, seconds, error)


def even(value: float) -> NDArray[np.float64]:
    return np.full((CASES, 2), value)


def changed(by: float, where: Callable[[NDArray[np.intp]], NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Dice of 0.5, changed in the cases of these numbers."""
    dice = even(0.5)
    dice[where(np.arange(CASES))] += by
    return dice


def check(verdict: GateVerdict, name: str) -> Check:
    (found,) = (one for one in verdict.checks if one.name == name)
    return found


CHAMPION = measured(even(0.5), "a", 0.25)


@pytest.mark.parametrize(("loss", "passes"), [(0.125, True), (0.1251, False)])
def test_a_loss_up_to_the_margin_is_no_worse(loss: float, passes: bool) -> None:
    rules = EXACT.model_copy(update={"must_gain": False})
    verdict = judge(CHAMPION, measured(even(0.5 - loss)), SUBJECTS, "made", rules)
    names = ["Dice, mean", "Dice, one", "Dice, other", "Dice, small structures", "Dice, worst cases"]
    assert verdict.failed == (() if passes else tuple(names))
    for name in names:
        found = check(verdict, name)
        assert found.champion == 0.5
        assert found.challenger == pytest.approx(0.5 - loss)
        assert found.difference == pytest.approx(-loss)
        assert found.limit == -0.125
        assert found.interval == pytest.approx((-loss, -loss))


def test_a_gain_is_asked_for_unless_the_rules_do_without() -> None:
    same = measured(even(0.5))
    assert judge(CHAMPION, same, SUBJECTS, "made").failed == ("Dice, mean",)
    assert judge(CHAMPION, same, SUBJECTS, "made", GateRules(must_gain=False)).is_passed
    assert judge(CHAMPION, measured(even(0.5001)), SUBJECTS, "made").is_passed


def test_a_gain_does_not_pay_for_a_mean_that_may_be_worse() -> None:
    wild = measured(changed(0.5, lambda n: n % 20 == 0) - np.where(np.arange(CASES) % 2, 0.0, 0.045)[:, None])
    verdict = judge(CHAMPION, wild, SUBJECTS, "made")
    assert check(verdict, "Dice, mean").difference > 0
    assert "Dice, mean" in verdict.failed


def test_the_smallest_quarter_of_a_label_is_small() -> None:
    """40 structures of 1 to 40 ml: the quantile 0.25 is 10.75 ml, so ten of them."""
    verdict = judge(CHAMPION, measured(changed(-0.25, lambda n: n < 10)), SUBJECTS, "made", EXACT)
    found = check(verdict, "Dice, small structures")
    assert (found.champion, found.challenger, found.is_passed) == (0.5, 0.25, False)
    others = judge(CHAMPION, measured(changed(-0.25, lambda n: n >= 10)), SUBJECTS, "made", EXACT)
    assert check(others, "Dice, small structures").difference == 0


def test_where_a_label_is_nowhere_nothing_of_it_is_small() -> None:
    def without_other(model: Measured) -> Measured:
        cases = (
            replace(case, labels=(case.labels[0], replace(case.labels[1], reference_ml=0.0))) for case in model.cases
        )
        return replace(model, cases=tuple(cases))

    dice = even(0.5)
    dice[:, 1] = 0.0
    verdict = judge(without_other(CHAMPION), without_other(measured(dice)), SUBJECTS, "made", EXACT)
    assert check(verdict, "Dice, small structures").difference == 0
    assert check(verdict, "structures found").challenger == 1.0


@pytest.mark.parametrize(("share", "count"), [(0.1, 4), (0.11, 4), (0.12, 5), (0.001, 1), (1.0, 40)])
def test_the_worst_cases_are_a_share_of_all_and_at_least_one(share: float, count: int) -> None:
    rules = EXACT.model_copy(update={"worst_share": share})
    verdict = judge(CHAMPION, measured(changed(-0.5, lambda n: n == 7)), SUBJECTS, "made", rules)
    assert check(verdict, "Dice, worst cases").challenger == pytest.approx(0.5 - 0.5 / count)


def test_the_worst_cases_are_each_model_s_own() -> None:
    champion = replace(measured(changed(-0.5, lambda n: n < 4)), sha256="a" * 64)
    verdict = judge(champion, measured(changed(-0.25, lambda n: n >= 36)), SUBJECTS, "made", EXACT)
    found = check(verdict, "Dice, worst cases")
    assert (found.champion, found.challenger, found.is_passed) == (0.0, 0.25, True)


def test_a_loss_in_the_worst_cases_is_shown_to_be_small_or_is_refused() -> None:
    """The worst four lose 0.01 on average, under the margin of 0.02: all evenly, or by one case that is drawn or not.

    Where that case is drawn twice, as in a quarter of the draws, the loss is at least 0.04; three times, 0.07.
    """
    evenly = check(judge(CHAMPION, measured(even(0.49)), SUBJECTS, "made"), "Dice, worst cases")
    assert evenly.interval == pytest.approx((-0.01, -0.01))
    assert evenly.is_passed
    dice = even(0.52)
    dice[7] = 0.40
    by_one = check(judge(CHAMPION, measured(dice), SUBJECTS, "made"), "Dice, worst cases")
    assert by_one.difference == pytest.approx(-0.01)
    assert by_one.interval == pytest.approx((-0.07, 0.02))
    assert not by_one.is_passed


def test_a_patient_s_scans_are_drawn_together_into_the_worst_cases() -> None:
    """Two patients of 20 scans each: a draw holds all scans of one of them or all of both."""
    dice = changed(-0.25, lambda n: n < 20)
    subjects = ["left" if n < 20 else "right" for n in range(CASES)]
    found = check(judge(CHAMPION, measured(dice), subjects, "made", EXACT), "Dice, worst cases")
    assert found.interval == (-0.25, 0.0)


@pytest.mark.parametrize(("missed", "passes"), [(10, True), (11, False)])
def test_structures_found_are_a_share_of_those_that_are_there(missed: int, passes: bool) -> None:
    dice = even(0.5)
    dice[:missed, 0] = 0.0  # of 80 structures
    found = check(judge(CHAMPION, measured(dice), SUBJECTS, "made", EXACT), "structures found")
    assert found.champion == 1.0
    assert found.challenger == pytest.approx(1 - missed / 80)
    assert found.difference == pytest.approx(-missed / 80)
    assert (found.limit, found.interval) == (-0.125, None)
    assert found.is_passed is passes


@pytest.mark.parametrize(("error", "passes"), [(0.125, True), (0.375, True), (0.376, False)])
def test_the_calibration_error_may_grow_by_its_margin(error: float, passes: bool) -> None:
    rules = GateRules(calibration_margin=0.125)
    found = check(judge(CHAMPION, measured(even(0.6), error=error), SUBJECTS, "made", rules), "calibration error")
    assert found.is_passed is passes
    assert (found.champion, found.challenger, found.limit) == (0.25, error, 0.125)
    assert found.difference == pytest.approx(error - 0.25)


@pytest.mark.parametrize("errors", [(None, 0.25), (0.25, None)])
def test_calibration_is_judged_where_both_were_measured(errors: tuple[float | None, float | None]) -> None:
    champion, challenger = measured(even(0.5), "a", errors[0]), measured(even(0.6), error=errors[1])
    assert "calibration error" not in {one.name for one in judge(champion, challenger, SUBJECTS, "made").checks}


@pytest.mark.parametrize(("loss", "passes"), [(0.125, True), (0.126, False)])
def test_past_corrections_have_their_own_margin(loss: float, passes: bool) -> None:
    past = PastCorrections(CHAMPION, measured(even(0.5 - loss)), tuple(SUBJECTS))
    found = check(judge(CHAMPION, measured(even(0.6)), SUBJECTS, "made", EXACT, past=past), "Dice, past corrections")
    assert found.is_passed is passes
    assert found.difference == pytest.approx(-loss)
    assert found.limit == -0.125


@pytest.mark.parametrize(("failures", "studies", "share"), [(0, 0, 0.0), (0, 4, 0.0), (1, 1, 1.0), (1, 4, 0.25)])
def test_every_failure_in_the_shadow_counts(failures: int, studies: int, share: float) -> None:
    shadow = ShadowSummary(
        champion_sha256="a" * 64,
        challenger_sha256="b" * 64,
        studies=studies,
        failures=failures,
        dice=None,
        dice_of_label={},
        volume_ratio={},
        findings={},
        seconds=None,
        most_apart=(),
    )
    found = check(judge(CHAMPION, measured(even(0.6)), SUBJECTS, "made", shadow=shadow), "failures in shadow")
    assert (found.champion, found.challenger, found.difference, found.limit) == (0.0, share, share, 0.0)
    assert found.is_passed is (failures == 0)


@pytest.mark.parametrize(("fewest", "passes"), [(40, True), (41, False)])
def test_the_fewest_cases_are_enough(fewest: int, passes: bool) -> None:
    rules = GateRules(fewest_cases=fewest)
    if passes:
        assert judge(CHAMPION, measured(even(0.6)), SUBJECTS, "made", rules).cases == 40
    else:
        with pytest.raises(InputError, match="40 test cases show too little: the gate asks for 41"):
            judge(CHAMPION, measured(even(0.6)), SUBJECTS, "made", rules)


@pytest.mark.parametrize("subjects", [SUBJECTS[:-1], [*SUBJECTS, "s40"]])
def test_a_subject_for_each_case_is_asked_for(subjects: list[str]) -> None:
    with pytest.raises(InputError, match="not scored on the same cases"):
        judge(CHAMPION, measured(even(0.6)), subjects, "made")


def test_the_cases_come_in_one_order() -> None:
    turned = replace(CHAMPION, cases=CHAMPION.cases[::-1])
    for champion, challenger in ((CHAMPION, turned), (turned, CHAMPION)):
        with pytest.raises(InputError, match="not scored on the same cases"):
            judge(champion, challenger, SUBJECTS, "made")


def test_nothing_found_where_nothing_is_counts_as_right() -> None:
    nothing = even(0.5)
    nothing[:20, 0] = np.nan
    found = check(judge(CHAMPION, measured(nothing), SUBJECTS, "made"), "Dice, one")
    assert found.challenger == 0.75  # half of the cases 1, half 0.5


def test_the_verdict_says_what_it_holds_for() -> None:
    subjects = [f"s{n // 2}" for n in range(CASES)]
    made = judge(CHAMPION, measured(even(0.6)), subjects, "a set")
    assert (made.cases, made.subjects, made.dataset, made.corrections) == (40, 20, "a set", 0)
    assert (made.champion_sha256, made.challenger_sha256) == ("a" * 64, "b" * 64)
    assert made.rules == GateRules()
    assert abs((datetime.now(UTC) - made.created).total_seconds()) < 3600
    assert judge(CHAMPION, measured(even(0.6)), subjects, "a set").checks == made.checks, (
        "the same seed, the same verdict"
    )


def test_cases_of_one_subject_are_drawn_together() -> None:
    """Two subjects, one better and one worse: drawn with all their cases, the worse one is the limit."""
    dice = np.where(np.arange(CASES)[:, None] < 20, 0.75, 0.375) * np.ones((1, 2))
    interval = check(judge(CHAMPION, measured(dice), ["s0"] * 20 + ["s1"] * 20, "made"), "Dice, mean").interval
    assert interval == pytest.approx((-0.125, 0.25))


def test_the_margins_of_the_house() -> None:
    """What is promoted depends on them: they change with a reason, not by a slip."""
    rules = GateRules()
    assert (rules.margin, rules.past_margin, rules.lesion_margin) == (0.01, 0.02, 0.05)
    assert (rules.small_share, rules.small_margin) == (0.25, 0.02)
    assert (rules.worst_share, rules.worst_margin) == (0.1, 0.02)
    assert (rules.found_margin, rules.calibration_margin) == (0.02, 0.02)
    assert (rules.most_times_as_slow, rules.fewest_cases, rules.must_gain) == (1.5, 10, True)


@pytest.mark.parametrize("name", ["margin", "small_margin", "worst_margin", "found_margin", "lesion_margin",
                                  "past_margin", "calibration_margin"])  # fmt: skip
def test_a_margin_is_not_negative(name: str) -> None:
    assert GateRules.model_validate({name: 0.0})
    with pytest.raises(ValueError, match=name):
        GateRules.model_validate({name: -0.001})


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("small_share", (0.01, 1.0), (0.0, 1.01)),
        ("worst_share", (0.01, 1.0), (0.0, 1.01)),
        ("most_times_as_slow", (1.0, 3.0), (0.99,)),
        ("fewest_cases", (2,), (1,)),
        ("another", (), (1,)),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(name: str, right: tuple[float, ...], wrong: tuple[float, ...]) -> None:
    for value in right:
        assert getattr(GateRules.model_validate({name: value}), name) == value
    for value in wrong:
        with pytest.raises(ValueError, match=name):
            GateRules.model_validate({name: value})


def test_the_page_has_a_row_a_check(tmp_path: Path) -> None:
    made = judge(CHAMPION, measured(even(0.75), seconds=2.0, error=0.25), SUBJECTS, "a set")
    made = made.model_copy(update={"created": datetime(2026, 1, 2, 3, 4, tzinfo=UTC)})
    write_verdict(made, tmp_path / "verdict.json")
    lines = (tmp_path / "verdict.md").read_text().splitlines()
    assert lines[0] == f"# The challenger {'b' * 12} is refused: seconds a case"
    assert lines[2] == f"Against the champion {'a' * 12}, on 40 frozen test cases of 40 subjects"
    assert lines[3].startswith("(a set), 2026-01-02 03:04 UTC.")
    assert "| Dice, one | 0.5000 | 0.7500 | +0.2500 | +0.2500 to +0.2500 | -0.0100 | yes |" in lines
    assert "| seconds a case | 1.0000 | 2.0000 | +1.0000 |  | +0.5000 | **no** |" in lines
    assert "Past corrections" not in "\n".join(lines)


def test_both_ends_of_an_interval_are_shown() -> None:
    made = judge(CHAMPION, measured(even(0.75)), SUBJECTS, "a set")
    wide = check(made, "Dice, one").model_copy(update={"interval": (-0.25, 0.125)})
    page = made.model_copy(update={"checks": (wide,)}).markdown()
    assert "| -0.2500 to +0.1250 |" in page


def test_a_verdict_without_a_check_is_none() -> None:
    made = judge(CHAMPION, measured(even(0.75)), SUBJECTS, "a set").model_dump()
    one = GateVerdict.model_validate({**made, "checks": made["checks"][:1]})
    assert len(one.checks) == 1
    with pytest.raises(ValueError, match="checks"):
        GateVerdict.model_validate({**made, "checks": ()})
    del made["corrections"]
    assert GateVerdict.model_validate(made).corrections == 0
