"""One radius from several sections: as many are taken together as agree.

In noise the tightest section of a lumen is the one that the noise made tightest, and a percentage taken from it is too
high. Averaging over a fixed length would fill short lesions instead. So for each section the longest stretch is taken
over which its radius does not contradict that of shorter stretches (intersection of confidence intervals, Goldenshluger
and Nemirovski 1997, Katkovnik 1999): all of an even lumen, little of a tip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medseg.analysis.vessels.lumen.blurred_disc import lowest

STRETCHES = (0.0, 1.0, 2.0, 4.0, 7.0, 10.0)
"""Standard deviations of the stretches, in sections."""

CONTRADICTION = 1.5
"""Radii contradict each other that are further apart than so many standard errors of each."""

SHARED = 0.5
"""Neighbouring sections share half of their noise: it is blurred, and they are a voxel apart."""


def smoothed_radius(
    cost: NDArray[np.float64], radii: NDArray[np.float64], weight: NDArray[np.float64], variance: float
) -> NDArray[np.float64]:
    """The radius (n,) along a branch from the costs (n, k) of even steps of radii (k,) at each of its sections.

    `weight` (n,) is the mean weight of a section's samples, `variance` that of a sample of such a weight.
    """
    step = radii[1] - radii[0]
    low, high = np.full(len(cost), -np.inf), np.full(len(cost), np.inf)
    radius = lowest(cost, radii)
    agrees = np.ones(len(cost), dtype=bool)
    for stretch in STRETCHES:
        together = gaussian_filter1d(cost, stretch, axis=0, mode="nearest", truncate=3.0) if stretch else cost
        found = lowest(together, radii)
        at = np.clip(np.argmin(together, axis=1), 1, len(radii) - 2)
        rows = np.arange(len(cost))
        bend = (together[rows, at - 1] - 2 * together[rows, at] + together[rows, at + 1]) / step**2
        count = 1 + SHARED * 2 * np.sqrt(np.pi) * stretch
        error = np.sqrt(2 * variance * weight / count / np.maximum(bend, 1e-9))
        low = np.where(agrees, np.maximum(low, found - CONTRADICTION * error), low)
        high = np.where(agrees, np.minimum(high, found + CONTRADICTION * error), high)
        agrees &= low <= high
        radius = np.where(agrees, found, radius)
    return np.asarray(radius)
