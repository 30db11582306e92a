"""What to read next: where the model most likely failed, mixed with a random share.

The random share is what keeps the corrections telling about all scans: read only what looks doubtful, and nobody learns
of the failures that the model is sure of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.probability import CERTAIN, ProbabilityMap

RANDOM_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that waits to be read, and what speaks for a failure, each the higher the likelier; None where not known.

    `doubt` is 1 less the expected Dice, `disagreement` the share of an ensemble's answers that differ from the mean's,
    `strangeness` how far the scan is from those that the model learned from.
    """

    study: str
    doubt: float | None = None
    disagreement: float | None = None
    strangeness: float | None = None


def reading_order(
    candidates: Sequence[Candidate], generator: np.random.Generator, random_share: float = RANDOM_SHARE
) -> tuple[Candidate, ...]:
    """All candidates, the likeliest failure first; at each place, with the chance of the random share, any other one.

    Signals are compared by their ranks, and their mean counts. Where nothing is known of a study, it is taken for the
    likeliest failure: that nothing was measured is a failure too. Raises InputError for a share that is none.
    """
    if not 0 <= random_share <= 1:
        raise InputError(f"the random share is from 0 to 1, got {random_share}")
    scores = failure_scores(candidates)
    waiting = sorted(range(len(candidates)), key=lambda n: (-scores[n], candidates[n].study))
    order = []
    while waiting:
        at = int(generator.integers(len(waiting))) if generator.random() < random_share else 0
        order.append(candidates[waiting.pop(at)])
    return tuple(order)


def failure_scores(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """The mean rank of each candidate over the signals that are known of it, 0 to 1; 1 where none is."""
    signals = [[one.doubt, one.disagreement, one.strangeness] for one in candidates]
    table = np.array(signals, dtype=np.float64).reshape(len(candidates), 3)
    ranks = np.full(table.shape, np.nan)
    for column, values in enumerate(table.T):
        known = np.flatnonzero(np.isfinite(values))
        below = (values[known][:, None] > values[known]).sum(axis=1)
        upto = (values[known][:, None] >= values[known]).sum(axis=1)
        ranks[known, column] = (below + upto) / (2 * max(1, len(known)))
    known_count = np.isfinite(ranks).sum(axis=1)
    means = np.nansum(ranks, axis=1) / np.maximum(known_count, 1)
    return np.where(known_count > 0, means, 1.0)


def mean_disagreement(label_map: LabelMap, agreement: ProbabilityMap | None) -> float | None:
    """The mean share of a model's answers that differ from the mean's, in the mask; None where none is known there."""
    inside = agreement.array[label_map.array > 0] if agreement is not None else np.zeros(0, np.uint8)
    return 1 - float(inside.mean()) / CERTAIN if inside.size else None
