"""Hybrid CNN-CRF: a U-Net's scores refined by mean-field steps that are trained with it.

CRF-RNN (Zheng et al. 2015) adapted to 3-D: where that filters over the whole image on a lattice, here each voxel
listens to a small window of neighbours, as in convolutional CRFs (Teichmann and Cipolla 2018), and distances are in mm.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.models.networks.layers import in_float32
from medseg.models.networks.stages import Triple, triple
from medseg.models.networks.unet3d import UNet3D, UNet3DConfig

Reach = Annotated[int, Field(ge=0, le=4)]
Length = Annotated[float, Field(gt=0)]
Offset = tuple[int, int, int]

SMALLEST_TOTAL = 1e-6
"""Weights of a window are divided by at least this, where no neighbour looks alike at all."""


class Kernels(NamedTuple):
    """For each offset of the window the weights (batch, 1, i, j, k) of the neighbour there; they sum to at most 1."""

    smoothness: list[Tensor]
    appearance: list[Tensor]


class MeanField(nn.Module):
    """Class scores (batch, class, i, j, k) refined by what neighbours believe: those near, and those that look alike.

    Trained are the widths of both Gaussian kernels (in mm, and in units of the normalised image), the weight of each
    kernel for each class, and the compatibility: how much a neighbour's belief in one class speaks against another.
    """

    def __init__(self, in_channels: int, classes: int, config: CnnCrfConfig) -> None:
        super().__init__()
        self.iterations = config.iterations
        self.spacing_mm = config.spacing_mm
        self.reach: Offset = config.reach
        window = product(*(range(-n, n + 1) for n in self.reach))
        self.offsets = [triple(offset) for offset in window if any(offset)]
        width = torch.tensor(config.width_mm).log()
        self.smoothness_log_mm = nn.Parameter(width.clone())
        self.appearance_log_mm = nn.Parameter(width.clone())
        self.appearance_log_intensity = nn.Parameter(torch.full((in_channels,), config.width_intensity).log())
        self.smoothness_weight = nn.Parameter(torch.full((classes,), config.weight))
        self.appearance_weight = nn.Parameter(torch.full((classes,), config.weight))
        self.compatibility = nn.Parameter(1 - torch.eye(classes))  # Potts: every other class speaks against alike

    def forward(self, unary: Tensor, images: Tensor) -> Tensor:
        with in_float32(unary.device):
            unary, images = unary.float(), images.float()
            kernels = self.kernels(images)
            scores = unary
            for _ in range(self.iterations):
                beliefs = self._padded(scores.softmax(dim=1))
                heard = self._by_class(self.smoothness_weight) * self._message(beliefs, kernels.smoothness)
                heard = heard + self._by_class(self.appearance_weight) * self._message(beliefs, kernels.appearance)
                scores = unary - torch.einsum("cd,bdijk->bcijk", self.compatibility, heard)
            return scores

    def kernels(self, images: Tensor) -> Kernels:
        """The weights of all neighbours: Gaussians, 0 outside the image, divided by their sum over the window."""
        padded = self._padded(images)
        inside = self._padded(torch.ones_like(images[:1, :1]))
        width = self.appearance_log_intensity.exp().view(1, -1, 1, 1, 1)
        smoothness, appearance = [], []
        for offset in self.offsets:
            distance = sum((step * mm) ** 2 for step, mm in zip(offset, self.spacing_mm, strict=True))
            there = self._shifted(inside, offset)
            near = torch.exp(-0.5 * distance * torch.exp(-2 * self.smoothness_log_mm))
            also = torch.exp(-0.5 * distance * torch.exp(-2 * self.appearance_log_mm))
            unlike = ((images - self._shifted(padded, offset)) / width).square().sum(dim=1, keepdim=True)
            smoothness.append(near * there)
            appearance.append(also * there * torch.exp(-0.5 * unlike))
        return Kernels(_normalised(smoothness), _normalised(appearance))

    def _message(self, padded_beliefs: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """The mean of the neighbours' beliefs (batch, class, i, j, k)."""
        return _total(
            weight * self._shifted(padded_beliefs, offset) for weight, offset in zip(weights, self.offsets, strict=True)
        )

    def _padded(self, maps: Tensor) -> Tensor:
        """The maps with room for the window around them, filled with zeros."""
        i, j, k = self.reach
        return F.pad(maps, (k, k, j, j, i, i))

    def _shifted(self, padded: Tensor, offset: Offset) -> Tensor:
        """For each voxel the value of its neighbour at that offset."""
        for axis, (step, reach) in enumerate(zip(offset, self.reach, strict=True), start=2):
            padded = padded.narrow(axis, reach + step, padded.shape[axis] - 2 * reach)
        return padded

    @staticmethod
    def _by_class(weights: Tensor) -> Tensor:
        return weights.view(1, -1, 1, 1, 1)


class CnnCrf(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k), refined.

    In training the U-Net's own scores follow, so that it also learns directly, not only through the refinement.
    """

    def __init__(self, unary: UNet3D, mean_field: MeanField) -> None:
        super().__init__()
        self.unary = unary
        self.mean_field = mean_field

    def forward(self, images: Tensor) -> list[Tensor]:
        heads = self.unary(images)
        refined = self.mean_field(heads[0], images)
        return [refined, *heads] if self.training else [refined]


class CnnCrfConfig(BaseModel):
    """A U-Net and the mean-field steps behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["cnn_crf"] = "cnn_crf"
    unary: UNet3DConfig
    spacing_mm: tuple[Length, Length, Length]
    """Of the prepared image, so that a neighbour across a thick slice counts as the far neighbour it is."""
    reach: tuple[Reach, Reach, Reach] = (1, 1, 1)
    """The window's neighbours to either side, in voxels. Time and memory grow with its volume."""
    iterations: int = Field(default=5, ge=1)
    width_mm: Length = 2.0
    """Standard deviation at the start, of both kernels."""
    width_intensity: Length = 0.5
    """Standard deviation at the start, in the normalised image's own standard deviations."""
    weight: float = 1.0
    """Weight of each kernel at the start."""

    @model_validator(mode="after")
    def _has_neighbours(self) -> Self:
        if not any(self.reach):
            raise ValueError("a window of one voxel has no neighbour to listen to; make reach 1 along some axis")
        return self

    @property
    def divisor(self) -> Triple:
        """What each side of a patch must be divisible by."""
        return self.unary.divisor

    @property
    def outline(self) -> str:
        """What a person would ask of it first."""
        window = " x ".join(str(2 * n + 1) for n in self.reach)
        return f"{self.unary.outline}, then {self.iterations} mean-field steps over {window} voxels"

    def build(self, in_channels: int, out_channels: int) -> CnnCrf:
        """The network with fresh weights from torch's random state."""
        return CnnCrf(self.unary.build(in_channels, out_channels), MeanField(in_channels, out_channels, self))


def _normalised(weights: Sequence[Tensor]) -> list[Tensor]:
    total = _total(weights).clamp_min(SMALLEST_TOTAL)
    return [weight / total for weight in weights]


def _total(terms: Iterable[Tensor]) -> Tensor:
    """The sum, one term after the other: a window's terms together would fill the memory."""
    return functools.reduce(torch.add, terms)
