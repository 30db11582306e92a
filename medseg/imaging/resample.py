"""Voxels from one grid onto another, by way of the world: the only resampling in medseg.

Images are resampled box by box: what is held beside source and target is of a box's size, whatever the scan's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.geometry import Geometry, Shape
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume

BOX_SIDE = 64
"""Sides, in voxels of the source and of the target, of what is interpolated at a time. A box of this size stays in a
core's cache, and the product by a matrix that interpolates along a side is then faster than any other way."""

LONGEST_MATRIX = 192
"""Sides up to this are interpolated by matrices; the work grows with the side, and above this scipy's is less."""

SPLINE_REACH = 14
"""Voxels beyond which a value changes a cubic spline by less than float32 shows: by 0.27 to that power."""

Box = tuple[slice, slice, slice]


def resample_volume(volume: Volume, target: Geometry, *, order: int = 1, anti_alias: bool = True) -> Volume:
    """The image on the target grid, float32; outside the scan the nearest edge value.

    `order` 1 is trilinear, 3 by cubic splines. Where the target is coarser than the scan by more than half a voxel, the
    image is first blurred to the target's resolution, so that fine detail does not alias, unless that is switched off.
    """
    turned = volume.reoriented(target.axis_codes)
    sigma = _anti_alias_sigma(turned.geometry, target) if anti_alias else (0.0, 0.0, 0.0)
    result = np.empty(target.shape, dtype=np.float32)
    for box in boxes(target.shape, box_shape(turned.geometry, target)):
        result[box] = _resampled(turned, box_geometry(target, box), sigma, order)
    return Volume(result, target, volume.unit)


def resample_label_map(label_map: LabelMap, target: Geometry) -> LabelMap:
    """The mask on the target grid by nearest neighbour; outside the mask's grid background."""
    array = interpolate(np.asarray(label_map.array), label_map.geometry, target, order=0, mode="grid-constant")
    return LabelMap(array, target, label_map.schema)


def interpolate(
    array: NDArray[Any], source: Geometry, target: Geometry, *, order: int, mode: str = "nearest"
) -> NDArray[Any]:
    """The array's values at the target's voxel centres; `order` 0 takes the nearest voxel, 1 is trilinear, 3 cubic.

    `mode` is scipy's rule for points outside: "nearest" repeats the edge, "grid-constant" gives 0.
    """
    to_source = np.linalg.inv(source.affine) @ target.affine
    matrix, offset = to_source[:3, :3], to_source[:3, 3]
    off_axis = matrix - np.diag(np.diag(matrix))
    farthest_index = max(target.shape)
    if np.abs(off_axis).max() * farthest_index < 1e-3:
        if np.allclose(np.diag(matrix), 1, atol=1e-6) and np.allclose(offset, np.round(offset), atol=1e-4):
            shifted = _shifted(array, np.round(offset).astype(int), target.shape, mode)
            if shifted is not None:
                return shifted
        matrix = np.diag(matrix)  # one factor an axis: scipy's fast path
        is_small = max(*array.shape, *target.shape) <= LONGEST_MATRIX
        if is_small and order == 1 and mode == "nearest" and array.dtype == np.float32:
            return _linear_along_axes(array, matrix, offset, target.shape)
    return np.asarray(
        ndimage.affine_transform(
            array, matrix, offset, output_shape=target.shape, order=order, mode=mode, prefilter=order > 1
        )
    )


def boxes(shape: Shape, sides: Shape) -> Iterator[Box]:
    """The boxes of these sides (the last ones smaller) that an array of this shape falls into."""
    for i, j, k in product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))):
        yield (
            slice(i, min(i + sides[0], shape[0])),
            slice(j, min(j + sides[1], shape[1])),
            slice(k, min(k + sides[2], shape[2])),
        )


def box_geometry(geometry: Geometry, box: Box) -> Geometry:
    """The grid of a box of a grid."""
    i, j, k = box
    return geometry.cropped((i.start, j.start, k.start), (i.stop - i.start, j.stop - j.start, k.stop - k.start))


def box_shape(source: Geometry, target: Geometry) -> Shape:
    """Sides of a box of the target that spans about `BOX_SIDE` voxels of target or source, whichever is finer."""
    steps = np.abs(np.linalg.inv(source.affine)[:3, :3] @ target.affine[:3, :3]).max(axis=0)
    i, j, k = (max(1, int(BOX_SIDE / max(1.0, step))) for step in steps)
    return i, j, k


def box_in_source(source: Geometry, target: Geometry, margin: Shape = (0, 0, 0)) -> Box:
    """The voxels of the source between which a target grid's centres are interpolated, and a margin; never empty."""
    corners = source.index(target.corners_mm())
    last = np.asarray(source.shape) - 1
    # A hair's breadth beyond a voxel's centre is the centre: grids that agree do not ask for one voxel more.
    low = np.clip(np.floor(corners.min(axis=0) + 1e-6).astype(int), 0, last)
    high = np.clip(np.ceil(corners.max(axis=0) - 1e-6).astype(int), 0, last)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, last)
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return i, j, k


def _resampled(volume: Volume, target: Geometry, sigma: tuple[float, ...], order: int) -> NDArray[np.float32]:
    """The image on a small grid, blurred by `sigma` voxels of its own along each axis."""
    # scipy's Gaussian reaches 4 sigma; within that margin of its border the box would be blurred by what it lacks.
    i, j, k = (int(4 * width + 0.5) + (SPLINE_REACH if order > 1 else 0) for width in sigma)
    box = box_in_source(volume.geometry, target, (i, j, k))
    array = np.ascontiguousarray(volume.array[box], dtype=np.float32)
    if max(sigma) > 0:
        array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    return interpolate(array, box_geometry(volume.geometry, box), target, order=order)


def _linear_along_axes(
    array: NDArray[np.float32], steps: NDArray[np.float64], offset: NDArray[np.float64], shape: Shape
) -> NDArray[np.float32]:
    """Trilinear interpolation where axes run alike: along each axis the product by a matrix of two entries a row."""
    i, j, k = (
        _linear_matrix(have, want, step, begin)
        for have, want, step, begin in zip(array.shape, shape, steps, offset, strict=True)
    )
    result = j @ (array @ k.T)
    return np.asarray((i @ result.reshape(len(result), -1)).reshape(shape))


def _linear_matrix(have: int, want: int, step: float, begin: float) -> NDArray[np.float32]:
    """(want, have): what each of `have` values counts for at the places begin, begin + step, ...; the edge repeats."""
    place = np.clip(begin + step * np.arange(want), 0, have - 1)
    below = np.minimum(place.astype(int), max(0, have - 2))
    above = np.minimum(below + 1, have - 1)
    matrix = np.zeros((want, have), dtype=np.float32)
    rows = np.arange(want)
    matrix[rows, below] = 1 - (place - below)
    matrix[rows, above] += place - below
    return matrix


def _shifted(array: NDArray[Any], offset: NDArray[np.int_], shape: Shape, mode: str) -> NDArray[Any] | None:
    """A copy of the target's box where the grids agree voxel for voxel; None where it reaches outside the array."""
    stops = offset + np.asarray(shape)
    if mode == "nearest" and ((offset < 0).any() or (stops > array.shape).any()):
        return None
    lower, upper = np.maximum(offset, 0), np.minimum(stops, array.shape)
    result = np.zeros(shape, dtype=array.dtype)
    if (upper > lower).all():
        there = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
        here = tuple(slice(a - o, b - o) for a, b, o in zip(lower, upper, offset, strict=True))
        result[here] = array[there]
    return result


def _anti_alias_sigma(source: Geometry, target: Geometry) -> tuple[float, ...]:
    """Gaussian width in source voxels along i, j, k that removes what the target cannot hold; 0 where it can."""
    steps = np.abs(np.linalg.inv(source.affine)[:3, :3] @ target.affine[:3, :3]).max(axis=1)
    return tuple(float((step - 1) / 2) if step > 1.5 else 0.0 for step in steps)
