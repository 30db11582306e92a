"""How far the answers agree that a mean is made of: those of an ensemble's members, and of one patch mirrored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.models.inference.ensemble import MeanNetwork
from medseg.models.inference.sliding_window import mirrored_scores
from medseg.models.spec import SlidingWindow


def members_in(network: nn.Module) -> tuple[nn.Module, ...]:
    """The networks whose mean a network gives; itself where it is none, or is compiled to one."""
    return tuple(network.networks) if isinstance(network, MeanNetwork) else (network,)


def answer_count(network: nn.Module, mirror_axes: tuple[int, ...]) -> int:
    """How many answers are averaged for each patch."""
    return int(len(members_in(network)) * 2 ** len(mirror_axes))


def scores_and_agreement(network: nn.Module, patch: Tensor, window: SlidingWindow) -> Tensor:
    """Scores of classes as `mean_scores` gives them, and one channel more: (1, class + 1, i, j, k) float32.

    The last channel is the share of the answers in which the class is likeliest that is so in their mean.
    """
    total, votes = torch.empty(0), torch.empty(0)
    for member in members_in(network):
        for answer in mirrored_scores(member, patch, window):
            if not total.numel():
                total, votes = torch.zeros_like(answer), torch.zeros_like(answer, dtype=torch.int16)
            total += answer
            winner = answer.argmax(dim=1, keepdim=True)
            votes.scatter_(1, winner, votes.gather(1, winner) + 1)
    count = answer_count(network, window.mirror_axes)
    agreement = votes.gather(1, total.argmax(dim=1, keepdim=True)).float()
    return torch.cat((total, agreement), dim=1).div_(count)
