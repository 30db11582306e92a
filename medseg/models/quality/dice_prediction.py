"""The Dice to expect of one result, with an interval that holds the true one as often as it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.probability import CERTAIN, Probabilities
from medseg.core.volume import Volume
from medseg.models.quality.expected_dice import expected_dice

COVERAGE = 0.9
FEWEST_CASES = 10
HALVINGS = 200
SMALLEST_SPREAD = 1e-3
"""What every case shows alike tells nothing of any: its spread is no smaller."""
LEAD = 0.8
SHELL_VOXELS = 3
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""How far the line's weights are held near 0, as a share of the cases; the one with the smallest left-out errors."""


class PredictedDice(BaseModel):
    """The mean Dice over the labels, predicted for one result, and the interval of the stated coverage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dice: float
    interval: tuple[float, float]
    coverage: float


class DicePredictor(BaseModel):
    """A line from what a result shows of itself to its Dice, fitted on cases that the model did not learn from.

    The line is a ridge regression of the features, each by its mean and standard deviation. The interval's half-width
    is a quantile of the errors on cases left out one at a time (split-conformal in spirit: Barber et al. 2021, the
    jackknife): it holds for cases like those it was fitted on, and for no others. `poor` is the Dice that nine in ten
    of those cases exceeded. A predictor of before features were scaled has no `centre`, and sees fewer of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[float, ...] = Field(min_length=3)
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    half_width: float = Field(ge=0)
    coverage: float = Field(gt=0, lt=1)
    poor: float
    cases: int
    held: float | None = Field(default=None, ge=0, le=1)
    """How often an interval held the true Dice, by `held_out_coverage`; None where the cases are too few to halve."""

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
        centre, spread = table.mean(axis=0), np.maximum(table.std(axis=0), SMALLEST_SPREAD)
        centre[0], spread[0] = 0.0, 1.0  # the constant
        weights, errors = min(
            (_ridge((table - centre) / spread, truth, penalty) for penalty in PENALTIES),
            key=lambda fitted: float((fitted[1] ** 2).sum()),
        )
        return cls(
            weights=tuple(weights.tolist()),
            centre=tuple(centre.tolist()),
            spread=tuple(spread.tolist()),
            half_width=float(np.sort(np.abs(errors))[rank - 1]),
            coverage=coverage,
            poor=float(np.quantile(truth, 0.1)),
            cases=count,
        )

    def measured(self, shown: Sequence[NDArray[np.float64]], dice: Sequence[float]) -> Self:
        """The predictor of these cases, which knows how often intervals of its kind held."""
        return self.model_copy(update={"held": held_out_coverage(shown, dice, self.coverage)})

    def predict(self, shown: NDArray[np.float64]) -> PredictedDice:
        """The Dice to expect, 0 to 1, with its interval cut off there."""
        known = shown[: len(self.weights)]
        scaled = (known - self.centre) / np.asarray(self.spread) if self.centre else known
        dice = float(np.clip(scaled @ np.asarray(self.weights), 0, 1))
        interval = (max(0.0, dice - self.half_width), min(1.0, dice + self.half_width))
        return PredictedDice(dice=dice, interval=interval, coverage=self.coverage)


def held_out_coverage(
    shown: Sequence[NDArray[np.float64]], dice: Sequence[float], coverage: float = COVERAGE
) -> float | None:
    """How often the interval of a predictor that is fitted on one half of the cases holds those of the other half.

    The mean over `HALVINGS` random halves; None where a half is too few for an interval.
    """
    count = len(dice)
    if count // 2 < max(FEWEST_CASES, math.ceil(coverage / (1 - coverage))):
        return None
    generator = np.random.default_rng(0)
    held = []
    for _ in range(HALVINGS):
        order = generator.permutation(count)
        known, asked = order[: count // 2], order[count // 2 :]
        predictor = DicePredictor.fit([shown[n] for n in known], [dice[n] for n in known], coverage)
        intervals = [predictor.predict(shown[n]).interval for n in asked]
        held += [low <= dice[n] <= high for n, (low, high) in zip(asked, intervals, strict=True)]
    return float(np.mean(held))


def result_features(volume: Volume, label_map: LabelMap, probabilities: Probabilities) -> NDArray[np.float64]:
    """What a result shows of itself, of the first channel's scan.

    1; the mean and the lowest expected Dice of its labels; the log of its volume in ml; the voxels whose likeliest
    class leads by less than `LEAD`, as a share of the mask; how far the model's answers disagree in the mask, 0 where
    there is one; the scan's noise; and how much the mask's grey values differ from those around it, and among
    themselves. The last three are by the scan's own range.
    """
    promised = list(expected_dice(label_map, probabilities).values()) or [0.0]
    mask = label_map.array > 0
    size = max(1, int(mask.sum()))
    unsure = float((_lead(probabilities) < LEAD).sum()) / size
    agreement = probabilities.agreement
    apart = 1 - float(agreement.array[mask].mean()) / CERTAIN if agreement is not None and mask.any() else 0.0
    volume_ml = float(mask.sum()) * label_map.geometry.voxel_volume_ml
    return np.array(
        [
            1.0,
            float(np.mean(promised)),
            min(promised),
            math.log10(volume_ml + 0.01),
            math.log10(unsure + 0.01),
            apart,
            *_greys(volume.array, mask),
        ]
    )


def _ridge(
    table: NDArray[np.float64], truth: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights, and the error of each case by the line of all others; the first column is not held."""
    held = penalty * len(truth) * np.diag([0.0] + [1.0] * (table.shape[1] - 1))
    solve = np.linalg.solve(table.T @ table + held, table.T)
    leverage = np.einsum("nk,kn->n", table, solve)
    return solve @ truth, (truth - table @ (solve @ truth)) / np.maximum(1 - leverage, 0.05)


def _lead(probabilities: Probabilities) -> NDArray[np.float32]:
    """By how much the likeliest class of each voxel, background among them, is likelier than the second."""
    maps = [kept.array for kept in probabilities.of_label.values()]
    first = np.clip(CERTAIN - sum(one.astype(np.int16) for one in maps), 0, CERTAIN)
    second = np.zeros_like(first)
    for one in maps:
        second = np.maximum(second, np.minimum(first, one))
        first = np.maximum(first, one)
    return np.asarray((first - second) / np.float32(CERTAIN), dtype=np.float32)


def _greys(array: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Noise of the scan, contrast of the mask against a shell around it, spread of the mask's grey values."""
    box = _around(mask)
    part, inside = array[box].astype(np.float32), mask[box]
    low, high = np.percentile(array, (1, 99))
    share = np.clip((part - low) / max(float(high - low), 1e-6), 0, 1)
    noise = float(np.abs(ndimage.laplace(share)).mean())
    shell = ndimage.binary_dilation(inside, iterations=SHELL_VOXELS) & ~inside
    if not inside.any() or not shell.any():
        return noise, 0.0, 0.0
    return noise, float(share[inside].mean() - share[shell].mean()), float(share[inside].std())


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """A box around the mask with room for the shell; all where it is empty."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return slice(None), slice(None), slice(None)
    i, j, k = (slice(max(0, side.start - SHELL_VOXELS), side.stop + SHELL_VOXELS) for side in found[0])
    return i, j, k
