"""Networks and losses by name, fitted to the data: what `--network` and `--loss` choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from medseg.core.errors import PlanError
from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.deeplabv3 import DeepLabV3Config
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.pspnet import PSPNetConfig
from medseg.models.networks.stages import Triple, dilated, divisor_of, triple
from medseg.models.networks.tiramisu import LAYERS, TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.cross_entropy import CrossEntropyConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.targets import Regions
from medseg.training.losses.weighted_sum import LossConfig, lack_of_overlap

NetworkName = Literal["unet3d", "residual_unet3d", "fcn", "tiramisu", "pspnet", "deeplabv3", "cnn_crf"]
LossName = Literal["dice", "focal", "cross_entropy", "centreline_dice", "boundary"]

RELATIVE_MEMORY: dict[NetworkName, dict[Literal["cpu", "cuda"], float]] = {
    "unet3d": {"cpu": 1.0, "cuda": 1.0},
    "residual_unet3d": {"cpu": 1.1, "cuda": 1.1},
    "fcn": {"cpu": 1.0, "cuda": 1.0},
    "tiramisu": {"cpu": 7.9, "cuda": 2.7},
    "pspnet": {"cpu": 1.0, "cuda": 1.0},
    "deeplabv3": {"cpu": 1.0, "cuda": 1.0},
    "cnn_crf": {"cpu": 2.4, "cuda": 3.6},
}
"""What each network keeps for its backward pass in units of the U-Net's, as it is planned for a CPU or a GPU; counted
by `benchmarks/training/ladder.py --memory`. The lighter ones (0.4 to 0.7) count as 1: all see the same patch."""

WIDE = 32
"""From so many channels at the finest stage on, a plan is for a GPU: deeper and wider variants are worth their time."""

COARSEST_GRID = 12
"""PSPNet and DeepLabv3 keep at least this many voxels along the patch's longest side: small organs need them fine."""

PAPER_GRID, PAPER_RATES = 33, (6, 12, 18)
"""DeepLabv3's dilations, and the side of the grid they were chosen for."""

MM_PER_CLASS_SCORE = 0.1
"""Weight of the boundary loss: its millimetres are some ten times as large as an overlap's loss."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person may choose over the planner: the network, and the losses to be summed (none: the planner's)."""

    network: NetworkName = "unet3d"
    losses: tuple[LossName, ...] = ()


@dataclass(frozen=True, slots=True)
class Stages:
    """What the data and the budget ask of any network: patch in voxels, spacing, and its stages from fine to coarse."""

    patch: Triple
    spacing_mm: tuple[float, float, float]
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    channels: tuple[int, ...]

    @property
    def is_wide(self) -> bool:
        """Whether the budget was for a GPU."""
        return self.channels[0] >= WIDE


def choose_network(name: NetworkName, stages: Stages) -> NetworkConfig:
    """The network of that name for the data's stages; they all take the same patch."""
    match name:
        case "unet3d" | "residual_unet3d":
            return _unet(stages, residual=name == "residual_unet3d")
        case "fcn":
            return FCNConfig(
                channels=stages.channels,
                strides=stages.strides,
                kernel_sizes=stages.kernel_sizes,
                skips=min(2, len(stages.channels) - 1),
            )
        case "tiramisu":
            return _tiramisu(stages)
        case "pspnet":
            return PSPNetConfig(
                channels=stages.channels,
                strides=stages.strides,
                kernel_sizes=stages.kernel_sizes,
                output_stride=_output_stride(stages.patch),
            )
        case "deeplabv3":
            return _deeplabv3(stages)
        case "cnn_crf":
            finest = min(stages.spacing_mm)
            steps = 2 if stages.is_wide else 1
            return CnnCrfConfig(
                unary=_unet(stages, residual=False),
                spacing_mm=stages.spacing_mm,
                reach=triple(max(1, int(steps * finest / length)) for length in stages.spacing_mm),
                width_mm=round(1.5 * finest, 4),
            )
        case _:
            assert_never(name)


def choose_losses(
    names: Sequence[LossName], spacing_mm: tuple[float, float, float], regions: Regions | None = None
) -> tuple[LossConfig, ...]:
    """The losses of those names, to be summed; those of overlap for `regions`, where the task has any.

    Raises PlanError where one is named twice, or none of them sees a label's whole extent.
    """
    for name in names:
        if names.count(name) > 1:
            raise PlanError(
                f"the loss {name} is named {names.count(name)} times; name it once and weigh it in the plan"
            )
    if lacking := lack_of_overlap(names):
        raise PlanError(f"{lacking}, as in `--loss dice`.")
    return tuple(_loss(name, spacing_mm, regions) for name in names)


def choice_of(network: NetworkConfig, losses: Sequence[LossConfig]) -> Choice:
    """The choice that leads to such a network and such losses."""
    is_residual = isinstance(network, UNet3DConfig) and network.residual
    return Choice("residual_unet3d" if is_residual else network.kind, tuple(loss.kind for loss in losses))


def _loss(name: LossName, spacing_mm: tuple[float, float, float], regions: Regions | None) -> LossConfig:
    match name:
        case "dice":
            return DiceConfig(regions=regions)
        case "focal":
            return FocalConfig()
        case "cross_entropy":
            return CrossEntropyConfig()
        case "centreline_dice":
            return CentrelineDiceConfig(regions=regions)
        case "boundary":
            return BoundaryConfig(weight=MM_PER_CLASS_SCORE, spacing_mm=spacing_mm, regions=regions)
        case _:
            assert_never(name)


def _unet(stages: Stages, *, residual: bool) -> UNet3DConfig:
    return UNet3DConfig(
        channels=stages.channels,
        strides=stages.strides,
        kernel_sizes=stages.kernel_sizes,
        residual=residual,
        deep_supervision=min(1, max(0, len(stages.strides) - 2)),
    )


def _tiramisu(stages: Stages) -> TiramisuConfig:
    """FC-DenseNet103 on a GPU, with its memory kept in bounds; 56 at half the width on a CPU."""
    layers = LAYERS[103 if stages.is_wide else 56]
    return TiramisuConfig(
        layers=(*layers[: len(stages.strides) - 1], layers[-1]),
        strides=stages.strides,
        kernel_sizes=stages.kernel_sizes,
        growth=stages.channels[0] // 2,
        first_channels=stages.channels[0] * 3 // 2,
        checkpointing=stages.is_wide,
    )


def _deeplabv3(stages: Stages) -> DeepLabV3Config:
    output_stride = _output_stride(stages.patch)
    divisor = divisor_of(dilated(stages.strides, output_stride)[0])
    grid = [side // step for side, step in zip(stages.patch, divisor, strict=True)]
    rates = []
    for paper_rate in PAPER_RATES:
        rates.append(triple(max(1, round(side * paper_rate / PAPER_GRID)) for side in grid))
    return DeepLabV3Config(
        channels=stages.channels,
        strides=stages.strides,
        kernel_sizes=stages.kernel_sizes,
        output_stride=output_stride,
        rates=tuple(rates),
    )


def _output_stride(patch: Triple) -> Literal[2, 4, 8]:
    """The paper's 8 where the patch is large enough for it."""
    if max(patch) >= 8 * COARSEST_GRID:
        return 8
    return 4 if max(patch) >= 4 * COARSEST_GRID else 2
