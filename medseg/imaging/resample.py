"""Voxels from one grid onto another, by way of the world: the only resampling in medseg."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.geometry import Geometry, Shape
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume

SLAB_VOXELS = 8_000_000
"""How many voxels of the target are computed at a time where several classes compete: bounds the memory to a few
times this many floats, whatever the size of the scan."""


def resample_volume(volume: Volume, target: Geometry) -> Volume:
    """The image on the target grid, float32, by trilinear interpolation; outside the scan the nearest edge value.

    Where the target is coarser than the scan by more than half a voxel, the image is first blurred to the target's
    resolution, so that fine detail does not alias.
    """
    array = np.asarray(volume.array, dtype=np.float32)
    sigma = _anti_alias_sigma(volume.geometry, target)
    if max(sigma) > 0:
        array = ndimage.gaussian_filter(array, sigma, mode="nearest")
    return Volume(interpolate(array, volume.geometry, target, order=1), target, volume.unit)


def resample_label_map(label_map: LabelMap, target: Geometry) -> LabelMap:
    """The mask on the target grid by nearest neighbour; outside the mask's grid background."""
    array = interpolate(np.asarray(label_map.array), label_map.geometry, target, order=0, mode="grid-constant")
    return LabelMap(array, target, label_map.schema)


def restore_labels(
    scores: NDArray[np.float32], source: Geometry, target: Geometry, values: NDArray[np.unsignedinteger[Any]]
) -> NDArray[np.unsignedinteger[Any]]:
    """The winning label at each voxel of the target, (i, j, k), from class scores (class, i, j, k) on the source grid.

    Scores are interpolated trilinearly, then compared, slab by slab; `values` gives the label of each class. Voxels
    of the target whose centre lies outside the source's voxels get the first value, which is background's.
    """
    result = np.empty(target.shape, dtype=values.dtype)
    same_grid = source.difference(target) is None
    for start, stop in _slabs(target.shape):
        slab = target.cropped((start, 0, 0), (stop - start, target.shape[1], target.shape[2]))
        if same_grid:
            winner = scores[:, start:stop].argmax(axis=0)
        else:
            best = interpolate(scores[0], source, slab, order=1)
            winner = np.zeros(slab.shape, dtype=np.intp)
            for index in range(1, len(scores)):
                candidate = interpolate(scores[index], source, slab, order=1)
                better = candidate > best
                winner[better] = index
                np.maximum(best, candidate, out=best)
            winner[~_inside(source, slab)] = 0
        result[start:stop] = values[winner]
    return result


def interpolate(
    array: NDArray[Any], source: Geometry, target: Geometry, *, order: int, mode: str = "nearest"
) -> NDArray[Any]:
    """The array's values at the target's voxel centres; `order` 0 takes the nearest voxel, 1 is trilinear.

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
    return np.asarray(
        ndimage.affine_transform(
            array, matrix, offset, output_shape=target.shape, order=order, mode=mode, prefilter=False
        )
    )


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


def _inside(source: Geometry, target: Geometry) -> NDArray[np.bool_]:
    """Which voxel centres of the target lie within the source's voxels, (i, j, k)."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    i, j, k = (np.arange(n, dtype=np.float32) for n in target.shape)
    inside = np.ones(target.shape, dtype=np.bool_)
    for axis in range(3):
        x, y, z, origin = to_source[axis]
        place = (x * i)[:, None, None] + (y * j)[None, :, None] + (z * k)[None, None, :] + np.float32(origin)
        inside &= (place >= -0.5 - 1e-4) & (place <= source.shape[axis] - 0.5 + 1e-4)
    return inside


def _slabs(shape: Shape) -> Iterator[tuple[int, int]]:
    thickness = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        yield start, min(start + thickness, shape[0])
