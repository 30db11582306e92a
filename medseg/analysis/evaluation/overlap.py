"""How much two masks share: Dice and volume difference, by counting voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxel counts of a predicted mask, of its reference, and of what both hold.

    Where one of the two is empty Dice is 0; where both are, there is nothing to overlap and Dice is not a number (nan),
    as in nnU-Net: a mean over cases leaves such a case out and says how many it left out. Scored as 1 instead,
    tumour-free cases would lift a tumour's mean. (MONAI says nan whenever the reference is empty, and so lets a false
    alarm go unpunished; not here.)
    """

    prediction_voxels: int
    reference_voxels: int
    shared_voxels: int
    voxel_volume_ml: float

    @property
    def dice(self) -> float:
        """Twice the shared voxels over the sum of both masks' voxels: 0 to 1, nan where both are empty."""
        total = self.prediction_voxels + self.reference_voxels
        return 2 * self.shared_voxels / total if total else math.nan

    @property
    def prediction_ml(self) -> float:
        """Volume of the predicted mask in ml."""
        return self.prediction_voxels * self.voxel_volume_ml

    @property
    def reference_ml(self) -> float:
        """Volume of the reference mask in ml."""
        return self.reference_voxels * self.voxel_volume_ml

    @property
    def volume_difference_ml(self) -> float:
        """Predicted less reference volume in ml; negative where too little was found."""
        return self.prediction_ml - self.reference_ml

    @property
    def volume_difference_percent(self) -> float:
        """The volume difference in percent of the reference; nan where both are empty, inf where only that is."""
        if self.reference_voxels == 0:
            return math.inf if self.prediction_voxels else math.nan
        return 100 * (self.prediction_voxels - self.reference_voxels) / self.reference_voxels


def overlap_of(prediction: NDArray[np.bool_], reference: NDArray[np.bool_], voxel_volume_ml: float) -> Overlap:
    """The voxel counts of two masks (i, j, k) on one grid."""
    return Overlap(
        int(np.count_nonzero(prediction)),
        int(np.count_nonzero(reference)),
        int(np.count_nonzero(prediction & reference)),
        voxel_volume_ml,
    )


def box_around(*arrays: NDArray[Any]) -> tuple[slice, slice, slice] | None:
    """The smallest box of voxels (i, j, k) that holds every voxel that is not zero in any array; None where all are."""
    bounds = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.zeros(arrays[0].shape[axis], dtype=bool)
        for array in arrays:
            occupied |= array.any(axis=others)
        where = np.flatnonzero(occupied)
        if where.size == 0:
            return None
        bounds.append(slice(int(where[0]), int(where[-1]) + 1))
    i, j, k = bounds
    return i, j, k
