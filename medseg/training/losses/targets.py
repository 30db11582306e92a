"""Targets as the losses read them: class numbers, and voxels that nobody has judged."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from medseg.core.labels import IGNORED_CLASS

Regions = tuple[tuple[Annotated[int, Field(ge=1)], ...], ...]
"""Structures that may overlap, each by the numbers of its classes."""

IGNORED = IGNORED_CLASS
"""The class number of a voxel whose truth is not known: no loss asks anything of it."""


def is_known(target: Tensor) -> Tensor:
    """True where the truth is known, from class numbers (batch, i, j, k)."""
    return target != IGNORED


def label_masks(target: Tensor, classes: int, regions: Regions | None = None) -> Tensor:
    """Whether a voxel is of each label, background left out: (batch, class - 1, i, j, k) bool; nowhere if ignored.

    With `regions`, whether it is of each of those: (batch, region, i, j, k).
    """
    labels = torch.arange(1, classes, device=target.device, dtype=target.dtype)
    masks = target[:, None] == labels.view(1, -1, 1, 1, 1)
    if regions is None:
        return masks
    return torch.stack([masks[:, [n - 1 for n in region]].any(dim=1) for region in regions], dim=1)


def label_probabilities(logits: Tensor, target: Tensor, regions: Regions | None = None) -> Tensor:
    """The probability of each label, background left out: (batch, class - 1, i, j, k) float32; 0 where ignored.

    With `regions`, of each of those: the sum over its classes, since a voxel is of one class only. So regions that
    contain each other are never at odds, and a model trained for them is run like any other.
    """
    probabilities = logits.float().softmax(dim=1)[:, 1:] * is_known(target)[:, None]
    if regions is None:
        return probabilities
    return torch.stack([probabilities[:, [n - 1 for n in region]].sum(dim=1) for region in regions], dim=1)
