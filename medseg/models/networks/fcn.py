"""The fully convolutional network (Long et al. 2015) in 3-D: score maps of several stages, summed from coarse to fine.

Its two decoders show where the checkerboard artefact comes from: a transposed convolution whose kernel is no multiple
of its stride adds up unevenly many terms in neighbouring voxels (Odena et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from medseg.models.networks.layers import Encoder, PlainBlock, resized
from medseg.models.networks.stages import FINEST, Channels, Triple, divisor_of, require_as_many, triple

Overlap = Literal["none", "even", "uneven"]


class FCN(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k), as a list of one.

    The coarsest stage's scores are brought to the grid of the next finer stage and added to its own, as often as there
    are skips; the last step goes to the full grid at once.
    """

    def __init__(self, encoder: Encoder, scores: Sequence[nn.Module], enlarge: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.scores = nn.ModuleList(scores)
        self.enlarge = nn.ModuleList(enlarge)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.encoder(images)
        total = self.scores[0](features[-1])
        for level in range(1, len(self.scores)):
            total = self.enlarge[level - 1](total) + self.scores[level](features[-1 - level])
        return [self.enlarge[-1](total)]


class Trilinear(nn.Module):
    """Maps on a grid `stride` times as fine, by linear interpolation: nothing to learn, nothing to add up unevenly."""

    def __init__(self, stride: Triple) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        return resized(maps, [n * step for n, step in zip(maps.shape[2:], self.stride, strict=True)])


class Transposed(nn.ConvTranspose3d):
    """Maps on a grid `stride` times as fine, by a learned kernel that starts as linear interpolation of each class.

    Each output voxel gathers kernel / stride terms along an axis: the same everywhere where that is whole ("none": 1,
    "even": 2), by turns fewer and more where it is not ("uneven": kernel 2 stride - 1, the common 3 at stride 2).
    """

    def __init__(self, classes: int, stride: Triple, overlap: Overlap) -> None:
        kernel = [self.kernel_length(step, overlap) for step in stride]
        spare = [size - step for size, step in zip(kernel, stride, strict=True)]
        padding = [(excess + 1) // 2 for excess in spare]
        missing = [2 * pad - excess for pad, excess in zip(padding, spare, strict=True)]
        super().__init__(classes, classes, triple(kernel), stride, triple(padding), triple(missing))
        with torch.no_grad():
            lines = [_tent(size, step) for size, step in zip(kernel, stride, strict=True)]
            self.weight.zero_()
            for number in range(classes):
                self.weight[number, number] = torch.einsum("i,j,k->ijk", *lines)
            if self.bias is not None:
                self.bias.zero_()

    @staticmethod
    def kernel_length(step: int, overlap: Overlap) -> int:
        """Voxels along one axis."""
        if step == 1 or overlap == "none":
            return step
        return 2 * step if overlap == "even" else 2 * step - 1


class FCNConfig(BaseModel):
    """Stages from fine to coarse; `skips` finer stages are added to the coarsest (0, 1, 2: FCN-32s, -16s, -8s)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["fcn"] = "fcn"
    channels: tuple[Channels, ...] = Field(min_length=2)
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    skips: int = Field(default=2, ge=0)
    decoder: Literal["trilinear", "transposed"] = "trilinear"
    overlap: Overlap = "even"
    """How the terms of a transposed convolution overlap; "uneven" is there to show the checkerboard, not to be used."""

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        require_as_many(channels=self.channels, strides=self.strides, kernel_sizes=self.kernel_sizes)
        if self.skips > len(self.channels) - 1:
            raise ValueError(f"{len(self.channels)} stages have at most {len(self.channels) - 1} skips")
        return self

    @property
    def divisor(self) -> Triple:
        """What each side of a patch must be divisible by."""
        return divisor_of(self.strides)

    @property
    def outline(self) -> str:
        """What a person would ask of it first."""
        return f"channels {', '.join(map(str, self.channels))}, {self.skips} skips, {self.decoder}"

    def build(self, in_channels: int, out_channels: int) -> FCN:
        """The network with fresh weights from torch's random state."""
        inputs = (in_channels, *self.channels[:-1])
        blocks = [
            PlainBlock(before, after, kernel, stride, FINEST)
            for before, after, kernel, stride in zip(
                inputs, self.channels, self.kernel_sizes, self.strides, strict=True
            )
        ]
        scored = range(len(self.channels) - 1, len(self.channels) - 2 - self.skips, -1)
        steps = [self.strides[stage] for stage in scored]
        steps[-1] = divisor_of(self.strides[: scored[-1] + 1])
        scores = [nn.Conv3d(self.channels[stage], out_channels, 1) for stage in scored]
        enlarge = [
            Trilinear(step) if self.decoder == "trilinear" else Transposed(out_channels, step, self.overlap)
            for step in steps
        ]
        return FCN(Encoder(blocks), scores, enlarge)


def _tent(length: int, step: int) -> Tensor:
    """Weights of linear interpolation by a transposed convolution; a box where the kernel does not overlap."""
    if length == step:
        return torch.ones(length)
    place = torch.arange(length, dtype=torch.float32) - (length - 1) / 2
    return 1 - place.abs() / step
