"""The profile of a round lumen seen through a blur, and the radius that fits a measured profile.

A disc of radius r under a Gaussian blur of standard deviation s has, at distance d from its centre, the value
P(|X| < r) for X normal around a point at distance d: a non-central chi-square distribution with two degrees of
freedom. Below one blur the disc gets fainter rather than smaller; a threshold sees only that it is smaller.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chndtr

MOST_RADIUS, MOST_DISTANCE, STEP = 12.0, 22.0, 0.1
"""Reach and step of the table, in blurs; beyond it an edge is straight and is computed as one."""

PLAQUE_SHARE, PLAQUE_TRUST = 0.12, 0.04
"""What soft plaque has of the contrast between tissue and lumen, and how much its level weighs against the samples:
with noise, a faint lumen and a bright plaque look alike."""


def disc_value(
    distance: NDArray[np.float64], radius: NDArray[np.float64], blur: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """The blurred disc's value 0 to 1 at a distance from its centre, all in one unit; the arrays are broadcast."""
    u = np.asarray(distance / blur, dtype=np.float64)
    v = np.asarray(radius / blur, dtype=np.float64)
    u, v = np.broadcast_arrays(u, v)
    # a disc of many blurs is its own edge moved outwards: shift both into the table
    beyond = np.maximum(v - MOST_RADIUS, 0.0)
    u = np.clip(u - beyond, 0.0, MOST_DISTANCE - STEP * 1.001) / STEP
    v = np.clip(v - beyond, 0.0, MOST_RADIUS - STEP * 0.001) / STEP
    i, j = u.astype(np.intp), v.astype(np.intp)
    a, b = u - i, v - j
    table = _table()
    return np.asarray(
        (1 - a) * ((1 - b) * table[i, j] + b * table[i, j + 1])
        + a * ((1 - b) * table[i + 1, j] + b * table[i + 1, j + 1])
    )


def fitted_radius(
    profile: NDArray[np.float64],
    weights: NDArray[np.float64],
    distances: NDArray[np.float64],
    blur: NDArray[np.float64],
    most_radius: float,
    plaque: tuple[NDArray[np.float64], tuple[float, float]] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The radius (n,) whose blurred disc fits profiles (n, m) of values 0 to 1 best, and the root mean square misfit.

    `weights` (n, m) say how far to trust each sample, `blur` (n,) is the standard deviation in each plane. With
    `plaque`, its outer radius (n,) and two limits, the ring between the disc and that radius has not the value 0 but
    what fits best between the limits, not far from plaque's usual share.
    """
    candidates = np.linspace(0.0, most_radius, 64)
    model = disc_value(distances[None, None, :], candidates[None, :, None], blur[:, None, None])
    left = profile[:, None, :] - model
    if plaque is not None:
        # value = disc + level x (outer disc - disc): the level by least squares, for each candidate
        outer, limits = plaque
        rest = np.maximum(disc_value(distances[None, :], outer[:, None], blur[:, None])[:, None, :] - model, 0.0)
        trust = PLAQUE_TRUST * weights.sum(axis=1)[:, None]
        best_level = (np.einsum("nm,nrm->nr", weights, left * rest) + trust * PLAQUE_SHARE) / np.maximum(
            np.einsum("nm,nrm->nr", weights, rest**2) + trust, 1e-9
        )
        level = np.clip(best_level, *limits)
        left = left - level[:, :, None] * rest
    cost = np.einsum("nm,nrm->nr", weights, left**2)
    if plaque is not None:
        cost += trust * (level - PLAQUE_SHARE) ** 2
    best = np.argmin(cost, axis=1)
    inner = np.clip(best, 1, len(candidates) - 2)
    rows = np.arange(len(profile))
    low, mid, high = cost[rows, inner - 1], cost[rows, inner], cost[rows, inner + 1]
    bend = low - 2 * mid + high
    shift = np.where((bend > 0) & (best == inner), 0.5 * (low - high) / np.where(bend > 0, bend, 1.0), 0.0)
    radius = candidates[best] + np.clip(shift, -1.0, 1.0) * (candidates[1] - candidates[0])
    total = np.maximum(weights.sum(axis=1), 1e-9)
    return np.maximum(radius, 0.0), np.sqrt(np.maximum(cost[rows, best], 0.0) / total)


@lru_cache(maxsize=1)
def _table() -> NDArray[np.float64]:
    u = np.arange(0.0, MOST_DISTANCE + STEP / 2, STEP)[:, None]
    v = np.arange(0.0, MOST_RADIUS + 1.5 * STEP, STEP)[None, :]
    table = np.asarray(chndtr(v**2, 2.0, u**2), dtype=np.float64)
    return np.nan_to_num(table, nan=0.0)
