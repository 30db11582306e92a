"""Focal loss (Lin et al. 2017): softmax cross-entropy that looks away from voxels already right."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.training.losses.targets import IGNORED, mean_of_known


class FocalLoss(nn.Module):
    """The mean over voxels of -(1 - p)^gamma log p, where p is the probability of the voxel's true class."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        cross_entropy = F.cross_entropy(logits.float(), target, reduction="none", ignore_index=IGNORED)
        # Kept above 0, where a power below 1 has no finite slope.
        miss = (1 - (-cross_entropy).exp()).clamp_min(torch.finfo(torch.float32).eps)
        return mean_of_known(miss**self.gamma * cross_entropy, target)


class FocalConfig(BaseModel):
    """Every voxel counts, hard ones most; gamma 0 is plain cross-entropy."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["focal"] = "focal"
    weight: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=2.0, ge=0)

    def build(self) -> FocalLoss:
        return FocalLoss(self.gamma)
