"""DICOM's patient coordinates (LPS+ mm, PS3.3 C.7.6.2.1.1) into RAS+ mm and back; the only place that knows both."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FLIP = np.array([-1.0, -1.0, 1.0])


def lps_to_ras(points_mm: ArrayLike) -> NDArray[np.float64]:
    """Positions or directions (..., 3) in RAS+ of those in LPS+."""
    return np.asarray(np.asarray(points_mm, dtype=np.float64) * _FLIP)


def ras_to_lps(points_mm: ArrayLike) -> NDArray[np.float64]:
    """Positions or directions (..., 3) in LPS+ of those in RAS+."""
    return np.asarray(np.asarray(points_mm, dtype=np.float64) * _FLIP)


def affine_ras(columns_lps: ArrayLike, origin_lps: ArrayLike) -> NDArray[np.float64]:
    """The 4 x 4 affine from index to RAS+ mm of three step vectors (as columns) and an origin in LPS+ mm."""
    affine = np.eye(4)
    affine[:3, :3] = lps_to_ras(np.asarray(columns_lps, dtype=np.float64).T).T
    affine[:3, 3] = lps_to_ras(origin_lps)
    return affine
