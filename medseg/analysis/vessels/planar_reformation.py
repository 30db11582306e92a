"""Pictures along a vessel: straightened, curved, and its cross-sections, as grey values on even grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.vessels.lumen.profiles import LumenProfile
from medseg.analysis.vessels.lumen.sections import Points, frames, grid_samples, sampled
from medseg.analysis.vessels.tree.branches import arc_of, smoothed
from medseg.core.errors import InputError
from medseg.core.volume import Volume


@dataclass(frozen=True)
class Reformation:
    """A picture (n, m) along a vessel: rows step along it, columns across it, both `step_mm` apart.

    `points_mm` (n, 3) is where the vessel's middle lies in the world for each row, `arc_mm` (n,) how far along it is;
    `column` is the column of the middle in each row.
    """

    picture: NDArray[np.float32]
    step_mm: float
    points_mm: Points
    arc_mm: NDArray[np.float64]
    column: NDArray[np.float64]


def straightened(
    volume: Volume, points_mm: Points, *, half_width_mm: float = 10.0, step_mm: float = 0.4, angle_deg: float = 0.0
) -> Reformation:
    """The plane through a vessel's centreline, unrolled: lengths along the vessel are true, and so are widths.

    `angle_deg` turns the plane about the vessel. Raises InputError for a centreline of fewer than two points.
    """
    points = _even_points(points_mm, step_mm)
    first, second = frames(_tangents(points))
    angle = np.deg2rad(angle_deg)
    across = np.cos(angle) * first + np.sin(angle) * second
    offsets = _offsets(half_width_mm, step_mm)
    where = points[:, None, :] + offsets[None, :, None] * across[:, None, :]
    picture = sampled(np.asarray(volume.array, dtype=np.float32), volume.geometry, where)
    middle = np.full(len(points), (len(offsets) - 1) / 2)
    return Reformation(picture, step_mm, points, arc_of(points), middle)


def curved(
    volume: Volume,
    points_mm: Points,
    *,
    direction: tuple[float, float, float] = (1.0, 0.0, 0.0),
    margin_mm: float = 15.0,
    step_mm: float = 0.4,
) -> Reformation:
    """The curved sheet that holds a vessel's centreline and every line along `direction` (in RAS+) through it.

    Each row's middle lies where the centreline does along `direction`, so the vessel keeps its bends in the picture.
    Raises InputError for a centreline of fewer than two points.
    """
    points = _even_points(points_mm, step_mm)
    along = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    place = points @ along
    columns = np.arange(place.min() - margin_mm, place.max() + margin_mm + step_mm / 2, step_mm)
    where = points[:, None, :] + (columns[None, :, None] - place[:, None, None]) * along
    picture = sampled(np.asarray(volume.array, dtype=np.float32), volume.geometry, where)
    return Reformation(picture, step_mm, points, arc_of(points), (place - columns[0]) / step_mm)


def cross_sections(
    volume: Volume,
    lumen: LumenProfile,
    arcs_mm: NDArray[np.float64],
    *,
    half_width_mm: float = 6.0,
    step_mm: float = 0.2,
) -> NDArray[np.float32]:
    """Square pictures (n, m, m) across a vessel at places along its lumen, each centred on it."""
    arc = lumen.arc_mm
    points = np.stack([np.interp(arcs_mm, arc, lumen.points_mm[:, axis]) for axis in range(3)], axis=1)
    tangents = _tangents(lumen.points_mm)
    there = np.stack([np.interp(arcs_mm, arc, tangents[:, axis]) for axis in range(3)], axis=1)
    there /= np.linalg.norm(there, axis=1, keepdims=True)
    image = np.asarray(volume.array, dtype=np.float32)
    return grid_samples(image, volume.geometry, points, frames(there), _offsets(half_width_mm, step_mm))


def _even_points(points_mm: Points, step_mm: float) -> Points:
    if len(points_mm) < 2:
        raise InputError(f"a picture along a vessel needs a centreline of at least two points, got {len(points_mm)}")
    return smoothed(np.asarray(points_mm, dtype=np.float64), step_mm, sigma_mm=0.8)


def _offsets(half_width_mm: float, step_mm: float) -> NDArray[np.float64]:
    count = round(half_width_mm / step_mm)
    return np.asarray(np.arange(-count, count + 1) * step_mm, dtype=np.float64)


def _tangents(points: Points) -> Points:
    steps = np.gradient(points, axis=0)
    return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9))
