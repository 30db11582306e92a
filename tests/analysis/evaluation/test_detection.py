"""Detection scores against values counted by hand on drawn rows of voxels."""

import math

import numpy as np
import pytest

from medseg.analysis.evaluation.detection import (
    PANOPTIC_MIN_IOU,
    CaseDetections,
    PredictedLesion,
    detect,
    froc,
    froc_score,
    score_detections,
    sensitivity_at,
)
from medseg.core.errors import InputError
from medseg.imaging.regions.components import Component


def row(start: int, length: int) -> Component:
    """A lesion of `length` voxels in a row."""
    return Component(np.ones((length, 1, 1), bool), (slice(start, start + length), slice(0, 1), slice(0, 1)), length)


#   reference   0: 0-9 (10)   1: 20-23 (4)   2: 40-43 (4)
#   predicted   a: 0-7 (8, IoU 8/10 with 0)   b: 22-25 (4, IoU 2/6 with 1)   c: 60-61 (2, nothing)
#               d: 8-9 (2, IoU 2/10 with 0, a second one)
REFERENCE = (row(0, 10), row(20, 4), row(40, 4))
PREDICTED = (row(0, 8), row(22, 4), row(60, 2), row(8, 2))


def test_hits_misses_and_false_alarms_by_hand() -> None:
    scores = score_detections([detect(PREDICTED, REFERENCE, 0.5)])
    assert (scores.hits, scores.misses, scores.false_alarms) == (2, 1, 2)
    assert scores.sensitivity == pytest.approx(2 / 3)
    assert scores.precision == pytest.approx(2 / 4)
    assert scores.f1 == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert scores.false_alarms_per_scan == 2
    assert scores.mean_iou == pytest.approx((0.8 + 1 / 3) / 2)


def test_panoptic_quality_by_hand() -> None:
    # Only a overlaps by more than one half: PQ = 0.8 / (1 + 3/2 + 2/2).
    scores = score_detections([detect(PREDICTED, REFERENCE, 0.5, min_iou=PANOPTIC_MIN_IOU)])
    assert (scores.hits, scores.misses, scores.false_alarms) == (1, 2, 3)
    assert scores.panoptic_quality == pytest.approx(0.8 / 3.5)
    assert scores.panoptic_quality == pytest.approx(scores.mean_iou * scores.f1)


def test_each_lesion_is_hit_once_by_the_surest_prediction() -> None:
    case = detect(PREDICTED, REFERENCE, 0.5, scores=(0.4, 0.9, 0.8, 0.7))
    assert [(lesion.score, lesion.reference) for lesion in case.predicted] == [
        (0.9, 1), (0.8, None), (0.7, 0), (0.4, None),
    ]  # fmt: skip
    assert [lesion.volume_ml for lesion in case.predicted] == [2.0, 1.0, 1.0, 4.0]
    assert [lesion.iou for lesion in case.predicted] == pytest.approx([1 / 3, 0, 0.2, 0])


def test_among_equal_scores_the_largest_overlap_hits() -> None:
    case = detect((row(8, 2), row(0, 8)), REFERENCE, 1.0)
    assert [lesion.reference for lesion in case.predicted] == [None, 0]


def test_one_prediction_over_two_lesions_hits_one() -> None:
    case = detect((row(20, 24),), (row(20, 8), row(32, 12)), 1.0)
    assert [lesion.reference for lesion in case.predicted] == [1]
    assert score_detections([case]).misses == 1


def test_froc_by_hand() -> None:
    # Two scans, three lesions. By falling score: hit, false alarm, hit, false alarm, false alarm, hit.
    first = CaseDetections(
        "a",
        (
            PredictedLesion(0.9, 1, 0, 0.5),
            PredictedLesion(0.8, 1),
            PredictedLesion(0.4, 1),
            PredictedLesion(0.3, 1, 1, 0.5),
        ),
        (1.0, 1.0),
    )
    second = CaseDetections("b", (PredictedLesion(0.7, 1, 0, 0.5), PredictedLesion(0.5, 1)), (1.0,))
    curve = froc([first, second])
    assert [(p.threshold, p.false_alarms_per_scan, p.sensitivity) for p in curve] == [
        (0.9, 0.0, 1 / 3), (0.8, 0.5, 1 / 3), (0.7, 0.5, 2 / 3), (0.5, 1.0, 2 / 3), (0.4, 1.5, 2 / 3), (0.3, 1.5, 1.0),
    ]  # fmt: skip
    assert [sensitivity_at(curve, rate) for rate in (0.125, 0.25, 0.5, 1, 2, 4, 8)] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1]
    )
    assert froc_score(curve) == pytest.approx((1 / 3 * 2 + 2 / 3 * 2 + 3) / 7)
    at_half = score_detections([first, second], threshold=0.5)
    assert (at_half.hits, at_half.misses, at_half.false_alarms) == (2, 1, 2)


def test_a_threshold_matches_as_if_nothing_lay_below_it() -> None:
    # The surer, worse outlined prediction holds the lesion at every threshold that shows it.
    cases = [detect((row(0, 8), row(8, 2)), REFERENCE, 1.0, scores=(0.2, 0.9))]
    assert [(p.threshold, p.sensitivity, p.false_alarms_per_scan) for p in froc(cases)] == [
        (0.9, 1 / 3, 0), (0.2, 1 / 3, 1),
    ]  # fmt: skip


def test_size_classes_are_the_references_for_hits_and_the_predictions_for_false_alarms() -> None:
    case = detect(PREDICTED, REFERENCE, 1.0)  # volumes 10, 4, 4; false alarms of 2 and 2
    small = score_detections([case], size_ml=(0, 4))
    middle = score_detections([case], size_ml=(4, 10))
    large = score_detections([case], size_ml=(10, math.inf))
    assert [(s.hits, s.misses, s.false_alarms) for s in (small, middle, large)] == [(0, 0, 2), (1, 1, 0), (1, 0, 0)]
    assert math.isnan(small.sensitivity)


def test_empty_scans() -> None:
    nothing = score_detections([detect((), (), 1.0)])
    assert nothing.false_alarms_per_scan == 0
    assert all(math.isnan(v) for v in (nothing.sensitivity, nothing.precision, nothing.f1, nothing.panoptic_quality))
    assert all(math.isnan(end) for end in nothing.sensitivity_interval)
    missed = score_detections([detect((), REFERENCE, 1.0)])
    assert (missed.sensitivity, missed.f1, missed.panoptic_quality) == (0, 0, 0)
    invented = score_detections([detect(PREDICTED, (), 1.0)])
    assert math.isnan(invented.sensitivity)
    assert (invented.precision, invented.f1, invented.false_alarms_per_scan) == (0, 0, 4)
    assert froc([detect((), REFERENCE, 1.0)]) == ()
    assert sensitivity_at((), 1.0) == 0
    assert math.isnan(sensitivity_at(froc([detect(PREDICTED, (), 1.0)]), 1.0))


def test_intervals_are_over_scans() -> None:
    found = CaseDetections("a", (PredictedLesion(1, 1, 0, 0.5),), (1.0,))
    missed = CaseDetections("b", (PredictedLesion(1, 1),), (1.0,))
    scores = score_detections([found, missed] * 50)
    # Half of 100: 0.5 +- 1.96 * sqrt(0.25 / 100).
    assert scores.sensitivity_interval == pytest.approx((0.4, 0.6), abs=0.015)
    assert scores.false_alarms_interval == pytest.approx((0.4, 0.6), abs=0.015)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="no scans"):
        score_detections([])
    with pytest.raises(InputError, match="finite score each"):
        detect(PREDICTED, REFERENCE, 1.0, scores=(1.0,))
    with pytest.raises(InputError, match="finite score each"):
        detect(PREDICTED, REFERENCE, 1.0, scores=(1.0, math.nan, 1.0, 1.0))
    with pytest.raises(InputError, match="makes a hit"):
        detect(PREDICTED, REFERENCE, 1.0, min_iou=0)
