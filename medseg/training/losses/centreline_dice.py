"""Centreline Dice, clDice (Shit et al. 2021): whether tubes are whole, however thin they are."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.training.losses.targets import Regions, label_masks, label_probabilities

OVER_BATCH_AND_VOXELS = (0, 2, 3, 4)


class CentrelineDiceLoss(nn.Module):
    """1 minus the mean soft centreline Dice of the labels; background does not count.

    Of each label the harmonic mean of two parts: of the predicted skeleton that lies in the true mask, and of the true
    skeleton that lies in the predicted mask; summed over the batch first. `smooth` voxels are added to each part's
    numerator and denominator, so that a label that is absent from batch and prediction costs nothing.
    """

    def __init__(self, iterations: int, smooth: float, regions: Regions | None = None) -> None:
        super().__init__()
        self.regions = regions
        self.iterations = iterations
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        return self.from_sums(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of the predicted, then of the true skeleton of each label: what lies inside, and all: (4, label)."""
        probabilities = label_probabilities(logits, target, self.regions)
        truth = label_masks(target, logits.shape[1], self.regions).to(probabilities.dtype)
        sums = []
        for skeleton, mask in (
            (soft_skeleton(probabilities, self.iterations), truth),
            (soft_skeleton(truth, self.iterations), probabilities),
        ):
            sums += [(skeleton * mask).sum(OVER_BATCH_AND_VOXELS), skeleton.sum(OVER_BATCH_AND_VOXELS)]
        return torch.stack(sums)

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss from the batch's sums."""
        found_inside, found, true_inside, true = sums.unbind()
        precision = (found_inside + self.smooth) / (found + self.smooth)
        sensitivity = (true_inside + self.smooth) / (true + self.smooth)
        dice = 2 * precision * sensitivity / (precision + sensitivity)
        return 1 - dice.mean()


class CentrelineDiceConfig(BaseModel):
    """For vessels and other tubes, beside a loss that sees their width: this one does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["centreline_dice"] = "centreline_dice"
    weight: float = Field(default=1.0, gt=0)
    iterations: int = Field(default=3, ge=0)
    """Erosions: at least the radius, in voxels, of the widest tube."""
    smooth: float = Field(default=1.0, gt=0)
    regions: Regions | None = None
    """Structures to be trained for in place of the single labels, by class numbers."""

    def build(self) -> CentrelineDiceLoss:
        return CentrelineDiceLoss(self.iterations, self.smooth, self.regions)


def soft_skeleton(masks: Tensor, iterations: int) -> Tensor:
    """What opening takes away after each of so many erosions, gathered: ridges of masks (batch, label, i, j, k)."""
    skeleton = torch.zeros_like(masks)
    for _ in range(iterations + 1):
        eroded = soft_eroded(masks)
        ridge = F.relu(masks - soft_dilated(eroded))
        skeleton = skeleton + F.relu(ridge - skeleton * ridge)
        masks = eroded
    return skeleton


def soft_eroded(masks: Tensor) -> Tensor:
    """The least of each voxel and its six neighbours. Beyond the border nothing is taken away."""
    least = masks
    for axis in (2, 3, 4):
        least = torch.minimum(least, torch.minimum(*_neighbours(masks, axis, torch.inf)))
    return least


def soft_dilated(masks: Tensor) -> Tensor:
    """The greatest of each voxel and its 26 neighbours."""
    for axis in (2, 3, 4):
        masks = torch.maximum(masks, torch.maximum(*_neighbours(masks, axis, -torch.inf)))
    return masks


def _neighbours(masks: Tensor, axis: int, beyond: float) -> tuple[Tensor, Tensor]:
    """Each voxel's neighbours before and after it along an axis.

    Shifts, not max pooling: torch's own, in 3-D, has no gradient that can be repeated on a GPU.
    """
    length = masks.shape[axis]
    border = torch.full_like(masks.narrow(axis, 0, 1), beyond)
    before = torch.cat([border, masks.narrow(axis, 0, length - 1)], dim=axis)
    after = torch.cat([masks.narrow(axis, 1, length - 1), border], dim=axis)
    return before, after
