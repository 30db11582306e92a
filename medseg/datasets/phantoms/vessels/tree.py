"""Vascular trees by rule: tortuous tapering branches that fork by Murray's law, in four likenesses.

Parent radius cubed is the sum of the children's cubed; the angles of a fork are those of least work for these radii
(Murray 1926): cos a1 = (r0^4 + r1^4 - r2^4) / (2 r0^2 r1^2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from scipy.interpolate import make_interp_spline

from medseg.datasets.phantoms.shapes import Points
from medseg.datasets.phantoms.tubes import Tube, resampled

Likeness = Literal["coronary", "carotid", "cerebral", "peripheral", "venous"]
Range = tuple[float, float]

KNOT_MM = 7.0
"""Distance between the knots that a branch bends at."""


@dataclass(frozen=True)
class TreeStyle:
    """What a kind of tree looks like: radii and lengths in mm, bends in degrees a knot.

    `share` is the smaller child's share of the parent's radius cubed; `taper` the share of its radius that a branch
    loses from its start to its end.
    """

    roots: int
    root_radius_mm: Range
    least_radius_mm: float
    length_mm: Range
    bend_deg: float
    share: Range
    taper: Range
    most_branches: int
    gap_mm: float


STYLES: dict[Likeness, TreeStyle] = {
    "coronary": TreeStyle(2, (2.0, 2.5), 1.05, (20, 42), 14, (0.12, 0.5), (0.03, 0.15), 13, 1.5),
    "carotid": TreeStyle(1, (2.9, 3.5), 1.3, (32, 55), 8, (0.3, 0.5), (0.0, 0.1), 7, 2.0),
    "cerebral": TreeStyle(2, (1.6, 2.1), 1.05, (16, 34), 20, (0.2, 0.5), (0.0, 0.12), 13, 1.2),
    "peripheral": TreeStyle(1, (3.0, 4.0), 1.3, (40, 70), 5, (0.15, 0.45), (0.02, 0.12), 9, 2.0),
}

VENOUS = TreeStyle(1, (4.0, 5.5), 2.2, (34, 60), 6, (0.25, 0.5), (0.0, 0.1), 7, 2.5)
"""Wide veins that join to one, as in a leg or before the liver."""


def style_of(likeness: Likeness) -> TreeStyle:
    """The style of arteries of a likeness, or of veins."""
    return VENOUS if likeness == "venous" else STYLES[likeness]


@dataclass(frozen=True)
class GrownBranch:
    """A healthy branch; `parent` is the index of the branch it leaves, None for a root."""

    parent: int | None
    tube: Tube


def grow_tree(style: TreeStyle, extent_mm: Points, generator: Generator) -> list[GrownBranch]:
    """The healthy branches of a tree inside a box of this extent around the origin; parents before children."""
    half = np.asarray(extent_mm) / 2 - 4.0
    grown: list[GrownBranch] = []
    front: list[int] = []
    for root in range(style.roots):
        for _ in range(40):
            place = (root - (style.roots - 1) / 2) * half[0] * 0.9
            start = np.array([place, 0.0, 5.0 - half[2]]) + generator.uniform(-0.25, 0.25, 3) * (half[0], half[1], 0.0)
            radius = float(generator.uniform(*style.root_radius_mm))
            tube = _walk(start, np.array([0.0, 0.0, 1.0]), radius, style, half, generator)
            if tube is not None and _is_clear(tube, None, grown, style.gap_mm):
                front.append(len(grown))
                grown.append(GrownBranch(None, tube))
                break
    while front and len(grown) < style.most_branches:
        parent = front.pop(0)
        front += _fork(parent, grown, style, half, generator)
    return grown


def _fork(parent: int, grown: list[GrownBranch], style: TreeStyle, half: Points, generator: Generator) -> list[int]:
    """Grow the two children of a branch where they fit; gives the indices of those that did."""
    tube = grown[parent].tube
    end_radius = float(tube.radii_mm[-1])
    share = float(generator.uniform(*style.share))
    small, large = end_radius * share ** (1 / 3), end_radius * (1 - share) ** (1 / 3)
    if large < style.least_radius_mm:
        return []
    onward = tube.tangents[-1]
    side = _across(onward, generator)
    children: list[int] = []
    for radius, other, away in ((large, small, side), (small, large, -side)):
        if radius < style.least_radius_mm:
            continue
        angle = _fork_angle(end_radius, radius, other)
        for _ in range(25):
            turned = away + 0.35 * generator.normal(size=3)
            turned -= (turned @ onward) * onward
            angled = angle * float(generator.uniform(0.8, 1.4)) + np.deg2rad(8)
            heading = np.cos(angled) * onward + np.sin(angled) * turned / np.linalg.norm(turned)
            child = _walk(tube.points_mm[-1], heading, radius, style, half, generator)
            if child is not None and _is_clear(child, parent, grown, style.gap_mm):
                children.append(len(grown))
                grown.append(GrownBranch(parent, child))
                break
    return children


def _walk(
    start: Points, heading: Points, radius_mm: float, style: TreeStyle, half: Points, generator: Generator
) -> Tube | None:
    """A smooth tortuous branch from a point; None where it cannot stay in the box."""
    length = float(generator.uniform(*style.length_mm))
    knots = [start]
    direction = heading / np.linalg.norm(heading)
    for _ in range(max(3, round(length / KNOT_MM))):
        knots.append(knots[-1] + KNOT_MM * direction)
        turned = direction + np.tan(np.deg2rad(style.bend_deg)) * generator.normal(size=3)
        crowding = np.clip((np.abs(knots[-1]) - (half - 14.0)) / 14.0, 0.0, 1.0)
        turned -= 0.8 * crowding * np.sign(knots[-1])
        direction = turned / np.linalg.norm(turned)
    spline = make_interp_spline(np.arange(len(knots)), np.stack(knots), k=3)
    points = resampled(spline(np.linspace(0, len(knots) - 1, 40 * len(knots))))
    if (np.abs(points) > half - radius_mm).any():
        inside = np.flatnonzero((np.abs(points) > half - radius_mm).any(axis=1))
        points = points[: int(inside[0])]
        if len(points) < 2 or len(points) * 0.5 < 0.6 * style.length_mm[0]:
            return None
    taper = float(generator.uniform(*style.taper))
    return Tube(points, np.linspace(radius_mm, radius_mm * (1 - taper), len(points)))


def _is_clear(tube: Tube, parent: int | None, grown: list[GrownBranch], gap_mm: float) -> bool:
    """Whether a branch keeps `gap_mm` from all others; from those of its own fork, once it has left it."""
    for at, other in enumerate(grown):
        place, distance = other.tube.nearest(tube.points_mm)
        room = distance - other.tube.radius_at(place) - tube.radii_mm
        if parent is not None and (at == parent or other.parent == parent):
            room = room[tube.arc_mm > 3.5 * grown[parent].tube.radii_mm[-1] + gap_mm]
        if len(room) and room.min() < gap_mm:
            return False
    return True


def _fork_angle(parent_mm: float, radius_mm: float, sibling_mm: float) -> float:
    """The angle in radians between a parent's course and its child's that costs least work."""
    cosine = (parent_mm**4 + radius_mm**4 - sibling_mm**4) / (2 * parent_mm**2 * radius_mm**2)
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _across(direction: Points, generator: Generator) -> Points:
    """A random unit vector at right angles to a direction."""
    across = np.cross(direction, generator.normal(size=3))
    return np.asarray(across / np.linalg.norm(across))
