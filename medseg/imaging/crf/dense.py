"""The dense CRF: every voxel is drawn to agree with every other that is near it and looks like it.

Kraehenbuehl & Koltun, Efficient inference in fully connected CRFs with Gaussian edge potentials, NIPS 2011, in three
dimensions and in mm. The coupling of two voxels at p with intensities I is

    appearance_weight * exp(-|p_i - p_j|² / 2 position_sd²  -  |I_i - I_j|² / 2 intensity_sd²)
    + smoothness_weight * exp(-|p_i - p_j|² / 2 smoothness_sd²)

where each kernel is first divided by the square roots of both voxels' row sums. A voxel whose neighbourhood is all
of one mind then hears that kernel's weight, in nats, whatever the spacing and the widths. Voxels on two sides of an
edge in the image hardly hear each other: the boundary settles on the edge.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medseg.core.geometry import Spacing
from medseg.imaging.crf.grid import CPU
from medseg.imaging.crf.lattice import PermutohedralLattice
from medseg.imaging.crf.mean_field import Message, log_of, mean_field
from medseg.imaging.crf.region import Tile, UncertainRegion, reach_voxels, tiles

BYTES_PER_VOXEL = 650
"""What one voxel takes at the peak, for one channel and three classes, most of it while building: 64^3 and 96^3 voxels
of noise, which fill the lattice most, took 636 and 577 bytes each."""

REACH_SD = 3.0
"""How far in widths a tile looks beyond its core, and where the smoothness kernel ends: it has fallen to 1 %."""

Weight = Annotated[float, Field(ge=0)]
Width = Annotated[float, Field(gt=0)]


class DenseCRF(BaseModel):
    """A fully connected Potts model with a bilateral and a spatial Gaussian kernel, solved by mean field."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dense_crf"] = "dense_crf"

    appearance_weight: Weight = 3.0
    position_sd_mm: Width = 3.0
    intensity_sd: Width = 0.5
    """In the unit of the image as the network sees it: standard deviations after normalisation."""

    smoothness_weight: Weight = 1.0
    smoothness_sd_mm: Width = 1.0
    iterations: Annotated[int, Field(ge=0)] = 10
    region: UncertainRegion = UncertainRegion(margin_mm=6.0)
    max_voxels: Annotated[int, Field(ge=1000)] = 2_000_000
    """How many voxels are worked on at a time. A larger region is cut into tiles that overlap by three widths, so that
    memory stays below about this times BYTES_PER_VOXEL."""

    def apply(
        self,
        probabilities: NDArray[np.float32],
        image: NDArray[np.float32],
        spacing_mm: Spacing,
        device: torch.device = CPU,
    ) -> NDArray[np.float32]:
        """The refined probabilities (class, i, j, k), from them and the image (channel, i, j, k).

        Voxels outside the uncertain region keep what the model gave and have no vote. Raises PlanError where the
        widths are too large for max_voxels, or too small for the range of the image.
        """
        region = self.region.find(probabilities, spacing_mm)
        if region is None or self.iterations == 0:
            return probabilities
        refined = probabilities.copy()
        halo = reach_voxels(REACH_SD * max(self.position_sd_mm, self.smoothness_sd_mm), spacing_mm)
        for tile in tiles(region, halo=halo, max_voxels=self.max_voxels):
            box = (slice(None), *tile.context)
            with torch.inference_mode():
                given = torch.from_numpy(probabilities[box][:, tile.voxels]).to(device)
                message = self.message(image[box], tile, spacing_mm, device)
                beliefs = mean_field(log_of(given), message, iterations=self.iterations).beliefs.cpu().numpy()
            refined[box][:, tile.core] = beliefs[:, tile.core[tile.voxels]]
        return refined

    def message(self, image: NDArray[np.float32], tile: Tile, spacing_mm: Spacing, device: torch.device) -> Message:
        """What the tile's voxels say to each other, from beliefs (class, voxel), given its image (channel, i, j, k)."""
        kernels = []
        if self.appearance_weight > 0:
            features = bilateral_features(image, tile.voxels, spacing_mm, self.position_sd_mm, self.intensity_sd)
            kernels.append((self.appearance_weight, _bilateral_sums(features.to(device))))
        if self.smoothness_weight > 0:
            voxels = torch.from_numpy(tile.voxels).to(device)
            kernels.append((self.smoothness_weight, _spatial_sums(voxels, spacing_mm, self.smoothness_sd_mm)))
        parts = []
        for weight, sums in kernels:
            # A voxel that nothing resembles has almost no row sum; without the floor its few echoes would be shouts.
            row_sums = sums(torch.ones((1, int(tile.voxels.sum())), device=device)).clamp_min(1.0)
            parts.append((weight, sums, row_sums.rsqrt()))

        def message(beliefs: Tensor) -> Tensor:
            total = torch.zeros_like(beliefs)
            for weight, sums, scale in parts:
                total = total + weight * scale * sums(beliefs * scale)
            return total

        return message


def bilateral_features(
    image: NDArray[np.float32],
    voxels: NDArray[np.bool_],
    spacing_mm: Spacing,
    position_sd_mm: float,
    intensity_sd: float,
) -> Tensor:
    """Position and intensities (voxel, 3 + channel) of the voxels of a mask, each in its kernel's widths."""
    positions = np.argwhere(voxels) * (np.asarray(spacing_mm) / position_sd_mm)
    intensities = image[:, voxels].T / intensity_sd
    return torch.from_numpy(np.concatenate((positions, intensities), axis=1).astype(np.float32))


def _bilateral_sums(features: Tensor) -> Message:
    lattice = PermutohedralLattice(features)
    own = lattice.own_share()
    return lambda values: lattice.sums(values) - own * values


def _spatial_sums(voxels: Tensor, spacing_mm: Spacing, sd_mm: float) -> Message:
    """Gaussian sums over the voxels of a mask (i, j, k), without each voxel's own; exact up to the kernel's end."""
    kernels = []
    for axis, step in enumerate(spacing_mm):
        reach = math.ceil(REACH_SD * sd_mm / step)
        offsets_mm = torch.arange(-reach, reach + 1, device=voxels.device) * step
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = 2 * reach + 1
        kernels.append(torch.exp(-0.5 * (offsets_mm / sd_mm) ** 2).reshape(shape))

    def sums(values: Tensor) -> Tensor:
        grid = values.new_zeros((len(values), 1, *voxels.shape))
        grid[:, 0, voxels] = values
        for kernel in kernels:
            reaches = [(n - 1) // 2 for n in kernel.shape[2:]]
            grid = F.conv3d(grid, kernel.to(values), padding=reaches)
        return grid[:, 0, voxels] - values

    return sums
