"""What many cases' scores come to: means with their 95 % bootstrap intervals, per label and over labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.evaluation.scores import METRICS, CaseScores, Metric
from medseg.core.errors import InputError

RESAMPLES = 2000
"""Draws of a bootstrap; the ends of a 95 % interval then move by about a fiftieth of its width between seeds."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """The mean of one metric over cases, with its 95 % interval and what the mean could not hold.

    `cases` counts the scores that the mean is taken over. Two kinds are left out of it: `undefined` ones (nan: nothing
    in the reference and nothing predicted) and `infinite` ones (a distance to a structure that one mask lacks, or a
    percentage of nothing). A distance's mean flatters a model that misses structures: read it with `infinite` beside
    it; in Dice and NSD a missed structure counts in full, as 0.
    Where no case is left, the mean and its interval are nan.
    """

    mean: float
    interval: tuple[float, float]
    cases: int
    undefined: int = 0
    infinite: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of each label by metric, and their average over the labels.

    `over_labels` is the mean of the labels' means (nnU-Net's `foreground_mean`); its interval comes from drawing whole
    cases, so that scores of one patient stay together, and its counts are sums over labels.
    """

    by_label: dict[str, dict[Metric, Statistic]]
    over_labels: dict[Metric, Statistic]
    case_count: int
    tolerance_mm: float
    resamples: int
    seed: int
    by_region: dict[str, dict[Metric, Statistic]] = field(default_factory=dict)
    """Of each structure of several labels that was scored as a whole; no part of `over_labels`."""


def summarise(
    cases: Sequence[CaseScores],
    *,
    subjects: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Summary:
    """Means and 95 % percentile-bootstrap intervals over cases.

    `subjects` names the patient of each case: patients are then drawn with all their cases, since two scans of one
    patient say less than scans of two. Without it each case is drawn by itself. The same seed gives the same numbers.
    Raises InputError where there is no case, or where cases differ in labels or tolerance.
    """
    labels = require_comparable(cases)
    draws = draw_cases(list(range(len(cases))) if subjects is None else list(subjects), len(cases), resamples, seed)
    by_label: dict[str, dict[Metric, Statistic]] = {label: {} for label in labels}
    regions = [scores.label for scores in cases[0].regions]
    by_region: dict[str, dict[Metric, Statistic]] = {region: {} for region in regions}
    over_labels: dict[Metric, Statistic] = {}
    for metric in METRICS:
        values = score_table(cases, labels, metric)
        for label, column in zip(labels, values.T, strict=True):
            by_label[label][metric] = _statistic(column[:, None], draws)
        for region, column in zip(regions, score_table(cases, regions, metric).T, strict=True):
            by_region[region][metric] = _statistic(column[:, None], draws)
        over_labels[metric] = _statistic(values, draws)
    return Summary(by_label, over_labels, len(cases), cases[0].tolerance_mm, resamples, seed, by_region)


def require_comparable(cases: Sequence[CaseScores]) -> tuple[str, ...]:
    """The labels that all cases were scored for. Raises InputError where there is no case or they differ.

    Regions must be the same too, and the tolerance.
    """
    if not cases:
        raise InputError("there are no cases to summarise; score at least one")
    names = _names(cases[0])
    for case in cases:
        if _names(case) != names or case.tolerance_mm != cases[0].tolerance_mm:
            raise InputError(
                f"case {case.case!r} was scored for other labels or at another tolerance than case {cases[0].case!r}: "
                f"{list(_names(case))} at {case.tolerance_mm} mm, "
                f"{list(names)} at {cases[0].tolerance_mm} mm. Score all cases alike."
            )
    return tuple(scores.label for scores in cases[0].labels)


def _names(case: CaseScores) -> tuple[str, ...]:
    return tuple(scores.label for scores in (*case.labels, *case.regions))


def score_table(cases: Sequence[CaseScores], labels: Sequence[str], metric: Metric) -> NDArray[np.float64]:
    """One metric as an array (cases, labels), with nan and inf where a score is not a number."""
    return np.array([[case.value(label, metric) for label in labels] for case in cases], dtype=np.float64)


def draw_cases(subjects: Sequence[object], case_count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each case is in each bootstrap sample: (resamples, cases). Subjects are drawn, with all their cases."""
    if len(subjects) != case_count:
        raise InputError(f"there are {case_count} cases but {len(subjects)} subjects; name one subject a case")
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(subjects))}
    of_case = np.array([numbers[subject] for subject in subjects])
    generator = np.random.default_rng(seed)
    chances = np.full(len(numbers), 1 / len(numbers))
    return np.asarray(generator.multinomial(len(numbers), chances, size=resamples)[:, of_case], dtype=np.int64)


def interval_of(samples: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the samples that are numbers; nan where none is."""
    defined = samples[np.isfinite(samples)]
    if defined.size == 0:
        return math.nan, math.nan
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def weighted_means(values: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each row of weights (n, cases) the mean over labels of the means over cases of values (cases, labels).

    Values that are not finite are left out; a label without any is left out of the mean over labels.
    """
    finite = np.isfinite(values)
    counts = weights @ finite
    sums = weights @ np.where(finite, values, 0.0)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    labels = (counts > 0).sum(axis=1)
    total = means.sum(axis=1)
    average: NDArray[np.float64] = np.full(len(total), math.nan)
    np.divide(total, labels, out=average, where=labels > 0)
    return average


def _statistic(values: NDArray[np.float64], draws: NDArray[np.int64]) -> Statistic:
    once = np.ones((1, len(values)), dtype=np.int64)
    return Statistic(
        mean=float(weighted_means(values, once)[0]),
        interval=interval_of(weighted_means(values, draws)),
        cases=int(np.isfinite(values).sum()),
        undefined=int(np.isnan(values).sum()),
        infinite=int(np.isinf(values).sum()),
    )
