"""The 3D U-Net (Cicek et al. 2016) in its nnU-Net form (Isensee et al. 2021), from MONAI's DynUNet."""

from __future__ import annotations

from typing import Any, Literal, Self

from monai.networks.nets import DynUNet
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from medseg.models.networks.stages import Channels, Triple, divisor_of, require_as_many


class UNet3D(nn.Module):
    """Class scores (batch, class, i, j, k) from images (batch, channel, i, j, k).

    Returns one tensor outside training; in training with deep supervision the finest first, then the coarser heads,
    each already brought to the finest grid.
    """

    def __init__(self, network: DynUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        scores: Tensor = self.network(images)
        if self.training and self.network.deep_supervision:
            return list(scores.unbind(dim=1))
        return [scores]


class UNet3DConfig(BaseModel):
    """Stages from fine to coarse; `strides[n]` is what divides the grid on entering stage n (the first is 1, 1, 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["unet3d"] = "unet3d"
    channels: tuple[Channels, ...] = Field(min_length=3)
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    residual: bool = False
    norm: Literal["instance", "batch"] = "instance"
    """How features are brought to one scale: by each patch's own mean and spread, or by those of the training.

    By its own, a patch of even tissue has its noise raised to the strength of anatomy: where values mean the same in
    every scan (HU), "batch" keeps what they say. It needs batches of several patches; those that go through the network
    together are one batch to it, so what shares a batch between processes or in parts changes the result a little.
    """
    deep_supervision: int = Field(default=0, ge=0)
    """How many coarser stages are also trained to segment."""

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        require_as_many(channels=self.channels, strides=self.strides, kernel_sizes=self.kernel_sizes)
        if self.deep_supervision > max(0, len(self.channels) - 2):
            raise ValueError(f"{len(self.channels)} stages allow at most {len(self.channels) - 2} supervised heads")
        return self

    @property
    def divisor(self) -> Triple:
        """What each side of a patch must be divisible by."""
        return divisor_of(self.strides)

    @property
    def outline(self) -> str:
        """What a person would ask of it first."""
        parts = [f"channels {', '.join(map(str, self.channels))}"]
        parts += ["residual"] if self.residual else []
        parts += ["batch norm"] if self.norm == "batch" else []
        return ", ".join(parts)

    def dynunet_arguments(self, in_channels: int, out_channels: int) -> dict[str, Any]:
        """What MONAI's DynUNet is made with, as values that JSON can hold too."""
        return {
            "spatial_dims": 3,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": [list(size) for size in self.kernel_sizes],
            "strides": [list(stride) for stride in self.strides],
            "upsample_kernel_size": [list(stride) for stride in self.strides[1:]],
            "filters": list(self.channels),
            "norm_name": [self.norm.upper(), {"affine": True}],
            "deep_supervision": self.deep_supervision > 0,
            "deep_supr_num": max(1, self.deep_supervision),
            "res_block": self.residual,
        }

    def build(self, in_channels: int, out_channels: int) -> UNet3D:
        """The network with fresh weights from torch's random state."""
        return UNet3D(DynUNet(**self.dynunet_arguments(in_channels, out_channels)))
