"""The radius along a branch from its radial profiles: discs under the blur, the plaque around them, the blur itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, percentile_filter

from medseg.analysis.vessels.lumen.blurred_disc import Plaque, disc_costs, lowest, plaque_costs
from medseg.analysis.vessels.lumen.sections import Points
from medseg.analysis.vessels.lumen.smoothing import noise_variance, smoothed_radius
from medseg.analysis.vessels.tree.branches import arc_of
from medseg.core.geometry import Geometry

CANDIDATES = 64
"""Radii that are tried, from nothing to the end of the profile; between them goes a parabola."""

SAMPLING_VARIANCE = 1 / 12 + 1 / 6
"""What a voxel's own box (1/12) and linear interpolation between voxels (1/6 of a spacing squared) add to the blur."""

PLAQUE_SHARE, PLAQUE_TRUST = 0.12, 0.04
"""What soft plaque has of the contrast between tissue and lumen, and how much its level weighs against the samples:
with noise, a faint lumen and a bright plaque look alike."""

LESION_MM, LESION_TRUST = 3.0, 0.1
"""Over which length a lesion's plaque is of one level, and how much that level weighs against a section's samples."""

NARROWED, HEALTHY_MM, HEALTHY_PERCENTILE = 0.8, 12.0, 75.0
"""A lumen is narrowed below this share of what is healthy within so many mm on both sides."""

BLURS_MM = (0.0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.7, 0.9, 1.2, 1.6)
"""The point spreads that are tried where nobody says which one the scanner has."""

WIDE_PEAK = 0.9
"""A vessel whose middle is this bright is wider than the blur, and its edge shows the blur."""


@dataclass(frozen=True)
class RadialProfile:
    """Mean share of vessel over the trusted rays (n, m) at distances (m,), and the weight of each.

    `peak` (n,) is the highest share near the middle; no lumen of the branch is wider than `reach_mm`.
    """

    points_mm: Points
    tangents: Points
    distances_mm: NDArray[np.float64]
    share: NDArray[np.float64]
    weight: NDArray[np.float64]
    peak: NDArray[np.float64]
    reach_mm: float


@dataclass(frozen=True)
class _Costs:
    """How badly each candidate radius (k,) fits each section: (n, k), beside the mean weight of its samples (n,)."""

    radii_mm: NDArray[np.float64]
    cost: NDArray[np.float64]
    weight: NDArray[np.float64]
    samples: int

    @property
    def misfit(self) -> NDArray[np.float64]:
        """The root mean square misfit (n,) of the best radius, as a share of the contrast."""
        total = np.maximum(self.weight * self.samples, 1e-9)
        return np.asarray(np.sqrt(np.maximum(self.cost.min(axis=1), 0.0) / total))


def fitted_radii(
    profiles: Sequence[RadialProfile], geometry: Geometry, blur_mm: float, *, is_image: bool
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Radius in mm and misfit of every section of every branch, under a point spread.

    In an image a narrowed lumen lies in plaque, which has a level of its own, and there is noise: sections that agree
    are taken together. A map of probabilities has neither; what changes in it from section to section is shape.
    """
    costs = [_costs(profile, geometry, blur_mm, has_plaque=is_image) for profile in profiles]
    if not is_image:
        return [(lowest(one.cost, one.radii_mm), one.misfit) for one in costs]
    branches = [(one.cost, one.radii_mm, one.weight) for one in costs]
    variance = noise_variance(branches)
    return [(smoothed_radius(branch, variance), one.misfit) for branch, one in zip(branches, costs, strict=True)]


def best_blur_mm(profiles: Sequence[RadialProfile], geometry: Geometry) -> float:
    """The point spread in mm with which the sections of vessels wider than the blur fit best."""
    means = []
    for blur_mm in BLURS_MM:
        total, count = 0.0, 0
        for profile in profiles:
            is_wide = profile.peak > WIDE_PEAK
            if is_wide.any():
                squares = _costs(profile, geometry, blur_mm, has_plaque=False, only=is_wide).misfit ** 2
                total, count = total + float(squares.sum()), count + len(squares)
        means.append(total / max(count, 1))
    best = int(np.argmin(means))
    if not 0 < best < len(BLURS_MM) - 1:
        return BLURS_MM[best]
    near = slice(best - 1, best + 2)
    bend, slope, _ = np.polyfit(BLURS_MM[near], means[near], 2)
    lowest_mm = -slope / (2 * bend) if bend > 0 else BLURS_MM[best]
    return float(np.clip(lowest_mm, BLURS_MM[best - 1], BLURS_MM[best + 1]))


def _costs(
    profile: RadialProfile,
    geometry: Geometry,
    blur_mm: float,
    *,
    has_plaque: bool,
    only: NDArray[np.bool_] | None = None,
) -> _Costs:
    """The costs of the sections of a branch, or only of some."""
    chosen = slice(None) if only is None else only
    share, weight, distances = profile.share[chosen], profile.weight[chosen], profile.distances_mm
    blur = _blur_in_planes(profile.tangents[chosen], geometry, blur_mm)
    radii = np.linspace(0.0, float(distances[-1]), CANDIDATES)
    cost = disc_costs(share, weight, distances, blur, radii)
    costs = _Costs(radii, cost, weight.mean(axis=1), len(distances))
    return _in_plaque(profile, costs, blur) if has_plaque else costs


def _blur_in_planes(tangents: Points, geometry: Geometry, point_spread_mm: float) -> NDArray[np.float64]:
    """Standard deviation (n,) in mm of the blur within the planes across these directions."""
    along = tangents @ geometry.directions
    voxel = (np.asarray(geometry.spacing_mm) ** 2 * (1 - along**2)).sum(axis=1) / 2
    return np.asarray(np.sqrt(point_spread_mm**2 + SAMPLING_VARIANCE * voxel))


def _in_plaque(profile: RadialProfile, plain: _Costs, blur: NDArray[np.float64]) -> _Costs:
    """The costs with those of narrowed lumens reckoned anew: they lie in plaque, whose level is found first section by
    section, and then held near that of the sections around.
    """
    radius = lowest(plain.cost, plain.radii_mm)
    step_mm = max(float(np.median(np.diff(arc_of(profile.points_mm)))), 1e-6)
    size = 2 * round(HEALTHY_MM / step_mm) + 1
    healthy = percentile_filter(radius, HEALTHY_PERCENTILE, size=size, mode="nearest")
    healthy = np.minimum(healthy, profile.reach_mm)
    at = np.flatnonzero(radius < NARROWED * healthy)
    if len(at) == 0:
        return plain
    outer, distances = healthy[at], profile.distances_mm
    weight = profile.weight[at] * (distances[None, :] <= outer[:, None])
    section = (profile.share[at], weight, distances, blur[at], plain.radii_mm)
    usual = np.full(len(at), PLAQUE_SHARE)
    cost, level = plaque_costs(*section, Plaque(outer, usual, PLAQUE_TRUST))
    best = np.argmin(cost, axis=1)
    area = np.maximum(outer**2 - plain.radii_mm[best] ** 2, 0.0)
    around = _averaged(level[np.arange(len(at)), best], area, at, len(radius), LESION_MM / step_mm)
    cost, _ = plaque_costs(*section, Plaque(outer, around, LESION_TRUST))
    costs, weights = plain.cost.copy(), plain.weight.copy()
    costs[at], weights[at] = cost, weight.mean(axis=1)
    return _Costs(plain.radii_mm, costs, weights, plain.samples)


def _averaged(
    values: NDArray[np.float64], weights: NDArray[np.float64], at: NDArray[np.intp], count: int, sigma: float
) -> NDArray[np.float64]:
    """Values that stand at places of a row of `count`, each averaged with those around it."""
    sums, sizes = np.zeros(count), np.zeros(count)
    sums[at], sizes[at] = values * weights, weights
    summed, size = (gaussian_filter1d(one, sigma, mode="constant") for one in (sums, sizes))
    return np.asarray(summed[at] / np.maximum(size[at], 1e-12))
