"""Random changes of a batch that leave its truth true: geometry of image and mask together, intensity of the image.

All of a batch is changed at once, on the device that trains, each patch by numbers drawn from its own seed: a step can
be repeated exactly, and shared between processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

Chance = Annotated[float, Field(ge=0, le=1)]


class AugmentationConfig(BaseModel):
    """How often, and how far: the changes of nnU-Net (Isensee et al. 2021, supplement), a little milder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turn_chance: Chance = 0.5
    rotation_degrees: float = Field(default=10.0, ge=0)
    """Standard deviation of the turn about each axis."""
    scale: float = Field(default=0.12, ge=0)
    """Standard deviation of the logarithm of the zoom along each axis."""
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = (0,)
    intensity_chance: Chance = 0.3
    """Chance of each of: contrast, brightness, gamma."""
    contrast: float = Field(default=0.3, ge=0, lt=1)
    brightness: float = Field(default=0.2, ge=0)
    gamma: float = Field(default=0.5, ge=0)
    """Largest logarithm of the exponent."""
    noise_chance: Chance = 0.2
    noise_sd: float = Field(default=0.3, ge=0)
    """Largest standard deviation of the noise, in standard deviations of the normalised image."""
    blur_chance: Chance = 0.1
    blur_voxels: float = Field(default=1.0, ge=0)
    """Largest standard deviation of the blur, in voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What is done to one patch: a 3 x 4 matrix for torch's `affine_grid`, then a contrast, a brightness, a gamma.

    `blur_voxels` and `noise_sd` are standard deviations, 0 for none; the noise itself comes from `noise_seed`.
    """

    matrix: NDArray[np.float64]
    contrast: float
    brightness: float
    gamma: float
    blur_voxels: float
    noise_sd: float
    noise_seed: int


class Augmentation:
    """`change(images, masks, seeds)` for one spacing; anisotropic voxels are turned as what they are in mm."""

    def __init__(self, config: AugmentationConfig, spacing_mm: tuple[float, float, float]) -> None:
        self._config = config
        self._spacing = np.asarray(spacing_mm)

    def change(self, images: Tensor, masks: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """New images (batch, channel, i, j, k) and masks (batch, i, j, k) from old ones, on the same device.

        Each patch is changed by its own seed alone, whatever else is in the batch.
        """
        changes = [self._drawn(tuple(images.shape[2:]), seed) for seed in seeds]
        images, masks = _moved(images, masks, changes)
        return _shaded(images, changes), masks

    def _drawn(self, shape: tuple[int, ...], seed: int) -> Change:
        config = self._config
        generator = np.random.default_rng(seed)

        def by(chance: float, value: float, otherwise: float) -> float:
            return value if generator.random() < chance else otherwise

        return Change(
            matrix=self._matrix(shape, generator),
            contrast=by(config.intensity_chance, generator.uniform(1 - config.contrast, 1 + config.contrast), 1.0),
            brightness=by(config.intensity_chance, generator.normal() * config.brightness, 0.0),
            gamma=by(config.intensity_chance, math.exp(generator.uniform(-config.gamma, config.gamma)), 1.0),
            blur_voxels=by(config.blur_chance, generator.uniform(0.3, max(0.3, config.blur_voxels)), 0.0),
            noise_sd=by(config.noise_chance, generator.uniform(0, config.noise_sd), 0.0),
            noise_seed=int(generator.integers(2**32)),
        )

    def _matrix(self, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
        """A 3 x 4 matrix for `affine_grid`, whose axes run k, j, i from -1 to 1 over the patch."""
        config = self._config
        turn = np.eye(3)
        angles = generator.normal(size=3) * math.radians(config.rotation_degrees)
        zoom = np.exp(generator.normal(size=3) * config.scale)
        mirrored = generator.random(3) < 0.5
        if generator.random() < config.turn_chance:
            turn = _rotation(angles) @ np.diag(zoom)
        signs = np.array([-1.0 if axis in config.mirror_axes and mirrored[axis] else 1.0 for axis in range(3)])
        half_mm = np.array(shape) * self._spacing / 2
        unit = np.diag(1 / half_mm) @ turn @ np.diag(half_mm * signs)
        return np.concatenate([unit[::-1, ::-1], np.zeros((3, 1))], axis=1)


def _moved(images: Tensor, masks: Tensor, changes: Sequence[Change]) -> tuple[Tensor, Tensor]:
    matrices = torch.from_numpy(np.stack([change.matrix for change in changes])).to(images.device, images.dtype)
    grid = F.affine_grid(matrices, [len(images), 1, *images.shape[2:]], align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    truth = F.grid_sample(
        masks[:, None].to(images.dtype), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return moved, truth[:, 0].to(masks.dtype)


def _shaded(images: Tensor, changes: Sequence[Change]) -> Tensor:
    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=images.dtype).view(-1, 1, 1, 1, 1).to(images.device)

    images = images * each([c.contrast for c in changes]) + each([c.brightness for c in changes])
    low, high = images.amin((2, 3, 4), keepdim=True), images.amax((2, 3, 4), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    images = ((images - low) / span) ** each([c.gamma for c in changes]) * span + low
    for index, change in enumerate(changes):
        if change.blur_voxels > 0:
            images[index] = _blurred(images[index], change.blur_voxels)
        if change.noise_sd > 0:
            generator = torch.Generator(images.device).manual_seed(change.noise_seed)
            noise = torch.randn(images[index].shape, generator=generator, device=images.device, dtype=images.dtype)
            images[index] += noise * change.noise_sd
    return images


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation matrix from angles in radians about the first, second and third axis."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        about = np.eye(3)
        about[first, first] = about[second, second] = math.cos(angle)
        about[first, second], about[second, first] = -math.sin(angle), math.sin(angle)
        turn = turn @ about
    return turn


def _blurred(image: Tensor, sd_voxels: float) -> Tensor:
    """The image (channel, i, j, k) after a Gaussian along each axis."""
    reach = max(1, math.ceil(2 * sd_voxels))
    place = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    weights = torch.exp(-0.5 * (place / sd_voxels) ** 2)
    weights = weights / weights.sum()
    result = image[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[axis + 2] = len(weights)
        padding = [0, 0, 0, 0, 0, 0]
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        result = F.conv3d(F.pad(result, padding, mode="replicate"), weights.view(shape))
    return result[:, 0]
