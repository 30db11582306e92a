"""How Dice depends on a bias towards foreground: the curve of each case, and the bias that is best over cases.

Softmax probabilities are made to be likely, not to overlap well: where a network is unsure of a border, the mask of the
likeliest class may be smaller or larger than the one of the highest Dice. A bias added to the logits of all labels, the
same for each, moves the border; 0 is the likeliest class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import IGNORED_CLASS

BIASES: tuple[float, ...] = tuple(n / 4 for n in range(-12, 13))
"""What is tried, from -3 to 3: a label wins at a probability of 0.95 to 0.05 against background."""

SMALLEST_PROBABILITY = 1e-12
"""Below this a logarithm would say more than the network did."""

EQUAL = 1e-12
"""Mean Dice that differs by less is equal: sums in another order differ by some of it."""


def dice_by_bias(
    probabilities: NDArray[np.float32], classes: NDArray[np.uint8], biases: Sequence[float] = BIASES
) -> NDArray[np.float64]:
    """Dice (bias, label) of the masks that class probabilities (class, i, j, k) give with each bias.

    `classes` (i, j, k) is the truth: 0 background, n the n-th label; voxels that nobody judged (IGNORED_CLASS) do not
    count. nan where a label is in neither mask nor truth.
    The likeliest label of a voxel does not depend on the bias, only whether it beats background: at a bias above the
    logarithm of background over label.
    """
    label = probabilities[1:].argmax(axis=0) + 1
    best = probabilities[1:].max(axis=0)
    needed = np.log(np.maximum(probabilities[0], SMALLEST_PROBABILITY)) - np.log(np.maximum(best, SMALLEST_PROBABILITY))
    dice = np.full((len(biases), len(probabilities) - 1), math.nan)
    for number in range(1, len(probabilities)):
        true = int((classes == number).sum())
        found = _count_below(needed[(label == number) & (classes != IGNORED_CLASS)], biases)
        shared = _count_below(needed[(label == number) & (classes == number)], biases)
        total = found + true
        np.divide(2.0 * shared, total, out=dice[:, number - 1], where=total > 0)
    return dice


def best_bias(curves: NDArray[np.float64], biases: Sequence[float] = BIASES) -> float:
    """The bias of the highest mean Dice over labels of curves (case, bias, label); of equal ones the nearest to 0."""
    finite = np.isfinite(curves)
    counts = finite.sum(axis=0)
    means = np.where(finite, curves, 0.0).sum(axis=0) / np.maximum(counts, 1)
    mean = means.sum(axis=1) / np.maximum((counts > 0).sum(axis=1), 1)
    best = [bias for bias, dice in zip(biases, mean.tolist(), strict=True) if dice >= mean.max() - EQUAL]
    return min(best, key=lambda bias: (abs(bias), bias))


def _count_below(needed: NDArray[np.floating], biases: Sequence[float]) -> NDArray[np.int64]:
    """How many voxels need less than each bias to be found."""
    return np.searchsorted(np.sort(needed), np.asarray(biases), side="left").astype(np.int64)
