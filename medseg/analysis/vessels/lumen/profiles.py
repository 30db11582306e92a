"""The open lumen along a branch: its radius in mm at each point, by a disc fitted under the scanner's blur.

A narrow lumen under a blur looks narrower than it is, by half the blur or more, and one below a voxel vanishes from
any mask. So what is fitted is the soft map (a network's probabilities, or the image between its own levels), never
the mask, and the blur is part of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, maximum_filter1d, percentile_filter
from scipy.spatial import cKDTree

from medseg.analysis.vessels.lumen.calcium import Walls, calcium_by_map, without_calcium
from medseg.analysis.vessels.lumen.fitting import (
    HEALTHY_MM,
    HEALTHY_PERCENTILE,
    RadialProfile,
    best_blur_mm,
    fitted_radii,
)
from medseg.analysis.vessels.lumen.levels import Levels, SoftMap, all_levels, reach_mm
from medseg.analysis.vessels.lumen.ridge import brightest_way
from medseg.analysis.vessels.lumen.sections import Points, frames, grid_samples, ray_samples
from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree, arc_of
from medseg.core.geometry import Geometry

RAYS = 24

WALL_MM = 1.0
"""How far beyond the lumen calcified plaque may reach."""

NOISE_FLOOR = 0.3
"""The share of vessel in an image below which a voxel does not pull at the centreline: that is tissue and noise."""

INSCRIBED_LOSS = 1.1
"""A lumen is wider than the balls inscribed in its mask by about so much."""

BESIDE_GAP_MM = 1.5
"""Before a map loses a vessel it fades: so far beside a gap it is not trusted either."""

NARROW_PEAK = 0.7
"""Where no voxel holds more vessel than this, the lumen is about as narrow as the blur."""

RISE = 0.15
"""A ray along which the share of vessel rises again by this much has reached a neighbour, and ends there."""


@dataclass(frozen=True)
class LumenProfile:
    """The lumen along a branch at points (n, 3) in mm: radius (n,) in mm, misfit (n,) as a share of the contrast.

    `peak` (n,) is the highest share of vessel near the centreline, about 1 inside a vessel wider than the blur.
    `has_calcium` (n,) marks calcified wall in the section.
    """

    points_mm: Points
    radius_mm: NDArray[np.float64]
    misfit: NDArray[np.float64]
    peak: NDArray[np.float64]
    has_calcium: NDArray[np.bool_]

    @property
    def arc_mm(self) -> NDArray[np.float64]:
        """Way along the lumen's own centreline (n,)."""
        return arc_of(self.points_mm)


@dataclass(frozen=True)
class Lumens:
    """The lumen of every branch of a tree, the point spread in mm it was fitted with, and the calcium of an image.

    `is_told_by_map` says that a soft map told lumen from calcium, not brightness alone.
    """

    profiles: tuple[LumenProfile, ...]
    point_spread_mm: float
    calcium: NDArray[np.bool_] | None
    is_told_by_map: bool


def measure_lumens(
    tree: VesselTree,
    soft: SoftMap,
    point_spread_mm: float | None,
    probability: NDArray[np.float32] | None = None,
    mask: NDArray[np.bool_] | None = None,
    *,
    of_network: bool = False,
) -> Lumens:
    """The lumen of every branch; where no point spread is given, the one that fits the wide vessels best is taken.

    For an image, a map's `probability` (i, j, k) tells lumen from calcium, with brightness where it is `of_network`;
    without one, brightness alone has to, with a hard `mask`.
    """
    levels = all_levels(tree, soft)
    profiles = _profiles(tree, soft, levels)
    blur_mm = point_spread_mm if point_spread_mm is not None else best_blur_mm(profiles, soft.geometry)
    calcium = None
    if soft.is_image and levels:
        walls = _walls(tree, levels)
        if probability is None:
            calcium = without_calcium(soft.array, soft.geometry, walls, blur_mm, mask)
        else:
            calcium = calcium_by_map(soft.array, probability, soft.geometry, walls, blur_mm, of_network=of_network)
        soft = replace(soft, array=calcium.image)
        profiles = _profiles(tree, soft, levels)
    fitted = [
        LumenProfile(profile.points_mm, *fit, profile.peak, np.zeros(len(profile.points_mm), dtype=bool))
        for profile, fit in zip(
            profiles, fitted_radii(profiles, soft.geometry, blur_mm, is_image=soft.is_image), strict=True
        )
    ]
    if calcium is not None:
        fitted = [replace(one, has_calcium=_near_calcium(one, calcium.mask, soft.geometry)) for one in fitted]
    mask = calcium.mask if calcium is not None else None
    return Lumens(tuple(fitted), blur_mm, mask, is_told_by_map=probability is not None)


def _profiles(tree: VesselTree, soft: SoftMap, levels: list[Levels]) -> list[RadialProfile]:
    return [
        _profile(branch, _recentred(branch, soft, level), soft, level)
        for branch, level in zip(tree.branches, levels, strict=True)
    ]


def _walls(tree: VesselTree, levels: list[Levels]) -> Walls:
    """Where calcified plaque may lie, and how bright it would have to be."""
    return Walls(
        np.concatenate([branch.points_mm for branch in tree.branches]),
        np.concatenate([np.full(len(branch.points_mm), reach_mm(branch) + WALL_MM) for branch in tree.branches]),
        np.concatenate([level.low for level in levels]),
        np.concatenate([level.high for level in levels]),
        np.concatenate([np.full(len(level.high), level.calcium) for level in levels]),
        np.concatenate([_near_gap(branch) for branch in tree.branches]),
        np.concatenate([branch.tangents() for branch in tree.branches]),
        np.concatenate([_healthy_mm(branch) for branch in tree.branches]),
    )


def _healthy_mm(branch: VesselBranch) -> NDArray[np.float64]:
    """The healthy radius (n,) along a branch: the wider of the balls inscribed in its mask around each point."""
    step_mm = branch.length_mm / max(len(branch.points_mm) - 1, 1)
    size = 2 * round(HEALTHY_MM / max(step_mm, 1e-6)) + 1
    inscribed = percentile_filter(branch.inscribed_mm, HEALTHY_PERCENTILE, size=size, mode="nearest")
    return np.asarray(INSCRIBED_LOSS * inscribed)


def _near_gap(branch: VesselBranch) -> NDArray[np.bool_]:
    """Which points (n,) of a branch lie in a gap, or within `BESIDE_GAP_MM` of one."""
    step_mm = branch.length_mm / max(len(branch.points_mm) - 1, 1)
    reach = round(BESIDE_GAP_MM / max(step_mm, 1e-6))
    return np.asarray(maximum_filter1d(branch.is_gap.astype(np.int8), 2 * reach + 1, mode="constant") > 0)


def _near_calcium(lumen: LumenProfile, calcium: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """Which points (n,) of a lumen have calcium within two radii of its wall."""
    where = np.argwhere(calcium)
    if len(where) == 0:
        return np.zeros(len(lumen.points_mm), dtype=bool)
    distance = cKDTree(geometry.world(where)).query(lumen.points_mm)[0]
    return np.asarray(distance <= 1.3 * float(np.percentile(lumen.radius_mm, 75)) + min(geometry.spacing_mm))


def _recentred(branch: VesselBranch, soft: SoftMap, levels: Levels) -> Points:
    """The branch's points moved, within their planes, to the middle of the lumen; the first and last stay.

    Where the lumen is wide, to its centre of mass; where it is narrow or not seen, along the brightest smooth way.
    """
    step_mm = max(branch.length_mm / max(len(branch.points_mm) - 1, 1), 1e-6)
    points, peak = _towards_mass(branch, branch.points_mm, soft, levels, step_mm)
    is_narrow = maximum_filter1d(((peak < NARROW_PEAK) | branch.is_gap).astype(np.int8), 9) > 0
    for start, stop in _runs(is_narrow):
        if stop - start >= 5:
            points = _along_ridge(branch, points, slice(start, stop), soft, levels)
    return _towards_mass(branch, points, soft, levels, step_mm)[0]


def _plane_grid(
    branch: VesselBranch, points: Points, soft: SoftMap, levels: Levels
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[Points, Points]]:
    """The share of vessel (n, m, m) on a grid around each point, the grid's steps in mm, and the planes' axes."""
    reach = reach_mm(branch)
    half = max(4, min(9, round(reach / (0.6 * min(soft.geometry.spacing_mm)))))
    steps = np.linspace(-reach, reach, 2 * half + 1)
    plane = frames(replace(branch, points_mm=points).tangents())
    values = grid_samples(soft.array, soft.geometry, points, plane, steps)
    return levels.share(values), steps, plane


def _towards_mass(
    branch: VesselBranch, points: Points, soft: SoftMap, levels: Levels, step_mm: float
) -> tuple[Points, NDArray[np.float64]]:
    """Points moved to the centre of mass around them, and the highest share of vessel in each section."""
    share, steps, plane = _plane_grid(branch, points, soft, levels)
    smooth = gaussian_filter1d(share, 1.0, axis=0, mode="nearest")
    distance2 = steps[:, None] ** 2 + steps[None, :] ** 2
    pull = np.clip(smooth - (NOISE_FLOOR if soft.is_image else 0.0), 0.0, 1.0) ** 2
    pull *= np.exp(-distance2 / (2 * (0.6 * steps[-1]) ** 2))
    peak = np.where(distance2 <= (0.6 * steps[-1]) ** 2, smooth, 0.0).max(axis=(1, 2))
    sure = np.clip(peak / 0.3, 0.0, 1.0) / np.maximum(pull.sum(axis=(1, 2)), 1e-6)
    across = (pull * steps[None, :, None]).sum(axis=(1, 2)) * sure
    upward = (pull * steps[None, None, :]).sum(axis=(1, 2)) * sure
    shift = across[:, None] * plane[0] + upward[:, None] * plane[1]
    shift[[0, -1]] = 0.0
    return points + gaussian_filter1d(shift, 0.7 / step_mm, axis=0, mode="nearest"), peak


def _along_ridge(branch: VesselBranch, points: Points, run: slice, soft: SoftMap, levels: Levels) -> Points:
    """The points with those of a run moved onto the brightest way through its sections."""
    part = replace(branch, points_mm=points[run], inscribed_mm=branch.inscribed_mm)
    share, steps, plane = _plane_grid(part, points[run], soft, levels.part(run))
    score = gaussian_filter(np.clip(share, -0.3, 1.0), (1.5, 0.7, 0.7), mode="nearest")
    way = brightest_way(score)
    shift = steps[way[:, 0]][:, None] * plane[0] + steps[way[:, 1]][:, None] * plane[1]
    moved = points.copy()
    moved[run] += gaussian_filter1d(shift, 1.0, axis=0, mode="nearest")
    return moved


def _runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open index ranges of the stretches that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _profile(branch: VesselBranch, points: Points, soft: SoftMap, levels: Levels) -> RadialProfile:
    """The radial profile around every point, side branches, neighbours and calcium left out ray by ray."""
    spacing = min(soft.geometry.spacing_mm)
    reach = reach_mm(branch)
    most = reach + 3.0 * spacing
    distances = np.linspace(0.0, most, max(12, min(40, round(2 * most / spacing))))
    tangents = replace(branch, points_mm=points).tangents()
    share = levels.share(ray_samples(soft.array, soft.geometry, points, frames(tangents), distances, RAYS))
    # what to trust is decided on a quieter copy: noise alone must not end a ray
    quiet = gaussian_filter(share, (1.0, 1.0, 0.7), mode=("nearest", "wrap", "nearest"))
    envelope = np.minimum.accumulate(quiet, axis=2)
    has_risen = np.logical_or.accumulate(quiet > envelope + RISE, axis=2)
    centre = np.maximum(quiet[:, :, :2].mean(axis=(1, 2)), 0.2)
    edge = np.argmax((envelope < 0.5 * centre[:, None, None]) | (distances >= distances[-1])[None, None, :], axis=2)
    is_branching = distances[edge] > 1.5 * np.median(distances[edge], axis=1, keepdims=True) + spacing
    trusted = ~has_risen & ~is_branching[:, :, None]
    count = trusted.sum(axis=1)
    mean = np.where(trusted, share, 0.0).sum(axis=1) / np.maximum(count, 1)
    weight = count / RAYS * distances[None, :]
    peak = share[:, :, distances <= max(0.35 * reach, spacing)].max(axis=(1, 2))
    return RadialProfile(points, tangents, distances, mean, weight, peak, reach)
