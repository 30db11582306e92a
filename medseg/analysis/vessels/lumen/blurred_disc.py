"""The profile of a round lumen seen through a blur, and the radius that fits a measured profile.

A disc of radius r under a Gaussian blur of standard deviation s has, at distance d from its centre, the value
P(|X| < r) for X normal around a point at distance d: a non-central chi-square distribution with two degrees of
freedom. Below one blur the disc gets fainter rather than smaller; a threshold sees only that it is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chndtr

MOST_RADIUS, MOST_DISTANCE, STEP = 12.0, 22.0, 0.1
"""Reach and step of the table, in blurs; beyond it an edge is straight and is computed as one."""

PLAQUE_SHARES = (-0.15, 0.45)
"""The range of shares of vessel around a narrowed lumen: fat is below the tissue's level, fibrous plaque above."""


@dataclass(frozen=True)
class Plaque:
    """What may lie around a narrowed lumen: up to which radius (n,), which share of the contrast between tissue and
    lumen it is expected to have (n,), and how much that weighs against the samples.
    """

    outer: NDArray[np.float64]
    expected: NDArray[np.float64]
    trust: float


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


def disc_costs(
    profile: NDArray[np.float64],
    weights: NDArray[np.float64],
    distances: NDArray[np.float64],
    blur: NDArray[np.float64],
    radii: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weighted sums of squares (n, k): how badly blurred discs of radii (k,) fit profiles (n, m) of values 0 to 1.

    `weights` (n, m) say how far to trust each sample, `blur` (n,) is the standard deviation in each plane.
    """
    model = disc_value(distances[None, None, :], radii[None, :, None], blur[:, None, None])
    return np.asarray(np.einsum("nm,nrm->nr", weights, (profile[:, None, :] - model) ** 2))


def plaque_costs(
    profile: NDArray[np.float64],
    weights: NDArray[np.float64],
    distances: NDArray[np.float64],
    blur: NDArray[np.float64],
    radii: NDArray[np.float64],
    plaque: Plaque,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The costs (n, k) of discs in plaque, and the plaque's level (n, k) that fits best with each.

    The ring between the disc and the plaque's outer radius has not the value 0 but the level that fits best within the
    limits, not far from what is expected.
    """
    model = disc_value(distances[None, None, :], radii[None, :, None], blur[:, None, None])
    left = profile[:, None, :] - model
    ring = disc_value(distances[None, :], plaque.outer[:, None], blur[:, None])[:, None, :] - model
    ring = np.maximum(ring, 0.0)
    trust = plaque.trust * weights.sum(axis=1)[:, None]
    expected = plaque.expected[:, None]
    # value = disc + level x ring: the level by least squares, for each radius
    level = (np.einsum("nm,nrm->nr", weights, left * ring) + trust * expected) / np.maximum(
        np.einsum("nm,nrm->nr", weights, ring**2) + trust, 1e-9
    )
    level = np.clip(level, *PLAQUE_SHARES)
    cost = np.einsum("nm,nrm->nr", weights, (left - level[:, :, None] * ring) ** 2)
    return np.asarray(cost + trust * (level - expected) ** 2), np.asarray(level)


def lowest(cost: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """The radius (n,) of the lowest cost of each row (n, k), between the even steps of the radii by a parabola."""
    best = np.argmin(cost, axis=1)
    inner = np.clip(best, 1, len(radii) - 2)
    rows = np.arange(len(cost))
    low, mid, high = cost[rows, inner - 1], cost[rows, inner], cost[rows, inner + 1]
    bend = low - 2 * mid + high
    shift = np.where((bend > 0) & (best == inner), 0.5 * (low - high) / np.where(bend > 0, bend, 1.0), 0.0)
    return np.asarray(np.maximum(radii[best] + np.clip(shift, -1.0, 1.0) * (radii[1] - radii[0]), 0.0))


@lru_cache(maxsize=1)
def _table() -> NDArray[np.float64]:
    u = np.arange(0.0, MOST_DISTANCE + STEP / 2, STEP)[:, None]
    v = np.arange(0.0, MOST_RADIUS + 1.5 * STEP, STEP)[None, :]
    table = np.asarray(chndtr(v**2, 2.0, u**2), dtype=np.float64)
    return np.nan_to_num(table, nan=0.0)
