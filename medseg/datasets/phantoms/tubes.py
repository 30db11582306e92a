"""Tubes: smooth centrelines in world mm with a radius along them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medseg.datasets.phantoms.shapes import Points

STEP_MM = 0.5
"""Distance between the points of a centreline; chords of a curve of 10 mm radius then miss it by 0.003 mm."""


@dataclass(frozen=True)
class Tube:
    """A tube of round cross-sections: points (n, 3) in mm along its centreline and the radius (n,) at each.

    Its ends are rounded. A radius of zero is a closed stretch.
    """

    points_mm: Points
    radii_mm: NDArray[np.float64]

    @cached_property
    def arc_mm(self) -> NDArray[np.float64]:
        """Way along the centreline (n,) from its first point."""
        return _arc(self.points_mm)

    @property
    def length_mm(self) -> float:
        return float(self.arc_mm[-1])

    @cached_property
    def tangents(self) -> Points:
        """Unit directions (n, 3) along the centreline."""
        directions = np.gradient(self.points_mm, axis=0)
        return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))

    @cached_property
    def _finder(self) -> cKDTree:
        return cKDTree(self.points_mm)

    def nearest(self, points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For points (n, 3): the place along the centreline and the distance to it, both (n,) in mm."""
        _, at = self._finder.query(points)
        best_place = self.arc_mm[at]
        best = np.linalg.norm(points - self.points_mm[at], axis=1)
        for first in (np.maximum(at - 1, 0), np.minimum(at, len(self.points_mm) - 2)):
            start = self.points_mm[first]
            along = self.points_mm[first + 1] - start
            share = np.einsum("nd,nd->n", points - start, along) / np.einsum("nd,nd->n", along, along)
            share = np.clip(share, 0.0, 1.0)
            distance = np.linalg.norm(points - start - share[:, None] * along, axis=1)
            closer = distance < best
            best = np.where(closer, distance, best)
            place = self.arc_mm[first] + share * (self.arc_mm[first + 1] - self.arc_mm[first])
            best_place = np.where(closer, place, best_place)
        return best_place, best

    def radius_at(self, arc_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """The radius in mm at places along the centreline."""
        return np.interp(arc_mm, self.arc_mm, self.radii_mm)

    def signed_bound_mm(self, points: Points) -> NDArray[np.float64]:
        place, distance = self.nearest(points)
        return distance - self.radius_at(place)

    def bounds_mm(self) -> tuple[Points, Points] | None:
        reach = float(self.radii_mm.max())
        return self.points_mm.min(axis=0) - reach, self.points_mm.max(axis=0) + reach


@dataclass(frozen=True)
class TubeStretch:
    """The part of a tube whose nearest centreline point lies between two places: a cylinder with flat ends.

    By Pappus its volume is the integral of pi r^2 along the way, however the tube bends.
    """

    tube: Tube
    start_mm: float
    stop_mm: float

    def signed_bound_mm(self, points: Points) -> NDArray[np.float64]:
        place, distance = self.tube.nearest(points)
        outside = np.maximum(self.start_mm - place, place - self.stop_mm)
        return np.maximum(distance - self.tube.radius_at(place), outside)

    def bounds_mm(self) -> tuple[Points, Points] | None:
        held = (self.tube.arc_mm >= self.start_mm - STEP_MM) & (self.tube.arc_mm <= self.stop_mm + STEP_MM)
        reach = float(self.tube.radii_mm[held].max())
        points = self.tube.points_mm[held]
        return points.min(axis=0) - reach, points.max(axis=0) + reach

    @property
    def volume_ml(self) -> float:
        places = np.linspace(self.start_mm, self.stop_mm, 201)
        return float(np.trapezoid(np.pi * self.tube.radius_at(places) ** 2, places)) / 1000


def bezier(control_mm: Points, step_mm: float = STEP_MM) -> Points:
    """Points (n, 3) at even steps along the quadratic or cubic curve of three or four control points."""
    t = np.linspace(0.0, 1.0, 400)[:, None]
    if len(control_mm) == 3:
        a, b, c = control_mm
        dense = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    else:
        a, b, c, d = control_mm
        dense = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
    return resampled(dense, step_mm)


def resampled(points_mm: Points, step_mm: float = STEP_MM) -> Points:
    """The polyline with its points at even steps of about `step_mm`, both ends kept."""
    arc = _arc(points_mm)
    places = np.linspace(0.0, float(arc[-1]), max(2, round(float(arc[-1]) / step_mm) + 1))
    return np.stack([np.interp(places, arc, points_mm[:, axis]) for axis in range(3)], axis=1)


def _arc(points_mm: Points) -> NDArray[np.float64]:
    steps = np.linalg.norm(np.diff(points_mm, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])
