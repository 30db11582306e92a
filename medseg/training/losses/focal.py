"""Focal loss (Lin et al. 2017): softmax cross-entropy that looks away from voxels already right."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.training.losses.targets import IGNORED, is_known


class FocalLoss(nn.Module):
    """The mean over voxels of -(1 - p)^gamma log p, where p is the probability of the voxel's true class."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        return self.from_sums(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """The sum over the known voxels, and their number."""
        cross_entropy = F.cross_entropy(logits.float(), target, reduction="none", ignore_index=IGNORED)
        # Kept above 0, where a power below 1 has no finite slope.
        miss = (1 - (-cross_entropy).exp()).clamp_min(torch.finfo(torch.float32).eps)
        known = is_known(target)
        return torch.stack([(miss**self.gamma * cross_entropy * known).sum(), known.sum()])

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss from the batch's sums; 0 where no voxel is known."""
        total, known = sums.unbind()
        return total / known.clamp_min(1)


class FocalConfig(BaseModel):
    """Every voxel counts, hard ones most; gamma 0 is plain cross-entropy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["focal"] = "focal"
    weight: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=2.0, ge=0)

    def build(self) -> FocalLoss:
        return FocalLoss(self.gamma)
