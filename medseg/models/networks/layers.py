"""The layers that several rungs of the ladder are built from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.models.networks.stages import FINEST, Triple, dilated, triple

LEAK = 0.01
"""Slope of the activation below zero (Isensee et al. 2021)."""


def convolution(in_channels: int, out_channels: int, kernel: Triple, stride: Triple, dilation: Triple) -> nn.Conv3d:
    """A convolution that keeps the grid, or divides it by the stride exactly; without a bias: a norm follows."""
    padding = triple(d * (size - 1) // 2 for size, d in zip(kernel, dilation, strict=True))
    return nn.Conv3d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False)


class ConvNorm(nn.Sequential):
    """Convolution, instance norm, leaky ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = FINEST,
        dilation: Triple = FINEST,
    ) -> None:
        super().__init__(
            convolution(in_channels, out_channels, kernel, stride, dilation),
            nn.InstanceNorm3d(out_channels, affine=True),
            nn.LeakyReLU(LEAK, inplace=True),
        )


class PlainBlock(nn.Sequential):
    """Two convolutions, as in VGG (Simonyan and Zisserman 2015); the first may stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, dilation: Triple) -> None:
        super().__init__(
            ConvNorm(in_channels, out_channels, kernel, stride, dilation),
            ConvNorm(out_channels, out_channels, kernel, FINEST, dilation),
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them, as in ResNet (He et al. 2016); the first may stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, dilation: Triple) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, kernel, stride, dilation)
        self.second = nn.Sequential(
            convolution(out_channels, out_channels, kernel, FINEST, dilation),
            nn.InstanceNorm3d(out_channels, affine=True),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels or stride != FINEST:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, stride, stride, bias=False),
                nn.InstanceNorm3d(out_channels, affine=True),
            )
        self.activation = nn.LeakyReLU(LEAK, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.second(self.first(features)) + self.shortcut(features))
        return activated


class Encoder(nn.Module):
    """The features of every stage, fine to coarse, from images (batch, channel, i, j, k)."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


def dilated_encoder(
    in_channels: int,
    channels: Sequence[int],
    kernel_sizes: Sequence[Triple],
    strides: Sequence[Triple],
    output_stride: int,
) -> Encoder:
    """Residual stages that grow no coarser than `output_stride` voxels, and see as far as if they did."""
    kept, dilations = dilated(strides, output_stride)
    inputs = (in_channels, *channels[:-1])
    stages = zip(inputs, channels, kernel_sizes, kept, dilations, strict=True)
    return Encoder([ResidualBlock(*stage) for stage in stages])


def resized(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Maps (batch, channel, i, j, k) brought to another grid over the same space, linearly along each axis; float32.

    Written as three matrix products because the gradient of torch's own trilinear resampling is summed in random order
    on a GPU, where a training could then not be repeated. Their weights are torch's own.
    """
    return _along_axes(
        maps,
        [
            F.interpolate(torch.eye(old, device=maps.device)[None], size=new, mode="linear", align_corners=False)[0]
            for old, new in zip(maps.shape[2:], shape, strict=True)
        ],
    )


def pooled(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """The means of maps (batch, channel, i, j, k) over `shape` boxes of nearly equal size; float32, repeatable."""
    return _along_axes(
        maps,
        [
            F.adaptive_avg_pool1d(torch.eye(old, device=maps.device)[None], new)[0]
            for old, new in zip(maps.shape[2:], shape, strict=True)
        ],
    )


def in_float32(device: torch.device) -> AbstractContextManager[object]:
    """A context in which nothing runs in bfloat16, whatever is set outside it; the meta device has no such setting."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _along_axes(maps: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """The maps with each axis multiplied by its matrix (old length, new length)."""
    with in_float32(maps.device):
        maps = maps.float()
        for axis, matrix in enumerate(matrices, start=2):
            if matrix.shape[0] != matrix.shape[1]:
                maps = (maps.movedim(axis, -1) @ matrix).movedim(-1, axis)
    return maps
