"""How true a model's probabilities are: of the voxels that were given 0.8, four in five should be of the label."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.core.probability import CERTAIN

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Counts of voxels by the step of their probability (0 to 255), and how many of them are of the label.

    Voxels that are certainly not of the label (a probability of 0) and are not are left out: there are so many that
    they would hide everything. The sum of two reliabilities is that of both.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CERTAIN + 1, dtype=np.int64))
    hits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CERTAIN + 1, dtype=np.int64))

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.counts + other.counts, self.hits + other.hits)

    @property
    def expected_error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): ten bins, weighted by voxels; 0 where there is no voxel."""
        total = int(self.counts.sum())
        if total == 0:
            return 0.0
        steps = np.arange(CERTAIN + 1)
        bins = np.minimum(steps * BINS // CERTAIN, BINS - 1)
        promised, kept = (
            np.bincount(bins, weights=values, minlength=BINS) for values in (self.counts * steps / CERTAIN, self.hits)
        )
        return float(np.abs(promised - kept).sum() / total)


def reliability(probability: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Reliability:
    """The counts of one map against its reference, both of one shape."""
    counts = np.bincount(probability.ravel(), minlength=CERTAIN + 1)
    hits = np.bincount(probability[truth], minlength=CERTAIN + 1)
    counts[0] = hits[0]
    return Reliability(counts, hits)
