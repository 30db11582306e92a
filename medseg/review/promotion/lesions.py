"""Whether a challenger finds the small lesions that the champion finds, without calling more that are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.evaluation.detection import CaseDetections, score_detections
from medseg.analysis.evaluation.summary import interval_of
from medseg.review.promotion.verdict import Check, GateRules


def lesion_checks(
    champion: Sequence[CaseDetections],
    challenger: Sequence[CaseDetections],
    draws: NDArray[np.int64],
    rules: GateRules,
) -> list[Check]:
    """Small lesions found, and false lesions a scan; nothing where lesions were not counted or there are none.

    The two hold the same cases in one order; `draws` (sample, case) says how often each case is in a bootstrap sample.
    """
    volumes = [volume for case in champion for volume in case.reference_ml]
    if not volumes or not challenger:
        return []
    largest = float(np.quantile(volumes, rules.small_share))
    return [_small_found(champion, challenger, draws, largest, rules), _false(champion, challenger, rules)]


def _small_found(
    champion: Sequence[CaseDetections],
    challenger: Sequence[CaseDetections],
    draws: NDArray[np.int64],
    largest_ml: float,
    rules: GateRules,
) -> Check:
    """By a paired bootstrap; a sample without a small lesion says nothing."""
    there = np.array([sum(volume <= largest_ml for volume in case.reference_ml) for case in champion])
    found = [np.array([_hits(case, largest_ml) for case in cases]) for cases in (champion, challenger)]
    shares = [float(hits.sum() / there.sum()) for hits in found]
    drawn = draws @ there
    difference = np.full(len(draws), np.nan)
    np.divide(draws @ (found[1] - found[0]), drawn, out=difference, where=drawn > 0)
    interval = interval_of(difference)
    return Check(
        name=f"lesions up to {largest_ml:.2g} ml found",
        is_passed=bool(interval[0] >= -rules.lesion_margin),
        champion=shares[0],
        challenger=shares[1],
        difference=shares[1] - shares[0],
        interval=interval,
        limit=-rules.lesion_margin,
    )


def _hits(case: CaseDetections, largest_ml: float) -> int:
    hit = (lesion.reference for lesion in case.predicted)
    return sum(number is not None and case.reference_ml[number] <= largest_ml for number in hit)


def _false(champion: Sequence[CaseDetections], challenger: Sequence[CaseDetections], rules: GateRules) -> Check:
    rates = [score_detections(cases, resamples=1).false_alarms_per_scan for cases in (champion, challenger)]
    return Check(
        name="false lesions a scan",
        is_passed=rates[1] - rates[0] <= rules.lesion_margin,
        champion=rates[0],
        challenger=rates[1],
        difference=rates[1] - rates[0],
        limit=rules.lesion_margin,
    )
