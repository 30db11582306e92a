"""From a fingerprint to a plan, by named rules: pure functions of numbers, each with its reason.

The rules for spacing, patch shape and depth follow nnU-Net (Isensee et al. 2021); those for channels, batch and
schedule follow from the budget: the memory of a GPU, or the memory and the minutes of a CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.task import Task
from medseg.imaging.preparing.normalize import FixedScale, NormalizationConfig, ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.training.augment import AugmentationConfig
from medseg.training.planning.fingerprint import ChannelFacts, Fingerprint
from medseg.training.planning.ladder import RELATIVE_MEMORY, Choice, Stages, choose_network
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.training.planning.targets import choose_foreground_fraction, choose_target_losses

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

ANISOTROPY = 3.0
"""A grid is anisotropic where one axis is this much coarser than the finest (Isensee et al. 2021)."""

SMALLEST_STAGE = 4
"""An axis is halved only while at least this many voxels remain."""

SIDES = {"7771000", "24028007"}
"""SNOMED CT: left, right."""

FEWEST_STAGES, MOST_STAGES = 3, 6
MOST_CHANNELS = 320
BYTES_PER_ACTIVATION = 40
"""Bytes of training for each voxel and channel of the finest stage, all stages counted: `benchmarks/training/memory.py`
measured a growth of about 36 for the U-Net in bfloat16, above some 0.3 GB that are there whatever the size."""

FEW_SUBJECTS = 10
"""Fewer subjects than this show a network too little of how people differ: it must be shown made differences."""

DEFAULT_CHOICE = Choice()


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training may use: a kind of device, its memory, and the minutes it may take (None: by epochs)."""

    device: Literal["cpu", "cuda"] = "cpu"
    memory_gb: float = 8.0
    minutes: float | None = None


def make_plan(task: Task, fingerprint: Fingerprint, budget: Budget, choice: Choice = DEFAULT_CHOICE) -> Plan:
    """The plan for a data set within a budget. Raises PlanError where nothing fits, or the choice cannot be trained."""
    spacing = choose_spacing(fingerprint)
    memory = RELATIVE_MEMORY[choice.network][budget.device]
    patch, strides, kernels = choose_patch_and_stages(fingerprint.median_shape(spacing), spacing, budget, memory)
    channels = choose_channels(len(strides), budget)
    batch_size = choose_batch_size(patch, channels[0], budget, memory)
    network = choose_network(choice.network, Stages(patch, spacing, strides, kernels, channels))
    mirror_axes = choose_mirror_axes(task)
    model = ModelSpec(
        task=task,
        preparation=Preparation(
            spacing_mm=spacing, normalization=tuple(choose_normalization(c) for c in fingerprint.channels)
        ),
        network=network,
        window=SlidingWindow(patch=patch, mirror_axes=mirror_axes),
    )
    steps = max(25, math.ceil(len(fingerprint.cases) / batch_size))
    epochs = 100 if budget.device == "cpu" else 500
    return Plan(
        model=model,
        training=TrainingSpec(
            batch_size=batch_size,
            steps_per_epoch=steps,
            epochs=epochs,
            minutes=budget.minutes,
            foreground_fraction=choose_foreground_fraction(fingerprint, spacing, patch, batch_size),
            augmentation=choose_augmentation(fingerprint.subject_count, mirror_axes),
            loss=choose_target_losses(task, fingerprint, spacing, choice.losses),
        ),
    )


def choose_spacing(fingerprint: Fingerprint) -> Spacing:
    """The median spacing; along an axis much coarser than the others its 10th percentile, to lose fewer thin slices."""
    median = np.asarray(fingerprint.median_spacing_mm)
    spacing = median.copy()
    coarsest = int(median.argmax())
    others = np.delete(median, coarsest)
    if median[coarsest] > ANISOTROPY * others.max():
        coarse = np.percentile([case.spacing_mm[coarsest] for case in fingerprint.cases], 10)
        spacing[coarsest] = max(coarse, others.max())
    i, j, k = (round(float(length), 4) for length in spacing)
    return i, j, k


def choose_normalization(channel: ChannelFacts) -> NormalizationConfig:
    """Fixed numbers where a value means the same in every scan (HU, SUV); each scan's own mean and SD elsewhere."""
    if channel.unit in ("HU", "SUVbw") and channel.sd > 0 and channel.percentile_00_5 < channel.percentile_99_5:
        # CT's foreground percentiles cut metal and air; uptake must keep its zero and its hottest lesion.
        lower = channel.percentile_00_5 if channel.unit == "HU" else 0.0
        upper = channel.percentile_99_5 if channel.unit == "HU" else 2 * channel.percentile_99_5
        return FixedScale(lower=lower, upper=upper, mean=channel.mean, sd=channel.sd)
    return ZScore()


def choose_patch_and_stages(
    median_shape: Triple, spacing_mm: Spacing, budget: Budget, relative_memory: float = 1.0
) -> tuple[Triple, tuple[Triple, ...], tuple[Triple, ...]]:
    """Patch, strides and kernel sizes: the patch takes the shape of the median scan, as large as the budget allows."""
    most_voxels = most_patch_voxels(budget, relative_memory)
    shape = np.asarray(median_shape, dtype=float)
    shape[int(shape.argmax())] = max(
        shape.max(), SMALLEST_STAGE * 2 ** (FEWEST_STAGES - 1)
    )  # what is missing is padded
    while True:
        whole = np.maximum(np.round(shape), 1).astype(int)
        strides, kernels = choose_stages((int(whole[0]), int(whole[1]), int(whole[2])), spacing_mm)
        divisor = np.prod(strides, axis=0)
        patch = np.maximum(np.ceil(whole / divisor), 1).astype(int) * divisor
        if patch.prod() <= most_voxels or shape.max() <= SMALLEST_STAGE:
            return (int(patch[0]), int(patch[1]), int(patch[2])), strides, kernels
        longest_mm = shape * np.asarray(spacing_mm)
        shape[int(longest_mm.argmax())] *= 0.95  # shorten the longest side until the patch fits


def choose_stages(shape: Triple, spacing_mm: Spacing) -> tuple[tuple[Triple, ...], tuple[Triple, ...]]:
    """Strides and kernel sizes from fine to coarse: an axis is halved while it is long, and not yet the coarsest."""
    size, spacing = np.asarray(shape), np.asarray(spacing_mm, dtype=float)
    strides: list[Triple] = [(1, 1, 1)]
    kernels: list[Triple] = [_kernel(spacing)]
    while len(strides) < MOST_STAGES:
        may_halve = (size >= 2 * SMALLEST_STAGE) & (
            spacing <= 2 * spacing[size >= 2 * SMALLEST_STAGE].min(initial=np.inf)
        )
        if not may_halve.any():
            break
        stride = np.where(may_halve, 2, 1)
        size, spacing = np.ceil(size / stride).astype(int), spacing * stride
        strides.append((int(stride[0]), int(stride[1]), int(stride[2])))
        kernels.append(_kernel(spacing))
    if len(strides) < FEWEST_STAGES:
        raise PlanError(f"patches of {shape} voxels are too small for a U-Net of {FEWEST_STAGES} stages")
    return tuple(strides), tuple(kernels)


def choose_mirror_axes(task: Task) -> tuple[int, ...]:
    """Left-right, since a patient's mirror image is a possible patient, unless a label is told by its side.

    Front-back and head-feet are left out: no patient looks like that, and a short training would spend half of itself
    on them.
    """
    is_sided = any(label.modifier is not None and label.modifier.value in SIDES for label in task.labels)
    return () if is_sided else (0,)


def choose_augmentation(subjects: int, mirror_axes: tuple[int, ...]) -> AugmentationConfig:
    """The default, a little milder than nnU-Net's; with few subjects nnU-Net's full reach of turn and zoom.

    Theirs is a turn of up to 30 degrees and a zoom of 0.7 to 1.4, evenly drawn (Isensee et al. 2021, supplement): as
    standard deviations 17 degrees and 0.2.
    """
    if subjects >= FEW_SUBJECTS:
        return AugmentationConfig(mirror_axes=mirror_axes)
    return AugmentationConfig(mirror_axes=mirror_axes, rotation_degrees=17.0, scale=0.2)


def most_patch_voxels(budget: Budget, relative_memory: float = 1.0) -> int:
    """The largest patch worth its time: on a CPU steps must stay short, on a GPU two patches must fit its memory."""
    if budget.device == "cpu":
        return 96_000
    by_memory = budget.memory_gb * 2**30 * 0.8 / (2 * 32 * BYTES_PER_ACTIVATION * relative_memory)
    return int(min(by_memory, 192**3))


def choose_channels(stages: int, budget: Budget) -> tuple[int, ...]:
    """Channels of each stage, doubling: fewer on a CPU, where many quick steps teach more than few slow ones."""
    first = 16 if budget.device == "cpu" else 32
    return tuple(min(MOST_CHANNELS, first * 2**stage) for stage in range(stages))


def choose_batch_size(patch: Triple, first_channels: int, budget: Budget, relative_memory: float = 1.0) -> int:
    """As many patches as the memory holds, to 2 on a CPU and to 16 on a GPU. Raises PlanError below one."""
    bytes_per_patch = training_bytes(patch, first_channels, relative_memory)
    fitting = int(budget.memory_gb * 2**30 * 0.8 / bytes_per_patch)
    if fitting < 1:
        raise PlanError(
            f"one patch of {patch} needs about {bytes_per_patch / 2**30:.1f} GB to train, the budget is "
            f"{budget.memory_gb:g} GB. Give more memory, or lower the patch in the plan."
        )
    return min(fitting, 2 if budget.device == "cpu" else 16)


def training_bytes(patch: Triple, first_channels: int, relative_memory: float = 1.0) -> float:
    """Bytes that a training step takes for each patch of a batch."""
    return math.prod(patch) * first_channels * BYTES_PER_ACTIVATION * relative_memory


def _kernel(spacing: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Triple:
    """3 along each axis; 1 along an axis still so coarse that its neighbours tell little."""
    i, j, k = (1 if length > 2 * spacing.min() else 3 for length in spacing)
    return i, j, k
