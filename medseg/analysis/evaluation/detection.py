"""Whether the lesions were found, one by one: sensitivity, false alarms per scan, F1, FROC and panoptic quality.

A voxel score such as Dice is ruled by the largest lesion; these count each lesion once. A predicted lesion is a hit
where it overlaps a reference lesion by an intersection over union of at least `min_iou`; each reference lesion can be
hit once, by the prediction of the highest score (then of the largest overlap). Every other prediction is a false alarm,
a second one on the same lesion too, since it would be counted and followed as a lesion of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.evaluation.summary import RESAMPLES, draw_cases, interval_of
from medseg.core.errors import InputError
from medseg.imaging.regions.components import Component

DEFAULT_MIN_IOU = 0.1
"""The overlap of a hit in nnDetection (Baumgartner et al. 2021): a lesion is pointed at, if not outlined."""

PANOPTIC_MIN_IOU = math.nextafter(0.5, 1.0)
"""Panoptic quality counts overlaps above one half (Kirillov et al. 2019), which no two predictions can have."""

FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""The false alarms per scan at which a FROC curve is read off (LUNA16)."""


@dataclass(frozen=True, slots=True)
class PredictedLesion:
    """One predicted lesion: the model's score for it, its volume, which reference lesion it hit, and how well."""

    score: float
    volume_ml: float
    reference: int | None = None
    iou: float = 0.0


@dataclass(frozen=True, slots=True)
class CaseDetections:
    """The lesions of one scan: the predicted ones, highest score first, and the volumes in ml of the reference ones."""

    case: str
    predicted: tuple[PredictedLesion, ...]
    reference_ml: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """Counts over all scans, and what follows from them.

    Without reference lesions there is no sensitivity (nan), without reference and predicted ones no precision, F1 or
    panoptic quality either; false alarms are counted all the same, on lesion-free scans too. The intervals are 95 %
    bootstrap intervals over scans.
    """

    hits: int
    misses: int
    false_alarms: int
    scans: int
    iou_sum: float
    sensitivity_interval: tuple[float, float] = (math.nan, math.nan)
    false_alarms_interval: tuple[float, float] = (math.nan, math.nan)

    @property
    def sensitivity(self) -> float:
        """The share of reference lesions that were hit."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> float:
        """The share of predicted lesions that are hits."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def false_alarms_per_scan(self) -> float:
        """Predicted lesions that are none, per scan."""
        return _ratio(self.false_alarms, self.scans)

    @property
    def f1(self) -> float:
        """The harmonic mean of sensitivity and precision (recognition quality)."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)

    @property
    def mean_iou(self) -> float:
        """The mean overlap of the hits (segmentation quality)."""
        return _ratio(self.iou_sum, self.hits)

    @property
    def panoptic_quality(self) -> float:
        """Recognition times segmentation quality; as published where hits overlap by more than one half."""
        return _ratio(2 * self.iou_sum, 2 * self.hits + self.false_alarms + self.misses)


@dataclass(frozen=True, slots=True)
class FrocPoint:
    """What a model reaches when only lesions of at least this score are shown."""

    threshold: float
    false_alarms_per_scan: float
    sensitivity: float


def detect(
    predicted: Sequence[Component],
    reference: Sequence[Component],
    voxel_volume_ml: float,
    *,
    scores: Sequence[float] | None = None,
    min_iou: float = DEFAULT_MIN_IOU,
    case: str = "",
) -> CaseDetections:
    """Which predicted lesions of a scan hit which reference ones, both as components on one grid.

    `scores` is the model's confidence in each predicted lesion; without it all are alike.
    Raises InputError where the scores are not one finite number a lesion, or `min_iou` is not above 0 and at most 1.
    """
    if not 0 < min_iou <= 1:
        raise InputError(f"the overlap that makes a hit lies above 0 and at most at 1, got {min_iou:g}")
    confidence = [1.0] * len(predicted) if scores is None else [float(score) for score in scores]
    if len(confidence) != len(predicted) or not all(math.isfinite(score) for score in confidence):
        raise InputError(f"{len(predicted)} predicted lesions need a finite score each, got {confidence}")
    overlaps = np.array([[_iou(one, other) for other in reference] for one in predicted]).reshape(
        len(predicted), len(reference)
    )
    hit = _matched(overlaps, confidence, min_iou)
    order = sorted(range(len(predicted)), key=lambda number: -confidence[number])
    return CaseDetections(
        case,
        tuple(
            PredictedLesion(
                score=confidence[number],
                volume_ml=predicted[number].voxel_count * voxel_volume_ml,
                reference=hit.get(number),
                iou=float(overlaps[number, hit[number]]) if number in hit else 0.0,
            )
            for number in order
        ),
        tuple(lesion.voxel_count * voxel_volume_ml for lesion in reference),
    )


def score_detections(
    cases: Sequence[CaseDetections],
    *,
    threshold: float = -math.inf,
    size_ml: tuple[float, float] = (0.0, math.inf),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> DetectionScores:
    """The scores over all scans, of predictions of at least `threshold` and of one size class.

    A size class runs from its lower end up to, but not including, its upper one. A hit or miss belongs to the class of
    the reference lesion, a false alarm to that of the prediction.
    Raises InputError where there is no scan.
    """
    if not cases:
        raise InputError("there are no scans to score detections on")
    counts = np.array([_counts(case, threshold, size_ml) for case in cases])
    hits, misses, false_alarms, iou_sum = counts.sum(axis=0)
    drawn = draw_cases(list(range(len(cases))), len(cases), resamples, seed) @ counts
    found = drawn[:, 0] + drawn[:, 1]
    sensitivities: NDArray[np.float64] = np.full(resamples, math.nan)
    np.divide(drawn[:, 0], found, out=sensitivities, where=found > 0)
    return DetectionScores(
        hits=int(hits),
        misses=int(misses),
        false_alarms=int(false_alarms),
        scans=len(cases),
        iou_sum=float(iou_sum),
        sensitivity_interval=interval_of(sensitivities),
        false_alarms_interval=interval_of(drawn[:, 2] / len(cases)),
    )


def froc(cases: Sequence[CaseDetections]) -> tuple[FrocPoint, ...]:
    """The curve of sensitivity over false alarms per scan, one point a score that occurs, from the highest down."""
    thresholds = sorted({lesion.score for case in cases for lesion in case.predicted}, reverse=True)
    points = []
    for threshold in thresholds:
        counts = np.array([_counts(case, threshold, (0.0, math.inf)) for case in cases]).sum(axis=0)
        points.append(
            FrocPoint(threshold, float(counts[2]) / len(cases), _ratio(float(counts[0]), float(counts[0] + counts[1])))
        )
    return tuple(points)


def sensitivity_at(curve: Sequence[FrocPoint], false_alarms_per_scan: float) -> float:
    """The highest sensitivity that costs no more false alarms than that; 0 where every point costs more.

    Nothing is read between the points: a threshold in between gives one of them. nan where there is no lesion to find.
    """
    if any(math.isnan(point.sensitivity) for point in curve):
        return math.nan
    allowed = [p.sensitivity for p in curve if p.false_alarms_per_scan <= false_alarms_per_scan + 1e-12]
    return max(allowed, default=0.0)


def froc_score(curve: Sequence[FrocPoint], rates: Sequence[float] = FROC_RATES) -> float:
    """The mean sensitivity over the rates of false alarms, one number for a whole curve (LUNA16)."""
    return float(np.mean([sensitivity_at(curve, rate) for rate in rates]))


def _matched(overlaps: NDArray[np.float64], scores: Sequence[float], min_iou: float) -> dict[int, int]:
    """For each prediction that is a hit its reference lesion.

    Candidates are taken by score and then by overlap, so that what lies above a threshold is matched as if nothing
    lay below it.
    """
    candidates = [
        (scores[one], float(overlaps[one, other]), int(one), int(other))
        for one, other in np.argwhere(overlaps >= min_iou)
    ]
    candidates.sort(key=lambda candidate: (-candidate[0], -candidate[1], candidate[2], candidate[3]))
    hit: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, one, other in candidates:
        if one not in hit and other not in taken:
            hit[one] = other
            taken.add(other)
    return hit


def _iou(first: Component, second: Component) -> float:
    """The intersection over union of two components of one grid."""
    shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first.box, second.box, strict=True)]
    if any(side.start >= side.stop for side in shared):
        return 0.0
    inside = [
        component.mask[tuple(slice(s.start - o, s.stop - o) for s, o in zip(shared, component.start, strict=True))]
        for component in (first, second)
    ]
    common = int(np.count_nonzero(inside[0] & inside[1]))
    return common / (first.voxel_count + second.voxel_count - common)


def _counts(case: CaseDetections, threshold: float, size_ml: tuple[float, float]) -> tuple[float, float, float, float]:
    """Hits, misses, false alarms and the sum of the hits' overlaps in one scan."""

    def in_class(volume_ml: float) -> bool:
        return size_ml[0] <= volume_ml < size_ml[1]

    shown = [lesion for lesion in case.predicted if lesion.score >= threshold]
    hits = [
        lesion for lesion in shown if lesion.reference is not None and in_class(case.reference_ml[lesion.reference])
    ]
    false_alarms = sum(lesion.reference is None and in_class(lesion.volume_ml) for lesion in shown)
    lesions = sum(in_class(volume_ml) for volume_ml in case.reference_ml)
    return len(hits), lesions - len(hits), false_alarms, sum(lesion.iou for lesion in hits)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
