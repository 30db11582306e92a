"""Potts energies worked out by hand; mean field goes downhill and stops."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from medseg.imaging.crf.grid import chess_board_turns, couplings_of, neighbour_message, potts_energy
from medseg.imaging.crf.mean_field import LOWEST_PROBABILITY, free_energy, log_of, mean_field

SPACING_MM = (1.0, 2.0, 4.0)
COUPLINGS = couplings_of(2.0, SPACING_MM)  # 2, 1 and 0.5 nats along i, j, k


def noisy(shape: tuple[int, ...], seed: int = 0, classes: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(classes, *shape, generator=generator, dtype=torch.float64)).log_softmax(0)


@pytest.mark.parametrize(
    ("labels", "boundary"),
    [
        ([[0, 0], [0, 0]], 0.0),
        ([[0, 0], [1, 1]], 2 * 2.0),  # two faces across i
        ([[0, 1], [0, 1]], 2 * 1.0),  # two faces across j
        ([[0, 0], [0, 1]], 2.0 + 1.0),
        ([[0, 1], [1, 0]], 2 * 2.0 + 2 * 1.0),
    ],
)
def test_the_energy_of_four_voxels(labels: list[list[int]], boundary: float) -> None:
    probabilities = torch.tensor([[[0.9, 0.8], [0.7, 0.6]], [[0.1, 0.2], [0.3, 0.4]]], dtype=torch.float64)[..., None]
    x = torch.tensor(labels)[..., None]
    own = -sum(math.log(float(probabilities[int(x[i, j, 0]), i, j, 0])) for i, j in itertools.product((0, 1), (0, 1)))
    assert potts_energy(x, probabilities.log(), COUPLINGS) == pytest.approx(own + boundary)


def test_a_voxel_hears_its_neighbours_along_each_axis_by_their_distance() -> None:
    beliefs = torch.zeros(1, 3, 3, 3)
    beliefs[0, 1, 1, 1] = 1
    message = neighbour_message(beliefs, COUPLINGS)[0]
    assert message[:, 1, 1].tolist() == [2.0, 0.0, 2.0]
    assert message[1, :, 1].tolist() == [1.0, 0.0, 1.0]
    assert message[1, 1, :].tolist() == [0.5, 0.0, 0.5]
    assert message.sum() == 7.0  # itself and the corners hear nothing


def test_turns_share_out_the_free_voxels_and_hold_no_two_neighbours() -> None:
    free = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    white, black = chess_board_turns(free)
    assert torch.equal(white ^ black, free)
    for turn in (white, black):
        assert not (neighbour_message(turn[None].double(), (1.0, 1.0, 1.0))[0][turn] > 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_each_iteration_lowers_the_free_energy_until_nothing_moves(seed: int) -> None:
    log_probabilities = noisy((6, 5, 4), seed)
    turns = chess_board_turns(torch.ones(6, 5, 4, dtype=torch.bool))

    def message(beliefs: Tensor) -> Tensor:
        return neighbour_message(beliefs, COUPLINGS)

    energies = [
        free_energy(
            mean_field(log_probabilities, message, iterations=n, tolerance=0, turns=turns).beliefs,
            log_probabilities,
            message,
        )
        for n in range(12)
    ]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(energies))
    end = mean_field(log_probabilities, message, iterations=500, tolerance=1e-9, turns=turns)
    assert end.iterations < 500
    assert end.last_change <= 1e-9
    torch.testing.assert_close(end.beliefs, (log_probabilities + message(end.beliefs)).softmax(0), atol=1e-8, rtol=0)


def test_all_at_once_swings_for_ever_on_a_grid() -> None:
    # Two voxels that each want to differ from nobody, told to agree, and in doubt: the reason for taking turns.
    log_probabilities = torch.tensor([[[[0.9]], [[0.1]]], [[[0.1]], [[0.9]]]], dtype=torch.float64).log()

    def message(beliefs: Tensor) -> Tensor:
        return neighbour_message(beliefs, (20.0, 1.0, 1.0))

    swinging = mean_field(log_probabilities, message, iterations=101)
    assert swinging.last_change > 0.9
    settled = mean_field(
        log_probabilities, message, iterations=101, turns=chess_board_turns(torch.ones(2, 1, 1, dtype=torch.bool))
    )
    assert settled.last_change <= 1e-3
    winners = settled.beliefs.argmax(0)
    assert winners[0] == winners[1]


def test_beliefs_are_those_given_without_couplings_and_where_no_turn_comes() -> None:
    log_probabilities = noisy((3, 3, 3))
    alone = mean_field(log_probabilities, torch.zeros_like, iterations=5)
    torch.testing.assert_close(alone.beliefs, log_probabilities.exp())
    assert alone.iterations == 1
    free = torch.zeros(3, 3, 3, dtype=torch.bool)
    free[1, 1, 1] = True
    moved = mean_field(log_probabilities, lambda q: neighbour_message(q, COUPLINGS), iterations=5, turns=(free,))
    changed = (moved.beliefs - log_probabilities.exp()).abs().amax(0) > 1e-6
    assert torch.equal(changed, free)


def test_the_beliefs_of_a_tiny_model_are_near_the_exact_marginals() -> None:
    # 2 x 2 x 1 voxels, two classes: all 16 labellings can be summed. Weak couplings, where mean field is good.
    log_probabilities = noisy((2, 2, 1), seed=3, classes=2)
    couplings = (0.2, 0.2, 0.2)
    exact = torch.zeros_like(log_probabilities)
    for labels in itertools.product((0, 1), repeat=4):
        x = torch.tensor(labels).reshape(2, 2, 1)
        likelihood = math.exp(-potts_energy(x, log_probabilities, couplings))
        exact.scatter_add_(0, x[None], torch.full((1, 2, 2, 1), likelihood, dtype=torch.float64))
    exact /= exact.sum(0)
    turns = chess_board_turns(torch.ones(2, 2, 1, dtype=torch.bool))
    found = mean_field(log_probabilities, lambda q: neighbour_message(q, couplings), iterations=50, turns=turns).beliefs
    assert (found - exact).abs().max() < 0.5 * (log_probabilities.exp() - exact).abs().max()


def test_gradients_reach_probabilities_and_couplings() -> None:
    log_probabilities = noisy((3, 3, 2)).requires_grad_()
    strength = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    beliefs = mean_field(
        log_probabilities, lambda q: strength * neighbour_message(q, (1.0, 1.0, 1.0)), iterations=3
    ).beliefs
    of_probabilities, of_strength = torch.autograd.grad(beliefs[0].square().sum(), (log_probabilities, strength))
    assert (of_probabilities != 0).all()
    assert of_strength != 0


def test_a_class_given_nothing_keeps_a_little() -> None:
    assert log_of(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([math.log(LOWEST_PROBABILITY), 0.0])
