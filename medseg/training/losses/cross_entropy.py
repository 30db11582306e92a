"""Softmax cross-entropy, voxel by voxel, with a weight for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.core.errors import PlanError
from medseg.training.losses.targets import IGNORED, is_known


class CrossEntropyLoss(nn.Module):
    """The mean of -log p over voxels, each weighted by its class; p is the probability of the voxel's true class."""

    def __init__(self, class_weights: Sequence[float] | None) -> None:
        super().__init__()
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        return self.from_sums(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """The weighted sum over the known voxels, and the sum of their weights.

        Raises PlanError where the weights are not one for each class.
        """
        weights = self.class_weights
        if weights is None:
            weights = torch.ones(logits.shape[1])
        if len(weights) != logits.shape[1]:
            raise PlanError(
                f"cross_entropy has {len(weights)} class weights, the network scores {logits.shape[1]} classes. "
                "Give one for each, the background's first, or leave class_weights out of the plan."
            )
        weights = weights.to(logits.device)
        cross_entropy = F.cross_entropy(logits.float(), target, reduction="none", ignore_index=IGNORED)
        of_voxel = weights[torch.where(is_known(target), target, 0)] * is_known(target)
        return torch.stack([(of_voxel * cross_entropy).sum(), of_voxel.sum()])

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss from the batch's sums; 0 where no voxel is known."""
        total, weight = sums.unbind()
        return total / weight.clamp_min(torch.finfo(torch.float32).tiny)


class CrossEntropyConfig(BaseModel):
    """Every voxel counts as much as its class weighs."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["cross_entropy"] = "cross_entropy"
    weight: float = Field(default=1.0, gt=0)
    class_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """One for each class, the background's first; left out, all are 1."""

    def build(self) -> CrossEntropyLoss:
        return CrossEntropyLoss(self.class_weights)
