"""One radius from several sections: as many are taken together as agree.

In noise the tightest section of a lumen is the one that the noise made tightest, and a percentage taken from it is too
high. Averaging over a fixed length would fill short lesions instead. So for each section the longest stretch is taken
over which its radius does not contradict that of shorter stretches (intersection of confidence intervals, Goldenshluger
and Nemirovski 1997, Katkovnik 1999): all of an even lumen, little of a tip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medseg.analysis.vessels.lumen.blurred_disc import lowest

STRETCHES = (0.0, 1.0, 2.0, 4.0, 7.0, 10.0)
"""Standard deviations of the stretches, in sections."""

CONTRADICTION = 0.6
"""Radii contradict each other that are further apart than so many standard errors of each: set on tuning studies."""

APART = 3
"""So many sections apart, noise has nothing in common."""

Costs = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Of a branch: costs (n, k), the radii (k,) they are of, and the mean weight (n,) of a section's samples."""

SHARED = 0.5
"""Neighbouring sections share half of their noise: it is blurred, and they are a voxel apart."""


def noise_variance(branches: Sequence[Costs]) -> float:
    """The variance of a sample of mean weight, from how radii jump from section to section over all branches.

    A shape that no disc fits misfits evenly along
    a vessel: that is no noise, and does not count.
    """
    jumps = []
    for cost, radii, weight in branches:
        radius, error = lowest(cost, radii), _error(cost, radii, weight)
        apart = np.abs(radius[APART:] - radius[:-APART])
        jumps.append(apart / np.sqrt(error[APART:] ** 2 + error[:-APART] ** 2))
    every = np.concatenate([np.empty(0), *jumps])
    return float(1.48 * np.median(every)) ** 2 if len(every) else 0.0


def smoothed_radius(branch: Costs, variance: float) -> NDArray[np.float64]:
    """The radius (n,) along a branch; `variance` is that of a sample of mean weight."""
    cost, radii, weight = branch
    low, high = np.full(len(cost), -np.inf), np.full(len(cost), np.inf)
    radius = lowest(cost, radii)
    agrees = np.ones(len(cost), dtype=bool)
    for stretch in STRETCHES:
        together = gaussian_filter1d(cost, stretch, axis=0, mode="nearest", truncate=3.0) if stretch else cost
        found = lowest(together, radii)
        count = 1 + SHARED * 2 * np.sqrt(np.pi) * stretch
        error = _error(together, radii, weight) * np.sqrt(variance / count)
        low = np.where(agrees, np.maximum(low, found - CONTRADICTION * error), low)
        high = np.where(agrees, np.minimum(high, found + CONTRADICTION * error), high)
        agrees &= low <= high
        radius = np.where(agrees, found, radius)
    return np.asarray(radius)


def _error(cost: NDArray[np.float64], radii: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard error (n,) of the best radii where a sample of mean weight has variance 1, from how costs bend."""
    at = np.clip(np.argmin(cost, axis=1), 1, len(radii) - 2)
    rows = np.arange(len(cost))
    bend = (cost[rows, at - 1] - 2 * cost[rows, at] + cost[rows, at + 1]) / (radii[1] - radii[0]) ** 2
    return np.asarray(np.sqrt(2 * weight / np.maximum(bend, 1e-9)))
