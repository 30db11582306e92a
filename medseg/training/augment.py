"""Random changes of a batch that leave its truth true: geometry of image and mask together, intensity of the image.

All of a batch is changed at once, on the device that trains, with numbers drawn from one generator, so that a step can
be repeated exactly.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
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


class Augmentation:
    """`change(images, masks, generator)` for one spacing; anisotropic voxels are turned as what they are in mm."""

    def __init__(self, config: AugmentationConfig, spacing_mm: tuple[float, float, float]) -> None:
        self._config = config
        self._spacing = torch.tensor(spacing_mm, dtype=torch.float32)

    def change(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """New images (batch, channel, i, j, k) and masks (batch, i, j, k) from old ones, on the same device."""
        images, masks = self._move(images, masks, generator)
        return self._shade(images, generator), masks

    def _move(self, images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        shape = images.shape[2:]
        matrices = torch.stack([self._matrix(shape, generator) for _ in range(len(images))]).to(images.device)
        grid = F.affine_grid(matrices, [len(images), 1, *shape], align_corners=False)
        moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        truth = F.grid_sample(
            masks[:, None].to(images.dtype), grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
        return moved, truth[:, 0].to(masks.dtype)

    def _matrix(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """A 3 x 4 matrix for `affine_grid`, whose axes run k, j, i from -1 to 1 over the patch."""
        config = self._config
        turn = torch.eye(3)
        chance = torch.rand((), generator=generator)
        angles = torch.randn(3, generator=generator) * math.radians(config.rotation_degrees)
        zoom = torch.exp(torch.randn(3, generator=generator) * config.scale)
        mirrored = torch.rand(3, generator=generator) < 0.5
        if chance < config.turn_chance:
            turn = _rotation(angles) @ torch.diag(zoom)
        signs = torch.tensor([-1.0 if axis in config.mirror_axes and mirrored[axis] else 1.0 for axis in range(3)])
        half_mm = torch.tensor([float(n) for n in shape]) * self._spacing / 2
        unit = torch.diag(1 / half_mm) @ turn @ torch.diag(half_mm) @ torch.diag(signs)
        return torch.cat([unit.flip(0, 1), torch.zeros(3, 1)], dim=1)

    def _shade(self, images: Tensor, generator: torch.Generator) -> Tensor:
        config = self._config
        count = len(images)

        def drawn(chance: float, values: Tensor, otherwise: float) -> Tensor:
            chosen = torch.rand(count, generator=generator) < chance
            return torch.where(chosen, values, torch.tensor(otherwise)).view(count, 1, 1, 1, 1).to(images.device)

        def between(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        contrast = drawn(config.intensity_chance, between(1 - config.contrast, 1 + config.contrast), 1.0)
        brightness = drawn(config.intensity_chance, torch.randn(count, generator=generator) * config.brightness, 0.0)
        gamma = drawn(config.intensity_chance, torch.exp(between(-config.gamma, config.gamma)), 1.0)
        noise_sd = drawn(config.noise_chance, between(0, config.noise_sd), 0.0)
        blur = drawn(config.blur_chance, between(0.3, max(0.3, config.blur_voxels)), 0.0)
        images = images * contrast + brightness
        low, high = images.amin((2, 3, 4), keepdim=True), images.amax((2, 3, 4), keepdim=True)
        span = (high - low).clamp_min(1e-6)
        images = ((images - low) / span) ** gamma * span + low
        for index in torch.nonzero(blur.flatten() > 0).flatten().tolist():
            images[index] = _blurred(images[index], float(blur.flatten()[index]))
        noise = torch.randn(images.shape, generator=generator).to(images.device)
        return images + noise * noise_sd


def _rotation(angles: Tensor) -> Tensor:
    """A rotation matrix from angles in radians about the first, second and third axis."""
    turn = torch.eye(3)
    for axis in range(3):
        first, second = [other for other in range(3) if other != axis]
        about = torch.eye(3)
        cosine, sine = torch.cos(angles[axis]), torch.sin(angles[axis])
        about[first, first], about[second, second] = cosine, cosine
        about[first, second], about[second, first] = -sine, sine
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
