"""How unsure a model was of each voxel, from the maps of probability beside its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.read import read_scan

MOST = 255


def uncertainty(maps: Sequence[Path], geometry: Geometry) -> NDArray[np.uint8]:
    """A number (i, j, k) for each voxel: 0 where every map says 0 or 1, 255 where one says one half.

    1 - |2 p - 1| of the probability p, the highest over the maps; values above 1 are taken for steps of 255.
    Raises InputError where there is no map, GeometryError where one lies on another grid.
    """
    if not maps:
        raise InputError("there is no map of probability beside this result, so nothing is known of uncertainty")
    highest = np.zeros(geometry.shape, dtype=np.uint8)
    for path in maps:
        volume = read_scan(path).volume
        volume.geometry.require_same(geometry, f"the probability {path.name} and the scan")
        unit = MOST if volume.array.max() > 1 else 1
        for k in range(geometry.shape[2]):
            share = np.clip(volume.array[..., k].astype(np.float32) / unit, 0, 1)
            np.maximum(
                highest[..., k], np.rint(MOST * (1 - np.abs(2 * share - 1))), out=highest[..., k], casting="unsafe"
            )
    return highest
