"""Boundary loss (Kervadec et al. 2019): a wrong voxel costs its distance from the true surface."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from medseg.training.losses.targets import Regions, is_known, label_masks, label_probabilities

Length = Annotated[float, Field(gt=0)]
Spacing = tuple[float, float, float]


class BoundaryLoss(nn.Module):
    """The mean over labels and known voxels of |p - truth| times the distance in mm to the label's true surface.

    This is the paper's loss plus the constant that it drops, so that a perfect prediction costs 0. A label that a patch
    has nothing of, or is full of, has no surface there and costs nothing: a loss of overlap must see to it.
    """

    def __init__(self, spacing_mm: Spacing, regions: Regions | None = None) -> None:
        super().__init__()
        self.regions = regions
        self.spacing_mm = spacing_mm

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar in mm from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""
        return self.from_sums(self.sums(logits, target))

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """The sum over labels and voxels in mm, and the number of known voxels times that of labels."""
        probabilities = label_probabilities(logits, target, self.regions)
        truth = label_masks(target, logits.shape[1], self.regions)
        excess = probabilities - truth.to(probabilities.dtype)
        distance_mm = (signed_distance_mm(truth, self.spacing_mm) * excess).sum()
        return torch.stack([distance_mm, is_known(target).sum() * truth.shape[1]])

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss from the batch's sums; 0 where no voxel is known."""
        distance_mm, voxels = sums.unbind()
        return distance_mm / voxels.clamp_min(1)


class BoundaryConfig(BaseModel):
    """For thin structures and exact surfaces, beside a loss of overlap: alone it tends to an empty mask."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["boundary"] = "boundary"
    weight: float = Field(default=1.0, gt=0)
    spacing_mm: tuple[Length, Length, Length] = (1.0, 1.0, 1.0)
    """Of the prepared image."""
    regions: Regions | None = None
    """Structures to be trained for in place of the single labels, by class numbers."""

    def build(self) -> BoundaryLoss:
        return BoundaryLoss(self.spacing_mm, self.regions)


@torch.no_grad()
def signed_distance_mm(masks: Tensor, spacing_mm: Spacing) -> Tensor:
    """Distance of each voxel to the nearest of the other side, negative inside; float32 in the shape of the masks.

    From masks (batch, label, i, j, k) bool. A mask that is empty or full has no other side: 0 throughout.
    """
    outside = _squared_distance_mm(masks, spacing_mm)
    inside = _squared_distance_mm(~masks, spacing_mm)
    signed = outside.sqrt() - inside.sqrt()
    return torch.where(signed.isfinite(), signed, 0.0)


def _squared_distance_mm(masks: Tensor, spacing_mm: Spacing) -> Tensor:
    """Exact squared distance of each voxel to the nearest of its mask; infinite where the mask is empty.

    One axis after the other, as by Felzenszwalb and Huttenlocher (2012), but each line against every place on it: that
    is as quick as their envelopes for the length of a patch's side, and runs where the network runs.
    """
    squared = torch.where(masks, 0.0, torch.inf)
    for axis, length in enumerate(spacing_mm, start=2):
        count = squared.shape[axis]
        place = torch.arange(count, device=masks.device, dtype=torch.float32) * length
        shape = [1, 1, 1, 1, 1]
        shape[axis] = count
        nearest = torch.full_like(squared, torch.inf)
        for index in range(count):
            step = (place - place[index]).square().view(shape)
            nearest = torch.minimum(nearest, squared.narrow(axis, index, 1) + step)
        squared = nearest
    return squared
