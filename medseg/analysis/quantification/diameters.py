"""How long a structure is, in mm: longest axial diameter, its perpendicular, and the longest diameter in space.

A mask says which voxel centres lie inside. The distance between its two outermost centres falls short of the structure
by up to a voxel at each end, and by less the rounder the ends are, since some direction always fits well: over made
ellipsoids by half a voxel in all. So a longest diameter here is the distance between two voxel centres plus half a step
of the grid along that line (a step along a slanted line is as long as the lattice allows there, so that thick slices
lengthen only what runs across them). The tests hold this to half a voxel. A mesh half-way between voxels inside and
outside, as pyradiomics measures, reads nearly a whole voxel long on round shapes, and on 5 mm slices 4 mm.

A perpendicular cannot choose its direction, and a single line across voxels is off by up to a voxel. So its length is
read from many lines side by side: the mean over a band, corrected for how the width falls off within the band by the
mean over a band of twice the breadth (Richardson's extrapolation). The tests hold this to half a voxel too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from medseg.core.geometry import Geometry
from medseg.imaging.regions.components import Component

Points = NDArray[np.float64]
Ends = tuple[tuple[float, float, float], tuple[float, float, float]]

_CHOSEN_DIRECTION_STEPS = 0.5
"""What is added to the distance between two voxel centres; also what two longest diameters cannot be told apart by."""

_PIECES = 5
"""Into how many pieces a voxel's side is cut where lines side by side are laid through voxels."""

_BAND_STEPS, _BAND_SHARE = 10, 0.4
"""The band that a perpendicular is read from: at most ten steps of the grid, and two fifths of the structure."""

_WIDEST_OF_MANY_STEPS = 0.07
"""By how much the widest of many bands is too wide, over made ellipsoids, since chance favours it."""

_POINTED_STEPS = 1.0
"""A band may say this much less than the widest single line; where a shape is pointed it would say less still."""


@dataclass(frozen=True, slots=True)
class AxialDiameters:
    """The longest diameter of a structure in an axial slice, and the longest one at right angles to it there, in mm.

    `slice_axis` and `slice_index` name the stored slice; the ends are in world RAS+ mm, to be drawn.
    """

    longest_mm: float
    perpendicular_mm: float
    slice_axis: int
    slice_index: int
    longest_ends_mm: Ends
    perpendicular_ends_mm: Ends


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A diameter: its ends (2, dimensions) in index units, and its length in mm with the half step added."""

    ends: Points
    length_mm: float


def axial_axis(geometry: Geometry) -> int:
    """The index axis that runs most nearly from feet to head: the stored slices across it are the axial ones."""
    return next(axis for axis, letter in enumerate(geometry.axis_codes) if letter in "IS")


def axial_diameters(component: Component, geometry: Geometry) -> AxialDiameters:
    """The longest diameter over all axial slices and its perpendicular, as RECIST 1.1 and WHO measure.

    Axial means the stored slices that lie nearest to the patient's axial plane: an obliquely scanned series is measured
    in its own slices, as a radiologist does. Both lines run between points of the outline and may cross a hollow. The
    perpendicular is the longest chord at right angles to the longest diameter, not the width of a box. Of slices whose
    longest diameters the voxels cannot tell apart, the one with the largest area counts.
    """
    axis = axial_axis(geometry)
    plane_mm = geometry.affine[:3, [other for other in range(3) if other != axis]]
    slices = np.moveaxis(component.mask, axis, 0)
    best_number, best = _widest_slice(slices, plane_mm)
    chord = _longest_chord_across(slices[best_number], best, plane_mm)
    corner = np.asarray(component.start, dtype=np.float64)
    corner[axis] += best_number
    return AxialDiameters(
        longest_mm=best.length_mm,
        perpendicular_mm=chord.length_mm,
        slice_axis=axis,
        slice_index=int(corner[axis]),
        longest_ends_mm=_in_world(best, plane_mm, geometry.world(corner)),
        perpendicular_ends_mm=_in_world(chord, plane_mm, geometry.world(corner)),
    )


def maximum_diameter_mm(component: Component, geometry: Geometry) -> float:
    """The longest diameter in mm of the structure in any direction; never less than its longest axial diameter."""
    axis = int(np.argmax(component.mask.shape))
    lines = np.moveaxis(component.mask, axis, 2)
    columns = np.argwhere(lines.any(axis=2))
    occupied = lines[tuple(columns.T)]
    last = occupied.shape[1] - 1
    ends = np.concatenate(
        [
            np.column_stack((columns, occupied.argmax(axis=1))),
            np.column_stack((columns, last - occupied[:, ::-1].argmax(axis=1))),
        ]
    )
    axes_mm = geometry.affine[:3, [*(other for other in range(3) if other != axis), axis]]
    return _longest_line(ends.astype(np.float64), axes_mm).length_mm


def _longest_line(points: Points, axes_mm: Points) -> _Line:
    """The longest line between two of the points (n, dimensions) in index units."""
    corners = _extreme_points(points)
    steps = cdist(corners, corners)
    lengths_mm = cdist(corners @ axes_mm.T, corners @ axes_mm.T)
    lengths_mm += np.divide(_CHOSEN_DIRECTION_STEPS * lengths_mm, steps, out=np.zeros_like(steps), where=steps > 0)
    first, second = np.unravel_index(int(np.argmax(lengths_mm)), lengths_mm.shape)
    if first == second:
        # A lone voxel is as long as its longest side.
        side = int(np.argmax(np.linalg.norm(axes_mm, axis=0)))
        half = 0.5 * np.eye(points.shape[1])[side]
        return _Line(np.stack((corners[0] - half, corners[0] + half)), float(np.linalg.norm(axes_mm[:, side])))
    return _lengthened(corners[[first, second]], _CHOSEN_DIRECTION_STEPS, axes_mm)


def _lengthened(ends: Points, by_steps: float, axes_mm: Points) -> _Line:
    """A line with half of `by_steps` grid steps added at each end along itself."""
    run = ends[1] - ends[0]
    half = run / np.linalg.norm(run) * by_steps / 2
    longer = np.stack((ends[0] - half, ends[1] + half))
    return _Line(longer, float(np.linalg.norm(axes_mm @ (longer[1] - longer[0]))))


def _extreme_points(points: Points) -> Points:
    """The corners of the points' convex hull, also where all lie on one line or in one plane."""
    centred = points - points[0]
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    rank = int((sizes > 1e-6).sum())
    if rank == 0:
        return points[:1]
    flat = centred @ directions[:rank].T
    if rank == 1:
        return points[[int(flat.argmin()), int(flat.argmax())]]
    return np.asarray(points[ConvexHull(flat).vertices])


def _row_ends(slice_mask: NDArray[np.bool_]) -> Points:
    """The first and last voxel (n, 2) of each row of a slice: the longest line runs between two of them."""
    rows = np.flatnonzero(slice_mask.any(axis=1))
    first = slice_mask[rows].argmax(axis=1)
    last = slice_mask.shape[1] - 1 - slice_mask[rows, ::-1].argmax(axis=1)
    return np.concatenate((np.column_stack((rows, first)), np.column_stack((rows, last)))).astype(np.float64)


def _reach_mm(slice_mask: NDArray[np.bool_], plane_mm: Points) -> float:
    """The longer diagonal in mm of the parallelogram around a slice's voxels: nothing in it is longer."""
    rows, columns = np.flatnonzero(slice_mask.any(axis=1)), np.flatnonzero(slice_mask.any(axis=0))
    down = (rows[-1] - rows[0] + 1) * plane_mm[:, 0]
    along = (columns[-1] - columns[0] + 1) * plane_mm[:, 1]
    return float(max(np.linalg.norm(down + along), np.linalg.norm(down - along)))


def _widest_slice(slices: NDArray[np.bool_], plane_mm: Points) -> tuple[int, _Line]:
    """The number of the slice with the longest line and that line; of slices that tie the one of the largest area."""
    slack_mm = _CHOSEN_DIRECTION_STEPS * float(np.linalg.norm(plane_mm, axis=0).max())
    lines: dict[int, _Line] = {}
    longest_mm = 0.0
    for number, slice_mask in enumerate(slices):
        # A slice whose voxels' box has a shorter diagonal cannot hold a longer diameter: most are passed over so.
        if slice_mask.any() and _reach_mm(slice_mask, plane_mm) >= longest_mm - slack_mm:
            lines[number] = _longest_line(_row_ends(slice_mask), plane_mm)
            longest_mm = max(longest_mm, lines[number].length_mm)
    if not lines:
        raise ValueError("a component holds at least one voxel")
    alike = [number for number, line in lines.items() if line.length_mm >= longest_mm - slack_mm]
    chosen = max(alike, key=lambda number: (np.count_nonzero(slices[number]), lines[number].length_mm))
    return chosen, lines[chosen]


def _longest_chord_across(slice_mask: NDArray[np.bool_], line: _Line, plane_mm: Points) -> _Line:
    """The longest line at right angles to another between two points of a slice's outline."""
    # In an orthonormal basis of the slice plane right angles are right angles, for slanted grid axes too.
    _, to_mm = np.linalg.qr(plane_mm)
    run = to_mm @ (line.ends[1] - line.ends[0])
    direction = run / np.linalg.norm(run)
    across = np.array((-direction[1], direction[0]))
    along_mm, step_mm = (1 / float(np.linalg.norm(np.linalg.solve(to_mm, to))) for to in (direction, across))
    apart_mm = along_mm / _PIECES
    low, high, first_mm = _reach_of_lines(_pieces(slice_mask) @ to_mm.T, direction, across, apart_mm)
    widths = high - low + step_mm / _PIECES
    band = round(min(_BAND_STEPS * _PIECES, max(_PIECES, _BAND_SHARE * len(widths))))
    means = _extrapolated_means(widths, band)
    widest = int(means.argmax())
    single_mm = float(widths.max()) - _POINTED_STEPS * step_mm
    # A structure one voxel thin is one voxel wide, and no perpendicular is longer than the longest diameter.
    length_mm = max(float(means[widest]) - _WIDEST_OF_MANY_STEPS * step_mm, single_mm, step_mm)
    length_mm = min(length_mm, line.length_mm)
    at = widest + (len(widths) - len(means)) // 2
    middle = (first_mm + (at + 0.5) * apart_mm) * direction + (low[at] + high[at]) / 2 * across
    ends = np.stack((middle - across * length_mm / 2, middle + across * length_mm / 2))
    return _Line(np.linalg.solve(to_mm, ends.T).T, length_mm)


def _pieces(slice_mask: NDArray[np.bool_]) -> Points:
    """The middles (n, 2), in index units, of the pieces that a slice's voxels are cut into."""
    pieces = (np.arange(_PIECES) + 0.5) / _PIECES - 0.5
    offsets = np.stack(np.meshgrid(pieces, pieces, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray((np.argwhere(slice_mask)[:, None, :] + offsets).reshape(-1, 2), dtype=np.float64)


def _reach_of_lines(points: Points, direction: Points, across: Points, apart_mm: float) -> tuple[Points, Points, float]:
    """How far down and up the points reach on each of many lines side by side, and where the first line begins.

    The lines run along `across`, `apart_mm` apart in `direction`. A line without a point reaches as far as its
    neighbour.
    """
    place, height = points @ direction, points @ across
    # Where lines run along the grid, pieces lie in the middle of their line, not on its edge.
    first_mm = float(place.min()) - apart_mm / 2
    number = np.floor((place - first_mm) / apart_mm).astype(int)
    low, high = np.full(number.max() + 1, np.inf), np.full(number.max() + 1, -np.inf)
    np.minimum.at(low, number, height)
    np.maximum.at(high, number, height)
    filled = np.maximum.accumulate(np.where(np.isfinite(low), np.arange(len(low)), 0))
    return low[filled], high[filled], first_mm


def _extrapolated_means(widths: Points, band: int) -> Points:
    """Means over bands, with what the curve falls off within a band put back; fewer than there are widths.

    The mean over a band of breadth h falls short by a twelfth of the curvature times h²; over 2 h by four times that.
    """

    def means(breadth: int) -> Points:
        return np.convolve(widths, np.full(breadth, 1 / breadth), "valid")

    if 2 * band > len(widths):
        return means(min(band, len(widths)))
    broad = means(2 * band)
    narrow = means(band)[band // 2 : band // 2 + len(broad)]
    return np.asarray(narrow + (narrow - broad) / 3)


def _in_world(line: _Line, plane_mm: Points, origin_mm: Points) -> Ends:
    (ax, ay, az), (bx, by, bz) = (origin_mm + line.ends @ plane_mm.T).tolist()
    return (ax, ay, az), (bx, by, bz)
