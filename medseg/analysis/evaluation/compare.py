"""Whether one model beats another: their difference on the same cases, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.analysis.evaluation.scores import CaseScores, Metric
from medseg.analysis.evaluation.summary import (
    RESAMPLES,
    draw_cases,
    interval_of,
    require_comparable,
    score_table,
    weighted_means,
)
from medseg.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the second model's mean lies above the first's on the same cases, with the 95 % interval.

    Both means are over the `cases` scores (case by label) that both models have as numbers. `left_out` counts the
    others. `is_certain` says that the interval leaves 0 out; which sign is the better one is the metric's own.
    """

    metric: Metric
    first_mean: float
    second_mean: float
    difference: float
    interval: tuple[float, float]
    cases: int
    left_out: int

    @property
    def is_certain(self) -> bool:
        """Whether 0 lies outside the interval of the difference."""
        low, high = self.interval
        return low > 0 or high < 0


def compare_models(
    first: Sequence[CaseScores],
    second: Sequence[CaseScores],
    metric: Metric = "dice",
    *,
    subjects: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """The second model less the first, by a paired bootstrap over the cases that both were scored on.

    Cases are matched by name. Pairing takes out how hard each case is, and so sees differences that two intervals laid
    side by side hide. Raises InputError where the two were not scored on the same cases, labels and tolerance.
    """
    by_name = {case.case: case for case in second}
    names = [case.case for case in first]
    if len(by_name) != len(second) or len(set(names)) != len(names) or set(names) != set(by_name):
        odd = sorted(set(names) ^ set(by_name))
        raise InputError(
            "the two models were not scored on the same cases, each once: "
            f"{f'only one has {odd[:5]}' if odd else 'a case is there twice'}. Score both on one split."
        )
    paired = [by_name[name] for name in names]
    labels = require_comparable([*first, *paired])
    before, after = score_table(first, labels, metric), score_table(paired, labels, metric)
    both = np.isfinite(before) & np.isfinite(after)
    before, after = np.where(both, before, np.nan), np.where(both, after, np.nan)
    draws = draw_cases(names if subjects is None else list(subjects), len(names), resamples, seed)
    once = np.ones((1, len(names)), dtype=np.int64)
    first_mean, second_mean = float(weighted_means(before, once)[0]), float(weighted_means(after, once)[0])
    return Comparison(
        metric,
        first_mean,
        second_mean,
        second_mean - first_mean,
        interval_of(weighted_means(after, draws) - weighted_means(before, draws)),
        int(both.sum()),
        int(both.size - both.sum()),
    )
