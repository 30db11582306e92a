"""Shapefinders (Sahni, Sathyaprakash and Shandarin 1998): whether a structure is a ball, a tube or a plate.

They come from three numbers of a body: its volume V, its surface S, and its mean breadth b, the distance between two
parallel planes that just hold it, averaged over all directions (for a body that is not convex, counted by the Euler
number of plane sections). These are counted on voxels by the formulas of Crofton along thirteen directions, weighted
by the part of the sphere that each stands for, as by Legland, Kieu and Devaux (2007): anisotropic voxels are what
they are in mm. One pass over the mask counts how often each of the 256 patterns of 2 x 2 x 2 voxels occurs; the rest
is arithmetic on that table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Spacing

SPHERE_POINTS = 20_000
"""Points spread over the sphere to weigh directions by: enough for weights that are right to about a percent."""

Offset = tuple[int, int, int]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shapefinders:
    """Three lengths in mm, each the radius for a ball, and the volume they belong to.

    A long tube of radius r and length l has the thickness 1.5 r, the breadth 2 r and the length l / 4; a thin disc of
    radius a has a thickness near 0, the breadth 0.64 a and the length 0.79 a.
    """

    thickness_mm: float
    breadth_mm: float
    length_mm: float
    volume_mm3: float

    @property
    def filamentarity(self) -> float:
        """(length - breadth) / (length + breadth): 0 for a ball, 0.1 for a disc, towards 1 for a long tube."""
        return (self.length_mm - self.breadth_mm) / (self.length_mm + self.breadth_mm)

    @property
    def planarity(self) -> float:
        """(breadth - thickness) / (breadth + thickness): 0 for a ball, 0.14 for a tube, towards 1 for a thin plate."""
        return (self.breadth_mm - self.thickness_mm) / (self.breadth_mm + self.thickness_mm)

    @property
    def tube_radius_mm(self) -> float:
        """The radius, were it a long tube."""
        return self.thickness_mm / 1.5


def shapefinders(mask: NDArray[np.bool_], spacing_mm: Spacing) -> Shapefinders | None:
    """The shapefinders of one connected structure in a mask (i, j, k); None where it is empty or knows no breadth.

    Lengths of several structures would add up: measure one at a time. They are right to about a tenth, on voxels that
    are three times as thick as wide to a fifth; what is thinner than a voxel is thick falls into pieces, and a plate
    of that kind looks like tubes.
    """
    counts = _Counts(pattern_counts(mask))
    if not counts.of([(0, 0, 0)]):
        return None
    voxel_mm3 = math.prod(spacing_mm)
    volume = counts.of([(0, 0, 0)]) * voxel_mm3
    surface = 4 * sum(
        weight * voxel_mm3 / float(np.linalg.norm(_in_mm(step, spacing_mm))) * counts.chords(step)
        for step, weight in _weighted_steps(spacing_mm)
    )
    breadth = sum(
        weight * voxel_mm3 / float(np.linalg.norm(_normal(plane, spacing_mm))) * counts.euler_number(plane)
        for plane, weight in _weighted_planes(spacing_mm)
    )
    if breadth <= 0:  # more holes than pieces: a sponge
        return None
    integral_mean_curvature = 2 * math.pi * breadth
    return Shapefinders(
        thickness_mm=3 * volume / surface,
        breadth_mm=surface / integral_mean_curvature,
        length_mm=integral_mean_curvature / (4 * math.pi),
        volume_mm3=volume,
    )


def pattern_counts(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each pattern of 2 x 2 x 2 voxels occurs (256), the mask (i, j, k) continued by background.

    Bit 4 a + 2 b + c of a pattern's number stands for its voxel (a, b, c). Goes slab by slab, so that memory stays low.
    """
    counts = np.zeros(256, dtype=np.int64)
    below = _slab(np.zeros(mask.shape[1:], dtype=bool))
    for index in range(mask.shape[0] + 1):
        above = _slab(mask[index] if index < mask.shape[0] else np.zeros(mask.shape[1:], dtype=bool))
        counts += np.bincount((below | (above << 4)).ravel(), minlength=256)
        below = above
    return counts


def _slab(plane: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The patterns (0 to 15) of 2 x 2 voxels of a plane (j, k), continued by background."""
    padded = np.zeros((plane.shape[0] + 2, plane.shape[1] + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = plane
    below, above = (rows[:, :-1] | (rows[:, 1:] << 1) for rows in (padded[:-1], padded[1:]))
    return np.asarray(below | (above << 2), dtype=np.uint8)


class _Counts:
    """Answers of the table of patterns."""

    def __init__(self, patterns: NDArray[np.int64]) -> None:
        self._patterns = patterns

    def of(self, offsets: Iterable[Offset]) -> int:
        """At how many places all voxels at these offsets, each 0 or 1 along an axis, are set."""
        wanted = sum(1 << (4 * a + 2 * b + c) for a, b, c in set(offsets))
        has_all = (np.arange(256) & wanted) == wanted
        return int(self._patterns[has_all].sum())

    def chords(self, step: Offset) -> int:
        """Pieces that the lines along a step are cut into by the structure."""
        return self.of([(0, 0, 0)]) - self.of(_placed([(0, 0, 0), step]))

    def euler_number(self, plane: tuple[Offset, Offset]) -> int:
        """Pieces less holes of all sections along planes that the two steps span, summed.

        Voxels of a section that touch by a corner are connected, so that a thin oblique sheet stays whole.
        """
        one, two = plane
        corner: Offset = (one[0] + two[0], one[1] + two[1], one[2] + two[2])
        if max(map(abs, corner)) > 1:  # three steps at 60 degrees: a lattice of triangles
            far: Offset = (two[0] - one[0], two[1] - one[1], two[2] - one[2])
            cells = [[(0, 0, 0), one, two], [(0, 0, 0), two, far]]
            edges = [[(0, 0, 0), step] for step in (one, two, far)]
            cell_count = sum(self.of(_placed(cell)) for cell in cells)
            return self.of([(0, 0, 0)]) - sum(self.of(_placed(edge)) for edge in edges) + cell_count
        square = [(0, 0, 0), one, two, corner]
        edges = [[(0, 0, 0), one], [(0, 0, 0), two], [(0, 0, 0), corner], [one, two]]
        triangles = [list(points) for points in combinations(square, 3)]
        return (
            self.of([(0, 0, 0)])
            - sum(self.of(_placed(edge)) for edge in edges)
            + sum(self.of(_placed(triangle)) for triangle in triangles)
            - self.of(_placed(square))
        )


def _placed(points: Iterable[Offset]) -> list[Offset]:
    """The points moved so that the least index along each axis is 0."""
    array = np.asarray(list(points))
    return [(int(i), int(j), int(k)) for i, j, k in array - array.min(axis=0)]


def _steps() -> list[Offset]:
    """The thirteen directions to a neighbour, one of each pair of opposites."""
    near = (-1, 0, 1)
    return [step for step in product(near, near, near) if step > (0, 0, 0)]


def _planes() -> list[tuple[Offset, Offset]]:
    """Two steps that span each of the thirteen lattice planes through neighbours."""
    axes: list[Offset] = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    planes = list(combinations(axes, 2))
    for (a, one), (b, two) in combinations(enumerate(axes), 2):
        other = axes[3 - a - b]
        for sign in (1, -1):
            diagonal: Offset = (one[0] + sign * two[0], one[1] + sign * two[1], one[2] + sign * two[2])
            planes.append((diagonal, other))
    for j, k in product((1, -1), repeat=2):
        # Normal to (1, j, k): steps that change two indices and leave the sum i + j * index + k * index.
        planes.append(((1, -j, 0), (1, 0, -k)))
    return planes


def _in_mm(step: Offset, spacing_mm: Spacing) -> Vector:
    return np.array([index * length for index, length in zip(step, spacing_mm, strict=True)])


def _normal(plane: tuple[Offset, Offset], spacing_mm: Spacing) -> Vector:
    """Perpendicular to the plane, as long as the area in mm² of its cell."""
    return np.asarray(np.cross(_in_mm(plane[0], spacing_mm), _in_mm(plane[1], spacing_mm)))


@lru_cache(maxsize=64)
def _weighted_steps(spacing_mm: Spacing) -> tuple[tuple[Offset, float], ...]:
    steps = _steps()
    return tuple(zip(steps, _shares([_in_mm(step, spacing_mm) for step in steps]), strict=True))


@lru_cache(maxsize=64)
def _weighted_planes(spacing_mm: Spacing) -> tuple[tuple[tuple[Offset, Offset], float], ...]:
    planes = _planes()
    return tuple(zip(planes, _shares([_normal(plane, spacing_mm) for plane in planes]), strict=True))


def _shares(directions: list[Vector]) -> list[float]:
    """The part of the sphere to which each direction, or its opposite, is the nearest."""
    unit = np.asarray(directions) / np.linalg.norm(directions, axis=1, keepdims=True)
    height = 1 - (2 * np.arange(SPHERE_POINTS) + 1) / SPHERE_POINTS  # a Fibonacci spiral: equal areas
    turn = math.pi * (3 - math.sqrt(5)) * np.arange(SPHERE_POINTS)
    width = np.sqrt(1 - height**2)
    points = np.stack([width * np.cos(turn), width * np.sin(turn), height], axis=1)
    nearest = np.abs(points @ unit.T).argmax(axis=1)
    return [float(share) for share in np.bincount(nearest, minlength=len(unit)) / SPHERE_POINTS]
