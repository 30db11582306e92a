"""PSPNet (Zhao et al. 2017) in 3-D: each voxel's features beside means over ever larger parts of the patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from medseg.models.networks.layers import LEAK, ConvNorm, Encoder, dilated_encoder, pooled, resized
from medseg.models.networks.stages import Channels, Positive, Triple, dilated, divisor_of, require_as_many

Four = tuple[Positive, Positive, Positive, Positive]


class PyramidPooling(nn.Module):
    """Features (batch, channel, i, j, k) with, appended, their means over n x n x n boxes for each n of the pyramid.

    No norm follows the pooling: over the single box of the coarsest level it would divide by a spread of zero.
    """

    def __init__(self, channels: int, boxes: Sequence[int]) -> None:
        super().__init__()
        self.boxes = tuple(boxes)
        self.reduced = max(1, channels // len(self.boxes))
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv3d(channels, self.reduced, 1), nn.LeakyReLU(LEAK)) for _ in self.boxes
        )

    def forward(self, features: Tensor) -> Tensor:
        grid = features.shape[2:]
        appended = [features]
        for count, level in zip(self.boxes, self.levels, strict=True):
            means = level(pooled(features, [min(count, length) for length in grid]))
            appended.append(resized(means, grid).to(features.dtype))
        return torch.cat(appended, dim=1)


class PSPNet(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k).

    In training with the auxiliary head a second tensor follows: what the stage before the last would have said.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, auxiliary: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.auxiliary = auxiliary

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.encoder(images)
        scores = [self.head(features[-1])]
        if self.training and self.auxiliary is not None:
            scores.append(self.auxiliary(features[-2]))
        return [resized(score, images.shape[2:]) for score in scores]


class PSPNetConfig(BaseModel):
    """Stages from fine to coarse; past `output_stride` they dilate instead of striding. The paper's is 8."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["pspnet"] = "pspnet"
    channels: tuple[Channels, ...] = Field(min_length=2)
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    output_stride: Literal[2, 4, 8, 16] = 8
    boxes: Four = (1, 2, 3, 6)
    """Into how many boxes along each axis the four levels of the pyramid part the patch."""
    auxiliary: bool = True

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
        return f"channels {', '.join(map(str, self.channels))}, output stride {self.output_stride}"

    def build(self, in_channels: int, out_channels: int) -> PSPNet:
        """The network with fresh weights from torch's random state."""
        encoder = dilated_encoder(in_channels, self.channels, self.kernel_sizes, self.strides, self.output_stride)
        last, kernel = self.channels[-1], self.kernel_sizes[-1]
        pyramid = PyramidPooling(last, self.boxes)
        width = last + len(self.boxes) * pyramid.reduced
        head = nn.Sequential(pyramid, ConvNorm(width, last, kernel), nn.Conv3d(last, out_channels, 1))
        auxiliary = nn.Sequential(
            ConvNorm(self.channels[-2], self.channels[-2], self.kernel_sizes[-2]),
            nn.Conv3d(self.channels[-2], out_channels, 1),
        )
        return PSPNet(encoder, head, auxiliary if self.auxiliary else None)
