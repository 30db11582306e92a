"""The grid CRF: each voxel is drawn to agree with the six that share a face with it.

It knows no image. What it minimises is the area of the boundary, and so it takes away noise, and with it whatever is
thin or pointed.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medseg.core.geometry import Spacing
from medseg.imaging.crf.mean_field import log_of, mean_field
from medseg.imaging.crf.region import UncertainRegion, grown

CPU = torch.device("cpu")


class GridCRF(BaseModel):
    """A Potts model on the six neighbours of each voxel, solved by mean field in chess-board turns."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["grid_crf"] = "grid_crf"

    strength_mm: Annotated[float, Field(ge=0)] = 0.7
    """What a boundary costs, in nats times mm: two voxels whose centres are d mm apart pay strength_mm / d to differ.

    So the cost of a boundary is its area, however the grid cuts it up: with half the spacing there are four times
    the faces, and eight times the voxels that a face's cost is weighed against, at twice the cost each.
    """

    iterations: Annotated[int, Field(ge=0)] = 20
    region: UncertainRegion = UncertainRegion()

    def apply(
        self,
        probabilities: NDArray[np.float32],
        _image: NDArray[np.float32],
        spacing_mm: Spacing,
        device: torch.device = CPU,
    ) -> NDArray[np.float32]:
        """The refined probabilities (class, i, j, k); where the model is sure, and all around, those it gave."""
        region = self.region.find(probabilities, spacing_mm)
        if region is None or self.iterations == 0:
            return probabilities
        # One voxel more on each side: it does not change, and is a neighbour of those that may.
        box = grown(region.box, (1, 1, 1), (probabilities.shape[1], probabilities.shape[2], probabilities.shape[3]))
        free = np.zeros([side.stop - side.start for side in box], dtype=bool)
        free[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(region.box, box, strict=True))] = (
            region.mask
        )
        given = np.ascontiguousarray(probabilities[(slice(None), *box)])
        with torch.inference_mode():
            couplings = couplings_of(self.strength_mm, spacing_mm)
            turns = chess_board_turns(torch.from_numpy(free).to(device))
            beliefs = mean_field(
                log_of(torch.from_numpy(given).to(device)),
                lambda current: neighbour_message(current, couplings),
                iterations=self.iterations,
                turns=turns,
            ).beliefs.cpu()
        refined = probabilities.copy()
        refined[(slice(None), *box)] = np.where(free, beliefs.numpy(), given)
        return refined


def couplings_of(strength_mm: float, spacing_mm: Spacing) -> Spacing:
    """What two face neighbours along i, j, k pay to differ, in nats."""
    i, j, k = (strength_mm / step for step in spacing_mm)
    return i, j, k


def neighbour_message(beliefs: Tensor, couplings: Spacing) -> Tensor:
    """The sum of the six neighbours' beliefs (class, i, j, k), each times the coupling along its axis."""
    total = torch.zeros_like(beliefs)
    for axis, coupling in enumerate(couplings, start=1):
        inner = beliefs.shape[axis] - 1
        if inner > 0:
            total.narrow(axis, 1, inner).add_(beliefs.narrow(axis, 0, inner), alpha=coupling)
            total.narrow(axis, 0, inner).add_(beliefs.narrow(axis, 1, inner), alpha=coupling)
    return total


def chess_board_turns(free: Tensor) -> tuple[Tensor, Tensor]:
    """The voxels of a mask (i, j, k) whose i + j + k is even, and the others: no two of a turn share a face."""
    i, j, k = (torch.arange(n, device=free.device) for n in free.shape)
    even = (i[:, None, None] + j[None, :, None] + k[None, None, :]) % 2 == 0
    return free & even, free & ~even


def potts_energy(labels: Tensor, log_probabilities: Tensor, couplings: Spacing) -> float:
    """E(x) in nats of labels (i, j, k) under log-probabilities (class, i, j, k)."""
    energy = -log_probabilities.gather(0, labels[None]).sum(dtype=torch.float64)
    for axis, coupling in enumerate(couplings):
        inner = labels.shape[axis] - 1
        differ = labels.narrow(axis, 0, inner) != labels.narrow(axis, 1, inner)
        energy = energy + coupling * differ.sum()
    return float(energy)
