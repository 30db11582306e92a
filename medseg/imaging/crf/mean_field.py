"""Mean-field inference of a Potts model: what each voxel believes, given what the others believe.

The energy of a labelling x is

    E(x) = sum_i -log p_i(x_i) + sum_{i<j} k_ij [x_i != x_j]

with the model's own probabilities p and couplings k_ij >= 0. Mean field looks for the product of independent beliefs Q
nearest to exp(-E) in Kullback-Leibler divergence, which means to lower

    F(Q) = sum_i sum_l Q_i(l) (log Q_i(l) - log p_i(l)) - 1/2 sum_i sum_l Q_i(l) m_i(l),    m_i = sum_j k_ij Q_j

by setting Q_i to softmax(log p_i + m_i) again and again. All voxels may be set at once where the couplings, taken as a
matrix, have no strongly negative eigenvalue (Gaussian kernels: Kraehenbuehl & Koltun, ICML 2013). Neighbour couplings
on a grid do have one: all voxels at once would swing like a chess board, so there the white and the black voxels take
turns, each an exact step downhill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Message = Callable[[Tensor], Tensor]
"""From beliefs (class, ...) to what the other voxels say to each: m_i(l) = sum_j k_ij Q_j(l), of the same shape."""

LOWEST_PROBABILITY = 1e-4
"""What a class keeps where the model gave it 0: nobody is so sure that no evidence could change their mind."""


@dataclass(frozen=True, slots=True, eq=False)
class MeanField:
    """The beliefs (class, ...), which sum to 1 over classes, and how they were reached."""

    beliefs: Tensor
    iterations: int
    last_change: float
    """The largest change of any belief in the last iteration; below the tolerance where it has converged."""


def mean_field(
    log_probabilities: Tensor,
    message: Message,
    *,
    iterations: int,
    tolerance: float = 1e-3,
    turns: Sequence[Tensor] = (),
) -> MeanField:
    """The beliefs after so many iterations, or fewer where none changes by more than the tolerance any more.

    `log_probabilities` is (class, ...). `turns` are boolean masks (...) of voxels that are set together, one mask
    after the other; voxels in none keep the probabilities they came with. Without turns all are set at once. Every
    step can be differentiated.
    """
    beliefs = log_probabilities.softmax(dim=0)
    change, done = 0.0, 0
    while done < iterations:
        before = beliefs
        if turns:
            for turn in turns:
                beliefs = torch.where(turn, (log_probabilities + message(beliefs)).softmax(dim=0), beliefs)
        else:
            beliefs = (log_probabilities + message(beliefs)).softmax(dim=0)
        done += 1
        change = float((beliefs.detach() - before.detach()).abs().amax()) if beliefs.numel() else 0.0
        if change <= tolerance:
            break
    return MeanField(beliefs, done, change)


def free_energy(beliefs: Tensor, log_probabilities: Tensor, message: Message) -> float:
    """F(Q) in nats, up to a constant: what mean field lowers."""
    entropy = torch.xlogy(beliefs, beliefs).sum(dtype=torch.float64)
    own = (beliefs * log_probabilities).sum(dtype=torch.float64)
    shared = (beliefs * message(beliefs)).sum(dtype=torch.float64)
    return float(entropy - own - shared / 2)


def log_of(probabilities: Tensor) -> Tensor:
    """Log-probabilities in nats, bounded below by LOWEST_PROBABILITY."""
    return probabilities.clamp_min(LOWEST_PROBABILITY).log()
