"""Soft Dice loss (Milletari et al. 2016), pooled over the batch as in nnU-Net (Isensee et al. 2021)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from medseg.training.losses.targets import Regions, label_masks, label_probabilities


class DiceLoss(nn.Module):
    """1 minus the mean soft Dice of the labels; background does not count.

    Overlaps are summed over the whole batch before the ratio is taken, so that a patch without a label costs a label's
    false positives and nothing else. `smooth` keeps a label that is absent from batch and prediction at a loss of 0.
    """

    def __init__(self, smooth: float, regions: Regions | None = None) -> None:
        super().__init__()
        self.regions = regions
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        return self.from_sums(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Overlap and total of each label: (2, label)."""
        probabilities = label_probabilities(logits, target, self.regions)
        truth = label_masks(target, logits.shape[1], self.regions).to(probabilities.dtype)
        over = (0, 2, 3, 4)
        overlap = (probabilities * truth).sum(over)
        return torch.stack([overlap, probabilities.sum(over) + truth.sum(over)])

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss from the batch's sums."""
        overlap, total = sums.unbind()
        dice = (2 * overlap + self.smooth) / (total + self.smooth)
        return 1 - dice.mean()


class DiceConfig(BaseModel):
    """Overlap of each label, whatever its size: what is measured in the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dice"] = "dice"
    weight: float = Field(default=1.0, gt=0)
    smooth: float = Field(default=1e-5, gt=0)
    regions: Regions | None = None
    """Structures to be trained for in place of the single labels, by class numbers."""

    def build(self) -> DiceLoss:
        return DiceLoss(self.smooth, self.regions)
