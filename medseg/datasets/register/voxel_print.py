"""The print of a scan: the same for the same voxels, however they are turned, named, stored, rescaled or padded."""

from __future__ import annotations

import hashlib

import numpy as np

from medseg.core.volume import Volume

LEVELS = 65535
"""Values are counted on this many levels between the lowest and the highest: fine enough to tell two scans apart."""


def voxel_print(volume: Volume) -> str:
    """64 hexadecimal digits from how often each value occurs, the lowest (air, padding) left out.

    Flipped, with its axes in another order, under another affine, in another integer type, in a rescaled unit, or with
    its empty border cut off, a scan keeps its print. One that was resampled, smoothed or cropped into does not: such a
    copy is not found. A scan of one value has the print of nothing.
    """
    values = volume.array.astype(np.float64).ravel()
    low, high = float(values.min()), float(values.max())
    levels = np.rint((values - low) / ((high - low) or 1.0) * LEVELS).astype(np.int64)
    counts = np.bincount(levels, minlength=LEVELS + 1)[1:]
    there = np.flatnonzero(counts)
    return hashlib.sha256(np.stack((there, counts[there])).astype("<i8").tobytes()).hexdigest()
