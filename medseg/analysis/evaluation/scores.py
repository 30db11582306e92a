"""How good one predicted mask is: the scores of each label against the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from medseg.analysis.evaluation.overlap import box_around, overlap_of
from medseg.analysis.evaluation.surface import surface_distances
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap

Metric = Literal["dice", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml", "volume_difference_percent"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The scores of one label in one case.

    Both masks empty: every overlap and distance is nan, the volume difference 0 ml and nan percent. Only one empty:
    Dice and NSD are 0 and the distances infinite. See Overlap and SurfaceDistances for why.
    """

    label: str
    dice: float
    nsd: float
    hd95_mm: float
    assd_mm: float
    volume_difference_ml: float
    volume_difference_percent: float
    prediction_ml: float
    reference_ml: float

    def value(self, metric: Metric) -> float:
        """The score of that name; nan where it is not defined."""
        return float(getattr(self, metric))


@dataclass(frozen=True, slots=True)
class CaseScores:
    """The scores of one case, one LabelScores for each label of the schema, and the tolerance of its NSD.

    `regions` holds one for each structure of several labels that was scored as a whole.
    """

    case: str
    labels: tuple[LabelScores, ...]
    tolerance_mm: float
    regions: tuple[LabelScores, ...] = ()

    def value(self, label: str, metric: Metric) -> float:
        """The score of one label or region; KeyError where the case has none of that name."""
        for scores in (*self.labels, *self.regions):
            if scores.label == label:
                return scores.value(metric)
        raise KeyError(label)


def score_case(
    prediction: LabelMap,
    reference: LabelMap,
    *,
    tolerance_mm: float,
    case: str = "",
    regions: Mapping[str, tuple[int, ...]] | None = None,
) -> CaseScores:
    """The scores of a predicted mask against its reference, for each label in order of the schema.

    `tolerance_mm` is how far apart surfaces may lie for NSD; `case` names the result; `regions` names structures of
    several labels, by their indices, that are scored as wholes too. Where nobody judged the reference (its schema's
    `ignored` value), both masks count as background.
    Raises GeometryError where the two are on different grids, InputError where their labels differ or the tolerance
    is not a length.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"the tolerance of the surface Dice is a length of 0 mm or more, got {tolerance_mm}")
    prediction.geometry.require_same(reference.geometry, _named("the predicted and the reference mask", case))
    _require_same_labels(prediction, reference, case)
    if reference.schema.ignored is not None:
        judged = np.where(reference.known, prediction.array, 0).astype(prediction.array.dtype)
        prediction = LabelMap(judged, prediction.geometry, prediction.schema)
    scores = tuple(
        _score_labels(prediction, reference, (label.index,), label.name, tolerance_mm)
        for label in reference.schema.labels
    )
    wholes = tuple(
        _score_labels(prediction, reference, indices, name, tolerance_mm) for name, indices in (regions or {}).items()
    )
    return CaseScores(case, scores, tolerance_mm, wholes)


def _score_labels(
    prediction: LabelMap, reference: LabelMap, indices: tuple[int, ...], name: str, tolerance_mm: float
) -> LabelScores:
    predicted, true = (np.isin(label_map.array, indices) for label_map in (prediction, reference))
    box = box_around(predicted, true)
    if box is not None:
        predicted, true = predicted[box], true[box]
    overlap = overlap_of(predicted, true, reference.geometry.voxel_volume_ml)
    distances = surface_distances(predicted, true, reference.geometry)
    return LabelScores(
        label=name,
        dice=overlap.dice,
        nsd=distances.surface_dice(tolerance_mm),
        hd95_mm=distances.hausdorff_mm(95),
        assd_mm=distances.mean_mm(),
        volume_difference_ml=overlap.volume_difference_ml,
        volume_difference_percent=overlap.volume_difference_percent,
        prediction_ml=overlap.prediction_ml,
        reference_ml=overlap.reference_ml,
    )


def _require_same_labels(prediction: LabelMap, reference: LabelMap, case: str) -> None:
    names = [{label.index: label.name for label in label_map.schema.labels} for label_map in (prediction, reference)]
    if names[0] != names[1]:
        raise InputError(
            f"{_named('the predicted and the reference mask', case)} name different labels: {names[0]} and {names[1]}. "
            "Read both with the schema of one task."
        )


def _named(what: str, case: str) -> str:
    return f"{what} of case {case}" if case else what
