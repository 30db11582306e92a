"""How much a place looks like a bright tube, at several widths: multi-scale vesselness after Frangi and Sato."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medseg.core.volume import Volume

SIGMAS_MM = (0.8, 1.4, 2.4)
"""The tubes looked for are about as wide as these standard deviations."""

BLOB, PLATE = 0.5, 0.5
"""How strongly shapes that are blobs or plates count against a tube (beta and alpha of Frangi 1998)."""

CONTRAST_SHARE = 0.15
"""Second derivatives below this share of the contrast are noise."""

TRUNCATE = 3.0
AT_ONCE = 200_000
"""Voxels whose derivatives are held in memory together."""


def vesselness(volume: Volume, contrast: float, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The vesselness (i, j, k), 0 to 1, of tubes that stand out from their surroundings by about `contrast`.

    It is reckoned only `where` it is asked for (i, j, k), and 0 elsewhere: the smoothing is cheap, the shapes are not.
    The measure is Frangi's (1998) for bright lines, the greatest of all widths.
    """
    smooth = np.asarray(volume.array, dtype=np.float32)
    spacing = volume.geometry.spacing_mm
    voxels = np.flatnonzero(where)
    best = np.zeros(len(voxels), dtype=np.float32)
    done_mm = 0.0
    for sigma_mm in SIGMAS_MM:
        # a Gaussian of a Gaussian: from one width to the next only the difference is smoothed
        more_mm = float(np.sqrt(sigma_mm**2 - done_mm**2))
        for axis in range(3):
            smooth = gaussian_filter1d(smooth, more_mm / spacing[axis], axis=axis, mode="nearest", truncate=TRUNCATE)
        done_mm = sigma_mm
        for start in range(0, len(voxels), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            bends = sigma_mm**2 * _bends(smooth, voxels[part], spacing)
            best[part] = np.maximum(best[part], _likeness(bends, CONTRAST_SHARE * contrast))
    found = np.zeros(smooth.shape, dtype=np.float32)
    found.ravel()[voxels] = best
    return found


def _bends(
    smooth: NDArray[np.float32], voxels: NDArray[np.intp], spacing_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """The eigenvalues (n, 3) of the second derivatives at flat indices (n,), those of least size first."""
    place = np.stack(np.unravel_index(voxels, smooth.shape))
    strides = np.array([smooth.shape[1] * smooth.shape[2], smooth.shape[2], 1])
    values = smooth.ravel()
    steps = np.stack(
        [
            np.stack([np.where(place[axis] + way < size, way, 0) * (place[axis] + way >= 0) for way in (-1, 1)])
            for axis, size in enumerate(smooth.shape)
        ]
    )  # (3, 2, n): the way to the neighbours before and after, 0 at the grid's edge
    offsets = steps * strides[:, None, None]
    middle = values[voxels]
    second = np.empty((len(voxels), 3, 3), dtype=np.float32)
    for a in range(3):
        around = values[voxels + offsets[a, 0]] + values[voxels + offsets[a, 1]]
        second[:, a, a] = (around - 2 * middle) / spacing_mm[a] ** 2
        for b in range(a + 1, 3):
            corners = [
                values[voxels + offsets[a, one] + offsets[b, two]] for one, two in ((0, 0), (1, 1), (0, 1), (1, 0))
            ]
            mixed = (corners[0] + corners[1] - corners[2] - corners[3]) / (4 * spacing_mm[a] * spacing_mm[b])
            second[:, a, b] = second[:, b, a] = mixed
    bends = _eigenvalues(second)
    order = np.argsort(np.abs(bends), axis=1)
    return np.asarray(np.take_along_axis(bends, order, axis=1))


def _eigenvalues(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """The eigenvalues (n, 3) of symmetric matrices (n, 3, 3), by the cosine formula (Smith 1961)."""
    mean = np.trace(matrix, axis1=1, axis2=2) / 3
    rest = matrix - mean[:, None, None] * np.eye(3, dtype=np.float32)
    size = np.sqrt(np.maximum((rest**2).sum(axis=(1, 2)) / 6, 1e-12))
    half = np.clip(np.linalg.det(rest / size[:, None, None]) / 2, -1.0, 1.0)
    angle = np.arccos(half) / 3
    turns = np.array([0.0, 2 * np.pi / 3, 4 * np.pi / 3], dtype=np.float32)
    return np.asarray(mean[:, None] + 2 * size[:, None] * np.cos(angle[:, None] + turns[None, :]), dtype=np.float32)


def _likeness(bends: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Frangi's measure (n,) from eigenvalues (n, 3) in the order of their size; 0 where a line would be dark."""
    least, middle, most = np.abs(bends).T
    plate = middle / np.maximum(most, 1e-9)
    blob = least / np.maximum(np.sqrt(middle * most), 1e-9)
    strength = np.sqrt((bends**2).sum(axis=1))
    likeness = (1 - np.exp(-((plate / PLATE) ** 2) / 2)) * np.exp(-((blob / BLOB) ** 2) / 2)
    likeness *= 1 - np.exp(-((strength / noise) ** 2) / 2)
    return np.where((bends[:, 1] < 0) & (bends[:, 2] < 0), likeness, 0.0).astype(np.float32)
