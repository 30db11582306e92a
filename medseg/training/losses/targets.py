"""Targets as the losses read them: class numbers, and voxels that nobody has judged."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = 255
"""The class number of a voxel whose truth is not known: no loss asks anything of it."""


def is_known(target: Tensor) -> Tensor:
    """True where the truth is known, from class numbers (batch, i, j, k)."""
    return target != IGNORED


def label_masks(target: Tensor, classes: int) -> Tensor:
    """Whether a voxel is of each label, background left out: (batch, class - 1, i, j, k) bool; nowhere if ignored."""
    labels = torch.arange(1, classes, device=target.device, dtype=target.dtype)
    return target[:, None] == labels.view(1, -1, 1, 1, 1)


def label_probabilities(logits: Tensor, target: Tensor) -> Tensor:
    """The probability of each label, background left out: (batch, class - 1, i, j, k) float32; 0 where ignored."""
    probabilities = logits.float().softmax(dim=1)[:, 1:]
    return probabilities * is_known(target)[:, None]
