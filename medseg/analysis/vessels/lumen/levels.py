"""What is vessel and what is not, in a map of probabilities or in an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from medseg.analysis.vessels.lumen.sections import frames, ray_samples, sampled
from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree
from medseg.core.geometry import Geometry

REACH = 1.3
"""How much wider than the balls inscribed in its mask a lumen may be."""

MOST_LOSS = 0.35
"""A branch whose level differs from the widest vessels' by more of the contrast is not trusted to show its own."""

CALCIUM_SHARE = 0.08
CALCIUM_NOISE = 1.8
"""Calcium is brighter than the lumen by this share of its contrast, and by so many standard deviations of the noise."""


@dataclass(frozen=True)
class SoftMap:
    """What the lumen is measured on: a map of probabilities (1 is vessel, 0 is not), or an image.

    An image's levels of lumen and surroundings are taken from the image itself, along the branches.
    """

    array: NDArray[np.float32]
    geometry: Geometry
    is_image: bool = False


@dataclass(frozen=True)
class Levels:
    """What is vessel (n,) and what is not (n,) along a branch; above `calcium` is neither."""

    high: NDArray[np.float64]
    low: NDArray[np.float64]
    calcium: float

    def part(self, run: slice) -> Levels:
        """The levels of a run of points."""
        return Levels(self.high[run], self.low[run], self.calcium)

    def share(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Values (n, ...) as the share of vessel in them."""
        shape = (-1,) + (1,) * (values.ndim - 1)
        return np.asarray((values - self.low.reshape(shape)) / (self.high - self.low).reshape(shape))


def all_levels(tree: VesselTree, soft: SoftMap) -> list[Levels]:
    """The levels of every branch: 1 and 0 for probabilities; for an image, from the middles of its vessels and the
    tissue around them. Vessels too narrow to show their own level take that of the widest.
    """
    if not soft.is_image:
        return [
            Levels(np.ones(len(branch.points_mm)), np.zeros(len(branch.points_mm)), np.inf) for branch in tree.branches
        ]
    least_mm = 4.0 * min(soft.geometry.spacing_mm)
    middles = [_middle_values(branch, soft) for branch in tree.branches]
    tissues = [_tissue_values(branch, soft) for branch in tree.branches]
    if not middles:
        return []
    every = np.concatenate(middles)
    width = np.concatenate([np.where(branch.is_gap, 0.0, branch.inscribed_mm) for branch in tree.branches])
    common = float(np.median(every[width >= np.percentile(width, 70)]))
    tissue_level = float(np.median(np.concatenate(tissues)))
    contrast = common - tissue_level
    noise = _noise(tree, soft)
    reserve = max(CALCIUM_SHARE * abs(contrast), CALCIUM_NOISE * noise)
    found = []
    for branch, middle, tissue in zip(tree.branches, middles, tissues, strict=True):
        own = middle[(branch.inscribed_mm >= least_mm) & ~branch.is_gap]
        level = float(np.percentile(own, 60)) if len(own) >= 10 else common
        is_flowing = abs(level - common) <= MOST_LOSS * abs(contrast)
        high = level if is_flowing else common
        low = np.minimum(tissue, high - 0.2 * abs(contrast) - 1.0)
        found.append(Levels(np.full(len(middle), high), low, high + reserve))
    return found


def _middle_values(branch: VesselBranch, soft: SoftMap) -> NDArray[np.float64]:
    """The image (n,) around the centreline, within a third of the vessel's radius."""
    distances = np.linspace(0.0, 0.35 * float(np.median(branch.inscribed_mm)), 3)
    values = ray_samples(soft.array, soft.geometry, branch.points_mm, frames(branch.tangents()), distances, 8)
    return np.asarray(values.mean(axis=(1, 2)), dtype=np.float64)


def _noise(tree: VesselTree, soft: SoftMap) -> float:
    """The noise beside the vessels as a standard deviation, in the image's unit."""
    return 1.48 * float(np.median([np.median(np.abs(_tissue_noise(branch, soft))) for branch in tree.branches]))


def _tissue_noise(branch: VesselBranch, soft: SoftMap) -> NDArray[np.float64]:
    """Differences of the image between neighbouring points of a line well beside the vessel, over root two."""
    beside = reach_mm(branch) + 4.0 * min(soft.geometry.spacing_mm)
    plane = frames(branch.tangents())
    values = sampled(soft.array, soft.geometry, branch.points_mm + beside * plane[0])
    return np.asarray(np.diff(values[::3]) / np.sqrt(2), dtype=np.float64)


def _tissue_values(branch: VesselBranch, soft: SoftMap) -> NDArray[np.float64]:
    """The image (n,) around the vessel: the lower middle of a ring, so that neighbours do not count, smoothed."""
    spacing = min(soft.geometry.spacing_mm)
    inner = reach_mm(branch) + 2.0 * spacing
    distances = np.linspace(inner, inner + 4.0 * spacing, 5)
    values = ray_samples(soft.array, soft.geometry, branch.points_mm, frames(branch.tangents()), distances, 16)
    ring = np.percentile(values.reshape(len(values), -1), 40, axis=1)
    return np.asarray(median_filter(ring, size=15, mode="nearest"), dtype=np.float64)


def contrast_to_noise(tree: VesselTree, soft: SoftMap) -> float:
    """By how many standard deviations of the noise the vessels of an image stand out from what is around them.

    Zero for a tree without branches.
    """
    if not tree.branches:
        return 0.0
    middle = np.concatenate([_middle_values(branch, soft) for branch in tree.branches])
    tissue = np.concatenate([_tissue_values(branch, soft) for branch in tree.branches])
    noise = _noise(tree, soft)
    return max(0.0, float(np.median(middle) - np.median(tissue))) / max(noise, 1e-6)


def reach_mm(branch: VesselBranch) -> float:
    """A radius that no lumen of the branch exceeds, from the balls inscribed in its mask."""
    return float(np.percentile(branch.inscribed_mm, 85)) * REACH
