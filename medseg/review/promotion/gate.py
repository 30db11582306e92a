"""Champion against challenger on the same frozen cases: is the challenger better, and nowhere worse?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.evaluation.detection import CaseDetections
from medseg.analysis.evaluation.scores import CaseScores
from medseg.analysis.evaluation.summary import (
    RESAMPLES,
    draw_cases,
    interval_of,
    require_comparable,
    score_table,
    weighted_means,
)
from medseg.core.errors import InputError
from medseg.review.promotion.lesions import lesion_checks
from medseg.review.promotion.shadow import ShadowSummary
from medseg.review.promotion.verdict import Check, GateRules, GateVerdict


@dataclass(frozen=True, slots=True)
class Measured:
    """A model on the test cases: its scores in their order, the median seconds a case takes, and its calibration error.

    `calibration_error` is None where probabilities were not looked at. `lesions` are those of the cases, in their
    order; empty where the task counts none.
    """

    sha256: str
    cases: tuple[CaseScores, ...]
    seconds: float
    calibration_error: float | None = None
    lesions: tuple[CaseDetections, ...] = ()


@dataclass(frozen=True, slots=True)
class PastCorrections:
    """Both models on scans that readers corrected, against the corrected masks; the patient of each."""

    champion: Measured
    challenger: Measured
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Paired:
    """Dice of both models (case, label), the reference volumes, and the bootstrap's draws."""

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    reference_ml: NDArray[np.float64]
    draws: NDArray[np.int64]


def judge(
    champion: Measured,
    challenger: Measured,
    subjects: Sequence[str],
    dataset: str,
    rules: GateRules | None = None,
    *,
    past: PastCorrections | None = None,
    shadow: ShadowSummary | None = None,
    seed: int = 0,
) -> GateVerdict:
    """The verdict on a challenger. Subjects are drawn, with all their cases; the same seed gives the same verdict.

    `past` are corrections that must not be unlearned, `shadow` is how the challenger did beside the champion in
    batches. Raises InputError where the two were not scored on the same cases, or on fewer than the rules ask for.
    """
    rules = rules or GateRules()
    _require_same(champion, challenger, subjects)
    if len(subjects) < rules.fewest_cases:
        raise InputError(
            f"{len(subjects)} test cases show too little: the gate asks for {rules.fewest_cases}. Name a data set with "
            "more cases that no model has learned from."
        )
    paired = _paired(champion, challenger, subjects, seed)
    labels = [score.label for score in champion.cases[0].labels]
    checks = [_mean(paired, rules)]
    checks += [_no_worse(f"Dice, {label}", paired, _only(n), rules.margin) for n, label in enumerate(labels)]
    checks += [_small(paired, rules), _worst(paired, rules), _found(paired, rules)]
    checks += lesion_checks(champion.lesions, challenger.lesions, paired.draws, rules)
    checks += [_past(past, rules, seed)] if past else []
    checks += _calibration(champion, challenger, rules)
    checks.append(_run_time(champion, challenger, rules))
    checks += [_failures(shadow)] if shadow else []
    return GateVerdict(
        created=datetime.now(UTC),
        champion_sha256=champion.sha256,
        challenger_sha256=challenger.sha256,
        dataset=dataset,
        cases=len(champion.cases),
        subjects=len(set(subjects)),
        rules=rules,
        checks=tuple(checks),
        corrections=len(past.subjects) if past else 0,
        shadow=shadow,
    )


def _require_same(champion: Measured, challenger: Measured, subjects: Sequence[str]) -> None:
    require_comparable([*champion.cases, *challenger.cases])
    names = [[case.case for case in one.cases] for one in (champion, challenger)]
    if names[0] != names[1] or len(names[0]) != len(subjects):
        raise InputError("champion and challenger were not scored on the same cases in one order; score both anew")


def _paired(champion: Measured, challenger: Measured, subjects: Sequence[str], seed: int) -> _Paired:
    labels = [score.label for score in champion.cases[0].labels]
    volumes = [[score.reference_ml for score in case.labels] for case in champion.cases]
    return _Paired(
        _dice(champion.cases, labels),
        _dice(challenger.cases, labels),
        np.array(volumes, dtype=np.float64),
        draw_cases(list(subjects), len(subjects), RESAMPLES, seed),
    )


def _dice(cases: Sequence[CaseScores], labels: Sequence[str]) -> NDArray[np.float64]:
    """(case, label); 1 where the structure is absent and none was found, which is right."""
    table = score_table(cases, labels, "dice")
    return np.where(np.isnan(table), 1.0, table)


def _only(column: int) -> NDArray[np.int64]:
    return np.array([column])


def _mean(paired: _Paired, rules: GateRules) -> Check:
    columns = np.arange(paired.champion.shape[1])
    check = _no_worse("Dice, mean", paired, columns, rules.margin)
    has_gained = check.difference > 0 or not rules.must_gain
    return check.model_copy(update={"is_passed": check.is_passed and has_gained})


def _no_worse(
    name: str,
    paired: _Paired,
    columns: NDArray[np.int64],
    margin: float,
    counted: NDArray[np.bool_] | None = None,
) -> Check:
    """Whether the lower limit of the difference lies above minus the margin, over labels and the counted structures."""
    tables = [np.where(True if counted is None else counted, table, np.nan)[:, columns] for table in _tables(paired)]
    once = np.ones((1, len(paired.champion)), dtype=np.int64)
    means = [float(weighted_means(table, once)[0]) for table in tables]
    drawn = [weighted_means(table, paired.draws) for table in tables]
    return _shown_no_worse(name, (means[0], means[1]), drawn[1] - drawn[0], margin)


def _shown_no_worse(name: str, values: tuple[float, float], differences: NDArray[np.float64], margin: float) -> Check:
    """Whether the lower 95 % limit of the draws' differences lies above minus the margin."""
    champion, challenger = values
    interval = interval_of(differences)
    return Check(
        name=name,
        is_passed=bool(interval[0] >= -margin),
        champion=champion,
        challenger=challenger,
        difference=challenger - champion,
        interval=interval,
        limit=-margin,
    )


def _tables(paired: _Paired) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return paired.champion, paired.challenger


def _small(paired: _Paired, rules: GateRules) -> Check:
    """Dice on the smallest structures of each label, among those that are there."""
    there = np.where(paired.reference_ml > 0, paired.reference_ml, np.nan)
    limits = [np.nanquantile(column, rules.small_share) if np.isfinite(column).any() else -1.0 for column in there.T]
    small = np.nan_to_num(there, nan=np.inf) <= np.array(limits)
    columns = np.arange(there.shape[1])
    return _no_worse("Dice, small structures", paired, columns, rules.small_margin, small)


def _worst(paired: _Paired, rules: GateRules) -> Check:
    """The mean Dice of the cases on which each model is worst: in each draw, of those that were drawn."""
    of_case = [table.mean(axis=1) for table in _tables(paired)]
    once = np.ones((1, len(paired.champion)), dtype=np.int64)
    champion, challenger = (float(_tail_means(dice, once, rules.worst_share)[0]) for dice in of_case)
    drawn = [_tail_means(dice, paired.draws, rules.worst_share) for dice in of_case]
    return _shown_no_worse("Dice, worst cases", (champion, challenger), drawn[1] - drawn[0], rules.worst_margin)


def _tail_means(values: NDArray[np.float64], weights: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """For each row of weights (n, cases) the mean of the lowest values, as many as the share of the row's total.

    A case that is drawn twice counts twice; at least one value is taken.
    """
    order = np.argsort(values, kind="stable")
    sorted_weights = weights[:, order]
    wanted = np.maximum(1, np.round(share * weights.sum(axis=1)))[:, None]
    before = np.cumsum(sorted_weights, axis=1) - sorted_weights
    taken = np.clip(wanted - before, 0, sorted_weights)
    return np.asarray(taken @ values[order] / wanted[:, 0])


def _found(paired: _Paired, rules: GateRules) -> Check:
    """The share of the structures that are there of which a model touches at least a voxel."""
    there = paired.reference_ml > 0
    shares = [float((table[there] > 0).mean()) if there.any() else 1.0 for table in _tables(paired)]
    return _plain("structures found", shares, rules.found_margin)


def _past(past: PastCorrections, rules: GateRules, seed: int) -> Check:
    """Dice against what readers corrected: nothing of it is unlearned."""
    _require_same(past.champion, past.challenger, past.subjects)
    paired = _paired(past.champion, past.challenger, past.subjects, seed)
    return _no_worse("Dice, past corrections", paired, np.arange(paired.champion.shape[1]), rules.past_margin)


def _failures(shadow: ShadowSummary) -> Check:
    """A scan on which the challenger failed was segmented by the champion, or it would not be in the shadow."""
    share = shadow.failures / max(1, shadow.studies)
    return Check(
        name="failures in shadow",
        is_passed=shadow.failures == 0,
        champion=0.0,
        challenger=share,
        difference=share,
        limit=0.0,
    )


def _plain(name: str, values: Sequence[float], margin: float) -> Check:
    champion, challenger = values
    return Check(
        name=name,
        is_passed=challenger - champion >= -margin,
        champion=champion,
        challenger=challenger,
        difference=challenger - champion,
        limit=-margin,
    )


def _calibration(champion: Measured, challenger: Measured, rules: GateRules) -> list[Check]:
    if champion.calibration_error is None or challenger.calibration_error is None:
        return []
    apart = challenger.calibration_error - champion.calibration_error
    return [
        Check(
            name="calibration error",
            is_passed=apart <= rules.calibration_margin,
            champion=champion.calibration_error,
            challenger=challenger.calibration_error,
            difference=apart,
            limit=rules.calibration_margin,
        )
    ]


def _run_time(champion: Measured, challenger: Measured, rules: GateRules) -> Check:
    return Check(
        name="seconds a case",
        is_passed=challenger.seconds <= rules.most_times_as_slow * champion.seconds,
        champion=champion.seconds,
        challenger=challenger.seconds,
        difference=challenger.seconds - champion.seconds,
        limit=(rules.most_times_as_slow - 1) * champion.seconds,
    )
