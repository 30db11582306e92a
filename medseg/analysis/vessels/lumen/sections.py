"""Oblique cross-sections: planes at right angles to a centreline, sampled on rays and grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from medseg.core.geometry import Geometry

Points = NDArray[np.float64]
Samples = NDArray[np.float32]


def frames(tangents: Points) -> tuple[Points, Points]:
    """Two unit vectors (n, 3) each that span the planes across these directions and turn as little as they can.

    Each is the one before, turned with the tangent (rotation-minimising, by projection).
    """
    first = np.empty_like(tangents)
    helper = np.eye(3)[int(np.argmin(np.abs(tangents[0])))]
    before = helper
    for at, tangent in enumerate(tangents):
        across = before - (before @ tangent) * tangent
        length = float(np.linalg.norm(across))
        if length < 1e-6:  # the curve has turned by a right angle in one step: start the frame anew
            across = np.cross(tangent, np.eye(3)[int(np.argmin(np.abs(tangent)))])
            length = float(np.linalg.norm(across))
        first[at] = before = across / length
    return first, np.cross(tangents, first)


def ray_samples(
    image: NDArray[np.float32],
    geometry: Geometry,
    points_mm: Points,
    plane: tuple[Points, Points],
    radii_mm: NDArray[np.float64],
    rays: int = 24,
) -> Samples:
    """Values (n, rays, m) on rays from each of n points in its plane, at m distances; outside the grid the edge's."""
    angles = np.arange(rays) * (2 * np.pi / rays)
    outward = (
        np.cos(angles)[None, :, None] * plane[0][:, None, :] + np.sin(angles)[None, :, None] * plane[1][:, None, :]
    )
    where = points_mm[:, None, None, :] + outward[:, :, None, :] * radii_mm[None, None, :, None]
    return sampled(image, geometry, where)


def grid_samples(
    image: NDArray[np.float32],
    geometry: Geometry,
    points_mm: Points,
    plane: tuple[Points, Points],
    steps_mm: NDArray[np.float64],
) -> Samples:
    """Values (n, m, m) on a square grid in the plane of each of n points; the first axis runs along plane[0]."""
    where = (
        points_mm[:, None, None, :]
        + steps_mm[None, :, None, None] * plane[0][:, None, None, :]
        + steps_mm[None, None, :, None] * plane[1][:, None, None, :]
    )
    return sampled(image, geometry, where)


def sampled(image: NDArray[np.float32], geometry: Geometry, where_mm: NDArray[np.float64]) -> Samples:
    """The image's values at world positions (..., 3), interpolated linearly; outside the grid the edge's."""
    index = geometry.index(where_mm.reshape(-1, 3)).T
    values = map_coordinates(image, index, order=1, mode="nearest", output=np.float32)
    return np.asarray(values.reshape(where_mm.shape[:-1]), dtype=np.float32)
