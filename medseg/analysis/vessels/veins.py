"""Thrombus in veins: how much of each cross-section of an opacified vein is open, whatever the clot's shape.

A clot is a hole in the lumen: it floats in it or lies at its wall, so the open part is a ring or a crescent and no disc
fits it. The vein itself is found with its holes filled; what is open is then measured as an area, and given as the
radius of a round lumen of that area, so that a clot counts like a narrowing that takes the same area.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_closing,
    binary_fill_holes,
    find_objects,
    gaussian_filter1d,
    generate_binary_structure,
    percentile_filter,
)

from medseg.analysis.vessels.levels import SoftMap, all_levels
from medseg.analysis.vessels.lumen import LumenProfile, Lumens
from medseg.analysis.vessels.sections import frames, grid_samples
from medseg.analysis.vessels.tree import VesselBranch, VesselTree

SHELL = 0.25
"""The ring around a clot may be thin and faint: above this share it still closes a hole."""

HEALTHY_MM, HEALTHY_PERCENTILE = 15.0, 70.0
"""The vein's own radius is this percentile within so many mm on both sides: clots leave it as it was."""

RIM_BLURS = 1.2
"""How far beyond the wall, in blurs, the open lumen still shines."""

DARK_SHARE, DARK_PERCENTILE = 0.3, 25.0
"""A section whose darkest quarter lies below this share of the lumen's contrast holds a clot, and shows its level."""

CLOSED_AREA = 0.03
"""An open share of the area below this is none: noise and the clot's uneven level look the same."""

GRID_STEPS = 21
SMOOTHING_MM = 0.7


def with_holes_filled(soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map (i, j, k) in which the holes that clots leave are vein: enclosed in space, or in a slice along any axis."""
    boxes = find_objects((soft > SHELL).astype(np.uint8))
    if not boxes or boxes[0] is None:
        return soft
    box = tuple(
        slice(max(0, part.start - 2), min(size, part.stop + 2)) for part, size in zip(boxes[0], soft.shape, strict=True)
    )
    shell = binary_closing(np.pad(soft[box] > SHELL, 2), generate_binary_structure(3, 1), iterations=2)
    filled = binary_fill_holes(shell)
    plane = generate_binary_structure(2, 1)
    for axis in range(3):
        across = np.expand_dims(plane, axis)
        filled |= binary_fill_holes(shell, structure=across)
    inside = filled[2:-2, 2:-2, 2:-2]
    whole = soft.copy()
    whole[box] = np.where(inside & (soft[box] < 1), np.maximum(soft[box], 0.999), soft[box])
    return whole


def open_lumens(tree: VesselTree, outer: Lumens, soft: SoftMap) -> Lumens:
    """The lumens of veins by their open area, measured on `soft`; `outer` are the veins with their holes filled."""
    levels = all_levels(tree, soft)
    profiles = []
    for branch, whole, level in zip(tree.branches, outer.profiles, levels, strict=True):
        wall = vein_radius(whole, branch)
        half = float(wall.max()) + RIM_BLURS * outer.point_spread_mm + min(soft.geometry.spacing_mm)
        steps = np.linspace(-half, half, GRID_STEPS)
        plane = frames(replace(branch, points_mm=whole.points_mm).tangents())
        share = level.share(grid_samples(soft.array, soft.geometry, whole.points_mm, plane, steps))
        area = _open_area(share, steps, wall, outer.point_spread_mm, whole)
        profiles.append(replace(whole, radius_mm=np.sqrt(area / np.pi)))
    return replace(outer, profiles=tuple(profiles))


def vein_radius(whole: LumenProfile, branch: VesselBranch) -> NDArray[np.float64]:
    """The radius (n,) in mm of a vein's wall, clot or not."""
    step_mm = max(float(np.median(np.diff(whole.arc_mm))), 1e-6)
    seen = np.where(branch.is_gap, 0.0, whole.radius_mm)
    size = 2 * round(HEALTHY_MM / step_mm) + 1
    return np.asarray(percentile_filter(seen, HEALTHY_PERCENTILE, size=size, mode="nearest"))


def _open_area(
    share: NDArray[np.float64],
    steps: NDArray[np.float64],
    wall: NDArray[np.float64],
    blur_mm: float,
    whole: LumenProfile,
) -> NDArray[np.float64]:
    """The open area (n,) in square mm of sections (n, m, m): the sum of what is brighter than the clot."""
    step_mm = max(float(np.median(np.diff(whole.arc_mm))), 1e-6)
    quiet = gaussian_filter1d(share, SMOOTHING_MM / step_mm, axis=0, mode="nearest")
    distance = np.hypot(steps[:, None], steps[None, :])[None]
    inside = distance <= (wall + RIM_BLURS * blur_mm)[:, None, None]
    core = distance <= 0.8 * wall[:, None, None]
    dark = np.nanpercentile(np.where(core, quiet, np.nan).reshape(len(share), -1), DARK_PERCENTILE, axis=1)
    floor = np.where(dark < DARK_SHARE, np.clip(dark, 0.0, None), 0.0)[:, None, None]
    open_share = np.clip((quiet - floor) / (1 - floor), 0.0, None)
    area = np.where(inside, np.minimum(open_share, 1.2), 0.0).sum(axis=(1, 2)) * (steps[1] - steps[0]) ** 2
    return np.where(area < CLOSED_AREA * np.pi * wall**2, 0.0, area)
