"""The hundred-layer Tiramisu (Jegou et al. 2017) in 3-D: a U-Net of densely connected layers, FC-DenseNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medseg.models.networks.layers import convolution
from medseg.models.networks.stages import FINEST, Channels, Positive, Triple, divisor_of, require_as_many, triple

LAYERS: dict[Literal[56, 67, 103], tuple[int, ...]] = {
    56: (4, 4, 4, 4, 4, 4),
    67: (5, 5, 5, 5, 5, 5),
    103: (4, 5, 7, 10, 12, 15),
}
"""The layers of each dense block on the way down, the bottleneck last, of the three networks of the paper."""


class DenseLayer(nn.Module):
    """The few new features that follow from all earlier ones of a block: norm, ReLU, convolution, dropout."""

    def __init__(self, in_channels: int, growth: int, kernel: Triple, dropout: float) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(in_channels, affine=True)
        self.activation = nn.ReLU(inplace=True)
        self.convolution = convolution(in_channels, growth, kernel, FINEST, FINEST)
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, *earlier: Tensor) -> Tensor:
        new: Tensor = self.dropout(self.convolution(self.activation(self.norm(torch.cat(earlier, dim=1)))))
        return new


class DenseBlock(nn.Module):
    """The new features of all layers, concatenated; each layer sees the input and what every earlier layer made.

    With `checkpointing`, a layer's concatenation, norm and activation are not kept for the backward pass but computed
    once more: memory grows with the layers instead of with their square, for about a third more time.
    """

    def __init__(self, layers: Sequence[DenseLayer], *, checkpointing: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.checkpointing = checkpointing

    def forward(self, features: Tensor) -> Tensor:
        made: list[Tensor] = []
        for layer in self.layers:
            if self.checkpointing and self.training:
                new = checkpoint(layer, features, *made, use_reentrant=False)
            else:
                new = layer(features, *made)
            made.append(new)
        return torch.cat(made, dim=1)


class LargestOfBox(nn.Module):
    """Max pooling over boxes of the stride: torch's own has no gradient that can be repeated on a GPU."""

    def __init__(self, stride: Triple) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        for axis, step in zip((4, 3, 2), reversed(self.stride), strict=True):
            shape = features.shape
            features = features.reshape(*shape[:axis], shape[axis] // step, step, *shape[axis + 1 :])
        return features.amax((3, 5, 7))


class Tiramisu(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k), as a list of one.

    On the way down a block's input goes along with what it made; on the way up only what it made, or the width would
    explode (the paper's section 3.1).
    """

    def __init__(
        self,
        first: nn.Module,
        down: Sequence[tuple[DenseBlock, nn.Module]],
        bottleneck: DenseBlock,
        up: Sequence[tuple[nn.Module, DenseBlock]],
        last: nn.Module,
    ) -> None:
        super().__init__()
        self.first = first
        self.down_blocks = nn.ModuleList(block for block, _ in down)
        self.down_steps = nn.ModuleList(step for _, step in down)
        self.bottleneck = bottleneck
        self.up_steps = nn.ModuleList(step for step, _ in up)
        self.up_blocks = nn.ModuleList(block for _, block in up)
        self.last = last

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.first(images)
        skips = []
        for block, step in zip(self.down_blocks, self.down_steps, strict=True):
            features = torch.cat([features, block(features)], dim=1)
            skips.append(features)
            features = step(features)
        made = self.bottleneck(features)
        for step, block in zip(self.up_steps, self.up_blocks, strict=True):
            features = torch.cat([step(made), skips.pop()], dim=1)
            made = block(features)
        return [self.last(torch.cat([features, made], dim=1))]


class TiramisuConfig(BaseModel):
    """`layers[n]` layers in the dense block of stage n, fine to coarse, the bottleneck last; the way up mirrors them.

    One step differs from the paper: transposed convolutions have the stride for a kernel, since the paper's 3 at
    stride 2 overlaps unevenly and leaves a checkerboard.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["tiramisu"] = "tiramisu"
    layers: tuple[Positive, ...] = Field(min_length=2)
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    growth: int = Field(default=12, ge=1)
    """Features that each layer adds."""
    first_channels: Channels = 48
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """0.2 in the paper; here augmentation keeps the network from learning its cases by heart."""
    checkpointing: bool = False

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        require_as_many(layers=self.layers, strides=self.strides, kernel_sizes=self.kernel_sizes)
        if self.strides[0] != FINEST:
            raise ValueError(f"the first stage works on the full grid: its stride is (1, 1, 1), got {self.strides[0]}")
        return self

    @property
    def divisor(self) -> Triple:
        """What each side of a patch must be divisible by."""
        return divisor_of(self.strides)

    @property
    def depth(self) -> int:
        """Convolutions from image to scores, counted as the paper counts its 56, 67 and 103."""
        steps = len(self.layers) - 1
        return 2 * sum(self.layers[:-1]) + self.layers[-1] + 2 * steps + 2

    @property
    def outline(self) -> str:
        """What a person would ask of it first."""
        return f"FC-DenseNet{self.depth}, growth {self.growth}, layers {', '.join(map(str, self.layers))}"

    def build(self, in_channels: int, out_channels: int) -> Tiramisu:
        """The network with fresh weights from torch's random state."""
        width = self.first_channels
        first = nn.Conv3d(
            in_channels,
            width,
            self.kernel_sizes[0],
            padding=triple((size - 1) // 2 for size in self.kernel_sizes[0]),
        )
        down, widths = [], []
        for stage in range(len(self.layers) - 1):
            block = self._block(stage, width)
            width += self.growth * self.layers[stage]
            widths.append(width)
            down.append((block, self._step_down(width, self.strides[stage + 1])))
        bottleneck = self._block(len(self.layers) - 1, width)
        up = []
        for stage in range(len(self.layers) - 2, -1, -1):
            made, stride = self.growth * self.layers[stage + 1], self.strides[stage + 1]
            width = widths[stage] + made
            up.append((nn.ConvTranspose3d(made, made, stride, stride), self._block(stage, width)))
        last = nn.Conv3d(width + self.growth * self.layers[0], out_channels, 1)
        return Tiramisu(first, down, bottleneck, up, last)

    def _block(self, stage: int, width: int) -> DenseBlock:
        layers = [
            DenseLayer(width + self.growth * earlier, self.growth, self.kernel_sizes[stage], self.dropout)
            for earlier in range(self.layers[stage])
        ]
        return DenseBlock(layers, checkpointing=self.checkpointing)

    def _step_down(self, width: int, stride: Triple) -> nn.Module:
        return nn.Sequential(
            nn.InstanceNorm3d(width, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, width, 1),
            nn.Dropout3d(self.dropout),
            LargestOfBox(stride),
        )
