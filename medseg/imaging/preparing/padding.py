"""Making an image at least as large as a network's patch, the same way in training and in use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Shape


def pad_to(array: NDArray[Any], shape: Shape) -> tuple[NDArray[Any], Shape]:
    """The image (channel, i, j, k), grown on both sides to at least `shape`, and the index where the image begins.

    New voxels hold the lowest value of their channel, which is air or background in every modality.
    """
    missing = [max(0, wanted - have) for wanted, have in zip(shape, array.shape[1:], strict=True)]
    before = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return array, before
    padded = np.empty((len(array), *(n + m for n, m in zip(array.shape[1:], missing, strict=True))), dtype=array.dtype)
    inside = tuple(slice(b, b + n) for b, n in zip(before, array.shape[1:], strict=True))
    for channel, values in enumerate(array):
        padded[channel] = values.min()
        padded[channel][inside] = values
    return padded, before
