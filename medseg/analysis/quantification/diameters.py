"""How long a structure is, in mm: longest axial diameter, its perpendicular, and the longest diameter in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist
from skimage.measure import find_contours

from medseg.core.geometry import Geometry
from medseg.imaging.components import Component

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AxialDiameters:
    """The longest diameter of a structure in an axial slice, and the longest one at right angles to it there, in mm.

    `slice_axis` and `slice_index` name the stored slice; the ends are in world RAS+ mm, to be drawn.
    """

    longest_mm: float
    perpendicular_mm: float
    slice_axis: int
    slice_index: int
    longest_ends_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    perpendicular_ends_mm: tuple[tuple[float, float, float], tuple[float, float, float]]


def axial_axis(geometry: Geometry) -> int:
    """The index axis that runs most nearly from feet to head: the stored slices across it are the axial ones."""
    return next(axis for axis, letter in enumerate(geometry.axis_codes) if letter in "IS")


def axial_diameters(component: Component, geometry: Geometry) -> AxialDiameters:
    """The longest diameter over all axial slices and its perpendicular, as RECIST 1.1 and WHO measure.

    Axial means the stored slices that lie nearest to the patient's axial plane: an obliquely scanned series is measured
    in its own slices, as a radiologist does. Both diameters run between points of the outline, which passes half-way
    between voxels inside and outside; they may cross a hollow. The perpendicular is the longest chord at right angles
    to the longest diameter, not the width of a box.
    """
    axis = axial_axis(geometry)
    in_plane = [other for other in range(3) if other != axis]
    plane = geometry.affine[:3, in_plane]
    # An orthonormal basis of the slice plane turns index steps into mm, for slanted axes too.
    basis, to_mm = np.linalg.qr(plane)
    best: tuple[float, int, list[Points], Points] | None = None
    for number, slice_mask in enumerate(np.moveaxis(component.mask, axis, 0)):
        # A rectangle that is too small cannot hold a longer diameter: most slices are passed over so.
        if not slice_mask.any() or (best is not None and _reach_mm(slice_mask, to_mm) <= best[0]):
            continue
        outlines = [outline @ to_mm.T for outline in _outlines(slice_mask)]
        ends = _farthest_pair(np.concatenate(outlines))
        length = float(np.linalg.norm(ends[1] - ends[0]))
        if best is None or length > best[0] + 1e-9:
            best = (length, number, outlines, ends)
    if best is None:
        raise ValueError("a component holds at least one voxel")
    longest_mm, number, outlines, ends = best
    chord = _longest_chord_across(outlines, (ends[1] - ends[0]) / longest_mm)
    start = np.asarray(component.start, dtype=np.float64)
    start[axis] += number
    origin = geometry.world(start)

    def in_world(pair: Points) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        (ax, ay, az), (bx, by, bz) = (origin + pair @ basis.T).tolist()
        return (ax, ay, az), (bx, by, bz)

    return AxialDiameters(
        longest_mm=longest_mm,
        perpendicular_mm=float(np.linalg.norm(chord[1] - chord[0])),
        slice_axis=axis,
        slice_index=int(start[axis]),
        longest_ends_mm=in_world(ends),
        perpendicular_ends_mm=in_world(chord),
    )


def maximum_diameter_mm(component: Component, geometry: Geometry) -> float:
    """The longest distance in mm between two points of the structure's surface, in any direction.

    The surface passes half-way between voxels inside and outside, as the vertices of a marching-cubes mesh do (IBSI
    L0JK).
    """
    faces = []
    padded = np.pad(component.mask, 1)
    for axis in range(3):
        entering = np.argwhere(np.diff(padded.view(np.int8), axis=axis))
        faces.append(entering + 0.5 * np.eye(3)[axis])
    ends = _farthest_pair(np.concatenate(faces) @ geometry.affine[:3, :3].T)
    return float(np.linalg.norm(ends[1] - ends[0]))


def _reach_mm(slice_mask: NDArray[np.bool_], to_mm: Points) -> float:
    """The diagonal in mm of the parallelogram around a slice's voxels: nothing in it is longer."""
    rows, columns = np.flatnonzero(slice_mask.any(axis=1)), np.flatnonzero(slice_mask.any(axis=0))
    across = (rows[-1] - rows[0] + 1) * to_mm[:, 0]
    along = (columns[-1] - columns[0] + 1) * to_mm[:, 1]
    return float(max(np.linalg.norm(across + along), np.linalg.norm(across - along)))


def _outlines(slice_mask: NDArray[np.bool_]) -> list[Points]:
    """The closed outlines (n, 2) of a slice in index units; each ends where it begins."""
    return [outline - 1 for outline in find_contours(np.pad(slice_mask, 1).astype(np.float32), 0.5)]


def _farthest_pair(points: Points) -> Points:
    """The two points (2, dimensions) that lie farthest apart."""
    corners = points[ConvexHull(points).vertices]
    apart = cdist(corners, corners)
    first, second = np.unravel_index(int(np.argmax(apart)), apart.shape)
    return np.asarray(corners[[first, second]])


def _longest_chord_across(outlines: list[Points], direction: Points) -> Points:
    """The ends (2, 2) of the longest line at right angles to `direction` between two points of the outlines.

    Between two vertices the length of such a line changes evenly, so that the longest one passes through a vertex.
    """
    across = np.array((-direction[1], direction[0]))
    starts = np.concatenate([outline[:-1] for outline in outlines])
    stops = np.concatenate([outline[1:] for outline in outlines])
    t0, t1, s0, s1 = starts @ direction, stops @ direction, starts @ across, stops @ across
    best_length, best_t, best_s = -1.0, 0.0, (0.0, 0.0)
    for t in t0:
        crossed = (np.minimum(t0, t1) <= t) & (np.maximum(t0, t1) >= t)
        run = t1[crossed] - t0[crossed]
        share = np.divide(t - t0[crossed], run, out=np.zeros_like(run), where=run != 0)
        crossings = s0[crossed] + share * (s1[crossed] - s0[crossed])
        low, high = float(crossings.min()), float(crossings.max())
        if high - low > best_length:
            best_length, best_t, best_s = high - low, float(t), (low, high)
    return np.array([best_t * direction + best_s[0] * across, best_t * direction + best_s[1] * across])
