"""The one list of losses, and their weighted sum over all heads of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from pydantic import Field
from torch import Tensor, nn

from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.cross_entropy import CrossEntropyConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig

LossConfig = Annotated[
    DiceConfig | FocalConfig | CrossEntropyConfig | CentrelineDiceConfig | BoundaryConfig, Field(discriminator="kind")
]

NEEDS_OVERLAP = frozenset({"centreline_dice", "boundary"})
"""Losses that do not see a label's whole extent, and so cannot train a network alone."""

COARSER_HEAD = 0.5
"""Each coarser head of deep supervision weighs this much of the next finer one (Isensee et al. 2021)."""


def lack_of_overlap(kinds: Sequence[str]) -> str | None:
    """A sentence where none of the losses of these kinds sees a label's whole extent; None where one does."""
    if not NEEDS_OVERLAP.issuperset(kinds):
        return None
    return (
        f"{' and '.join(kinds)} cannot train a network alone: nothing in it asks for a label's whole extent. "
        "Add a loss of overlap"
    )


class PooledLoss(Protocol):
    """A loss as a function of sums over the voxels of a batch, so that a batch can be summed up in parts."""

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """What is added up, from class scores (batch, class, i, j, k) and class numbers (batch, i, j, k)."""

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss, a scalar."""


class WeightedSum(nn.Module):
    """The weighted sum of several losses, averaged over the heads of deep supervision."""

    def __init__(self, terms: Sequence[LossConfig]) -> None:
        super().__init__()
        self.weights = [term.weight for term in terms]
        self.losses: list[PooledLoss] = [term.build() for term in terms]

    def forward(self, heads: Sequence[Tensor], target: Tensor) -> Tensor:
        """A scalar from the heads' class scores (batch, class, i, j, k), finest first, and classes (batch, i, j, k)."""
        return self.from_sums(self.sums(heads, target))

    def sums(self, heads: Sequence[Tensor], target: Tensor) -> list[Tensor]:
        """The sums of each loss for the finest head, then those for the next; sums of parts of a batch add up."""
        return [loss.sums(logits, target) for logits in heads for loss in self.losses]

    def from_sums(self, sums: Sequence[Tensor]) -> Tensor:
        """The scalar from the sums over a whole batch."""
        head_weights = [COARSER_HEAD**level for level in range(len(sums) // len(self.losses))]
        total = sums[0].new_zeros(())
        for index, of_term in enumerate(sums):
            level, term = divmod(index, len(self.losses))
            total = total + head_weights[level] * self.weights[term] * self.losses[term].from_sums(of_term)
        return total / sum(head_weights)
