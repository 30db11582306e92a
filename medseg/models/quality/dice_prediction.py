"""The Dice to expect of one result, with an interval that holds the true one as often as it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities
from medseg.models.quality.expected_dice import expected_dice

COVERAGE = 0.9
FEWEST_CASES = 10
RIDGE = 1e-3
"""Keeps the line steady where the cases hardly differ."""


class PredictedDice(BaseModel):
    """The mean Dice over the labels, predicted for one result, and the interval of the stated coverage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dice: float
    interval: tuple[float, float]
    coverage: float


class DicePredictor(BaseModel):
    """A line from what a result shows of itself to its Dice, fitted on cases that the model did not learn from.

    The interval's half-width is a quantile of the errors on cases left out one at a time (split-conformal in spirit:
    Barber et al. 2021, the jackknife): it holds for cases like those it was fitted on, and for no others. `poor` is the
    Dice that nine in ten of those cases exceeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[float, ...] = Field(min_length=3)
    half_width: float = Field(ge=0)
    coverage: float = Field(gt=0, lt=1)
    poor: float
    cases: int

    @classmethod
    def fit(cls, shown: Sequence[NDArray[np.float64]], dice: Sequence[float], coverage: float = COVERAGE) -> Self:
        """The predictor from `result_features` of each case and its true mean Dice.

        Raises InputError where there are too few cases for an interval of that coverage.
        """
        count = len(dice)
        rank = math.ceil((count + 1) * coverage)
        if count < FEWEST_CASES or rank > count:
            needed = max(FEWEST_CASES, math.ceil(coverage / (1 - coverage)))
            raise InputError(
                f"{count} cases are too few for an interval that holds {coverage:.0%} of the time; it takes {needed}"
            )
        table, truth = np.stack(shown), np.asarray(dice, dtype=np.float64)
        penalty = RIDGE * count * np.diag([0.0] + [1.0] * (table.shape[1] - 1))
        solve = np.linalg.solve(table.T @ table + penalty, table.T)
        leverage = np.einsum("nk,kn->n", table, solve)
        errors = np.sort(np.abs(truth - table @ (solve @ truth)) / np.maximum(1 - leverage, 0.05))
        return cls(
            weights=tuple(float(weight) for weight in solve @ truth),
            half_width=float(errors[rank - 1]),
            coverage=coverage,
            poor=float(np.quantile(truth, 0.1)),
            cases=count,
        )

    def predict(self, shown: NDArray[np.float64]) -> PredictedDice:
        """The Dice to expect, 0 to 1, with its interval cut off there."""
        dice = float(np.clip(shown @ np.asarray(self.weights), 0, 1))
        interval = (max(0.0, dice - self.half_width), min(1.0, dice + self.half_width))
        return PredictedDice(dice=dice, interval=interval, coverage=self.coverage)


def result_features(label_map: LabelMap, probabilities: Probabilities) -> NDArray[np.float64]:
    """What a result shows of itself: 1, the mean and the lowest expected Dice of its labels, the log of its volume."""
    promised = list(expected_dice(label_map, probabilities).values()) or [0.0]
    volume_ml = float((label_map.array > 0).sum()) * label_map.geometry.voxel_volume_ml
    return np.array([1.0, float(np.mean(promised)), min(promised), math.log10(volume_ml + 0.01)])
