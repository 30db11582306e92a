"""DeepLabv3 (Chen et al. 2017) in 3-D: atrous convolutions look near and far at once, on a grid that stays fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from medseg.models.networks.layers import LEAK, ConvNorm, Encoder, dilated_encoder, resized
from medseg.models.networks.stages import Channels, Triple, dilated, divisor_of, require_as_many


class AtrousPyramid(nn.Module):
    """Features (batch, channel, i, j, k) of as many channels, gathered by a voxel's own, each rate's and the patch's.

    The patch's mean passes no norm: over a single box it would divide by a spread of zero.
    """

    def __init__(self, channels: int, kernel: Triple, rates: Sequence[Triple]) -> None:
        super().__init__()
        self.own = ConvNorm(channels, channels, (1, 1, 1))
        self.rates = nn.ModuleList(ConvNorm(channels, channels, kernel, dilation=rate) for rate in rates)
        self.whole = nn.Sequential(nn.Conv3d(channels, channels, 1), nn.LeakyReLU(LEAK))
        self.merge = ConvNorm(channels * (len(rates) + 2), channels, (1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        mean = self.whole(features.mean((2, 3, 4), keepdim=True)).expand(-1, -1, *features.shape[2:])
        near_and_far = [self.own(features), *(rate(features) for rate in self.rates)]
        merged: Tensor = self.merge(torch.cat([*near_and_far, mean.to(near_and_far[0].dtype)], dim=1))
        return merged


class DeepLabV3(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k), as a list of one."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> list[Tensor]:
        return [resized(self.head(self.encoder(images)[-1]), images.shape[2:])]


class DeepLabV3Config(BaseModel):
    """Stages from fine to coarse; past `output_stride` they dilate instead of striding. The paper's are 8 and 16."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["deeplabv3"] = "deeplabv3"
    channels: tuple[Channels, ...] = Field(min_length=2)
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    output_stride: Literal[2, 4, 8, 16] = 8
    rates: tuple[Triple, ...] = Field(min_length=1)
    """Dilations of the pyramid along each axis, in voxels of the coarsest grid. The paper's are 6, 12 and 18 on a grid
    of 33; a rate as long as the grid sees only padding, so they shrink with it."""

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        require_as_many(channels=self.channels, strides=self.strides, kernel_sizes=self.kernel_sizes)
        return self

    @property
    def divisor(self) -> Triple:
        """What each side of a patch must be divisible by."""
        return divisor_of(dilated(self.strides, self.output_stride)[0])

    @property
    def outline(self) -> str:
        """What a person would ask of it first."""
        rates = ", ".join("x".join(map(str, rate)) for rate in self.rates)
        return f"channels {', '.join(map(str, self.channels))}, output stride {self.output_stride}, rates {rates}"

    def build(self, in_channels: int, out_channels: int) -> DeepLabV3:
        """The network with fresh weights from torch's random state."""
        encoder = dilated_encoder(in_channels, self.channels, self.kernel_sizes, self.strides, self.output_stride)
        last, kernel = self.channels[-1], self.kernel_sizes[-1]
        head = nn.Sequential(
            AtrousPyramid(last, kernel, self.rates),
            ConvNorm(last, last, kernel),
            nn.Conv3d(last, out_channels, 1),
        )
        return DeepLabV3(encoder, head)
