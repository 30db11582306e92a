"""Solids given by formulas, and how much of each voxel they fill.

A shape answers with a signed bound of the distance to its surface: negative inside, and never further from zero than
the surface is away. So voxels further off than half their diagonal are settled by their centre alone, and only the
rest are divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry

Points = NDArray[np.float64]
Box = tuple[slice, slice, slice]


class Shape(Protocol):
    """A solid in world RAS+ mm."""

    def signed_bound_mm(self, points: Points) -> NDArray[np.float64]:
        """At most the distance (n,) of points (n, 3) to the surface, negative inside."""
        ...

    def bounds_mm(self) -> tuple[Points, Points] | None:
        """Lower and upper corner of a world box that holds the solid, None where it has no end."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid; the columns of `axes` are the unit directions of its semi-axes.

    A semi-axis of infinity makes it an elliptic cylinder.
    """

    centre_mm: Points
    semi_axes_mm: Points
    axes: Points

    def signed_bound_mm(self, points: Points) -> NDArray[np.float64]:
        """(radius in units of the surface - 1) x shortest semi-axis: exact for a sphere, a bound otherwise."""
        scaled = (points - self.centre_mm) @ (self.axes / self.semi_axes_mm)
        return np.asarray((np.sqrt(np.einsum("nd,nd->n", scaled, scaled)) - 1.0) * self.semi_axes_mm.min())

    def bounds_mm(self) -> tuple[Points, Points] | None:
        if not np.isfinite(self.semi_axes_mm).all():
            return None
        reach = np.linalg.norm(self.axes * self.semi_axes_mm, axis=1)
        return self.centre_mm - reach, self.centre_mm + reach


@dataclass(frozen=True)
class CutEllipsoid:
    """The part of an ellipsoid on the far side of a plane: where `normal` . (p - centre) <= `depth_mm`."""

    whole: Ellipsoid
    normal: Points
    depth_mm: float

    def signed_bound_mm(self, points: Points) -> NDArray[np.float64]:
        beyond = (points - self.whole.centre_mm) @ self.normal - self.depth_mm
        return np.maximum(self.whole.signed_bound_mm(points), beyond)

    def bounds_mm(self) -> tuple[Points, Points] | None:
        return self.whole.bounds_mm()

    @property
    def volume_ml(self) -> float:
        """Volume of a sphere less its cap, stretched: pi abc (2 + 3t - t^3) / 3, t the plane's place, -1 to 1."""
        reach = float(np.linalg.norm((self.whole.axes * self.whole.semi_axes_mm).T @ self.normal))
        t = float(np.clip(self.depth_mm / reach, -1.0, 1.0))
        return float(np.pi * np.prod(self.whole.semi_axes_mm) * (2 + 3 * t - t**3) / 3 / 1000)


def coverage(shape: Shape, geometry: Geometry, parts: int = 3) -> tuple[Box, NDArray[np.float32]]:
    """The fraction 0 to 1 of each voxel that lies in the shape, and the index box it is given for; 0 outside the box.

    Voxels that the surface may cross are divided into `parts` along each axis.
    """
    box = index_box(shape.bounds_mm(), geometry)
    starts = np.array([part.start for part in box])
    size = tuple(part.stop - part.start for part in box)
    if min(size) <= 0:
        return box, np.zeros(tuple(max(0, n) for n in size), dtype=np.float32)
    index = np.indices(size, dtype=np.float64).reshape(3, -1).T + starts
    bound = shape.signed_bound_mm(geometry.world(index))
    filled = (bound < 0).astype(np.float32)
    half_diagonal_mm = 0.5 * float(np.linalg.norm(geometry.affine[:3, :3] @ _longest_diagonal(geometry)))
    open_voxels = np.flatnonzero(np.abs(bound) <= half_diagonal_mm)
    total = np.zeros(len(open_voxels), dtype=np.float32)
    steps = (np.arange(parts) + 0.5) / parts - 0.5
    for step in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T:
        total += shape.signed_bound_mm(geometry.world(index[open_voxels] + step)) < 0
    filled[open_voxels] = total / parts**3
    return box, filled.reshape(size)


def index_box(bounds_mm: tuple[Points, Points] | None, geometry: Geometry) -> Box:
    """The index ranges whose voxels may touch a world box; the whole grid where the box is None."""
    if bounds_mm is None:
        return slice(0, geometry.shape[0]), slice(0, geometry.shape[1]), slice(0, geometry.shape[2])
    lower, upper = bounds_mm
    corners = geometry.index(
        [[x, y, z] for x in (lower[0], upper[0]) for y in (lower[1], upper[1]) for z in (lower[2], upper[2])]
    )
    first = np.floor(corners.min(axis=0)).astype(int)
    last = np.ceil(corners.max(axis=0)).astype(int)
    i, j, k = (
        slice(min(max(0, int(a)), n), max(0, min(n, int(b) + 1)))
        for a, b, n in zip(first, last, geometry.shape, strict=True)
    )
    return i, j, k


def _longest_diagonal(geometry: Geometry) -> NDArray[np.float64]:
    """The corner-to-corner step of a voxel that is longest in mm; they differ where a grid is sheared."""
    corners = np.array([[1, a, b] for a in (-1, 1) for b in (-1, 1)], dtype=np.float64)
    lengths = np.linalg.norm(corners @ geometry.affine[:3, :3].T, axis=1)
    return np.asarray(corners[int(lengths.argmax())])
