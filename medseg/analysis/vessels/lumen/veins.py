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
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    find_objects,
    gaussian_filter1d,
    generate_binary_structure,
    percentile_filter,
)

from medseg.analysis.vessels.lumen.levels import SoftMap, all_levels
from medseg.analysis.vessels.lumen.profiles import LumenProfile, Lumens
from medseg.analysis.vessels.lumen.sections import frames, grid_samples
from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree

SHELL = 0.25
"""The ring around a clot may be thin and faint: above this share it still closes a hole."""

CLOSING_VOXELS = 2
"""Breaks in the ring up to about twice as wide are closed."""

HEALTHY_MM, HEALTHY_PERCENTILE = 15.0, 70.0
"""The vein's own radius is this percentile within so many mm on both sides: clots leave it as it was."""

RIM_BLURS = 2.0
"""How far beyond the wall, in blurs, the open lumen still shines."""

DARK_SHARE, DARK_PERCENTILE = 0.3, 10.0
"""A section of an image whose darkest tenth lies below this share of the lumen's contrast holds a clot of that level; a
map of probabilities gives clots none.
"""

CLOSED_AREA, CLOSED_AREA_IMAGE = 0.01, 0.03
"""An open share of the area below this is none; in an image noise and the clot's uneven level look like more."""

INNER = (0.5, 0.6)
"""The inner half of a section and where its ring begins, in shares of the vein's radius."""

GRID_STEPS = 31
SMOOTHING_MM = 0.7


def with_holes_filled(soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map (i, j, k) in which the holes that clots leave are vein: enclosed in space, or in a slice along any axis."""
    boxes = find_objects((soft > SHELL).astype(np.uint8))
    if not boxes or boxes[0] is None:
        return soft
    box = tuple(
        slice(max(0, part.start - 2), min(size, part.stop + 2)) for part, size in zip(boxes[0], soft.shape, strict=True)
    )
    bright = np.pad(soft[box] > SHELL, 2)
    shell = binary_closing(bright, generate_binary_structure(3, 1), iterations=CLOSING_VOXELS)
    filled = binary_fill_holes(shell)
    plane = generate_binary_structure(2, 1)
    for axis in range(3):
        filled |= binary_fill_holes(shell, structure=np.expand_dims(plane, axis))
    # the vein's own faint rim is no hole: holes lie inside it, and their faint rims with them
    holes = filled & ~bright & binary_erosion(filled, iterations=2)
    holes = binary_dilation(holes, iterations=2) & binary_erosion(filled)
    whole = soft.copy()
    whole[box] = np.where(holes[2:-2, 2:-2, 2:-2], 1.0, soft[box])
    return whole


def open_lumens(tree: VesselTree, outer: Lumens, soft: SoftMap) -> tuple[Lumens, Lumens]:
    """The lumens of veins by their open area, measured on `soft`, and the veins themselves, clots included.

    `outer` are the veins with their holes filled. Where a section is darker inside than at its rim there is a clot, and
    the vein is as wide as beside it.
    """
    levels = all_levels(tree, soft)
    profiles, walls = [], []
    for branch, whole, level in zip(tree.branches, outer.profiles, levels, strict=True):
        wall = vein_radius(whole, branch)
        half = float(wall.max()) + RIM_BLURS * outer.point_spread_mm + min(soft.geometry.spacing_mm)
        steps = np.linspace(-half, half, GRID_STEPS)
        plane = frames(replace(branch, points_mm=whole.points_mm).tangents())
        share = level.share(grid_samples(soft.array, soft.geometry, whole.points_mm, plane, steps))
        step_mm = max(float(np.median(np.diff(whole.arc_mm))), 1e-6)
        quiet = gaussian_filter1d(share, SMOOTHING_MM / step_mm, axis=0, mode="nearest")
        area = _open_area(quiet, steps, wall, outer.point_spread_mm, has_clot_level=soft.is_image)
        profiles.append(replace(whole, radius_mm=np.sqrt(area / np.pi)))
        has_clot = _is_darker_inside(quiet, steps, wall)
        walls.append(replace(whole, radius_mm=np.where(has_clot, np.maximum(wall, whole.radius_mm), whole.radius_mm)))
    return replace(outer, profiles=tuple(profiles)), replace(outer, profiles=tuple(walls))


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
    *,
    has_clot_level: bool,
) -> NDArray[np.float64]:
    """The open area (n,) in square mm of sections (n, m, m): the sum of what is brighter than the clot."""
    distance = np.hypot(steps[:, None], steps[None, :])[None]
    inside = distance <= (wall + RIM_BLURS * blur_mm)[:, None, None]
    if has_clot_level:
        core = np.where(distance <= 0.8 * wall[:, None, None], share, np.nan).reshape(len(share), -1)
        dark = np.nanpercentile(core, DARK_PERCENTILE, axis=1)
        floor = np.where(dark < DARK_SHARE, np.clip(dark, 0.0, None), 0.0)[:, None, None]
        share = (share - floor) / (1 - floor)
    area = np.where(inside, np.clip(share, 0.0, 1.2), 0.0).sum(axis=(1, 2)) * (steps[1] - steps[0]) ** 2
    closed = CLOSED_AREA_IMAGE if has_clot_level else CLOSED_AREA
    return np.where(area < closed * np.pi * wall**2, 0.0, area)


def _is_darker_inside(
    share: NDArray[np.float64], steps: NDArray[np.float64], wall: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which sections (n,) are darker in their inner half than in the ring around it."""
    distance = np.hypot(steps[:, None], steps[None, :])[None] / np.maximum(wall, 1e-6)[:, None, None]
    inner, ring = distance <= INNER[0], (distance > INNER[1]) & (distance <= 1.0)
    means = [
        np.where(part, share, 0.0).sum(axis=(1, 2)) / np.maximum(part.sum(axis=(1, 2)), 1) for part in (inner, ring)
    ]
    return np.asarray(means[0] < means[1])
