"""The permutohedral lattice against the sum over all pairs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from medseg.core.errors import PlanError
from medseg.imaging.crf.lattice import PermutohedralLattice


def scene(channels: int) -> Tensor:
    """Features of a block of voxels 3 widths long in which noisy intensities step up across a plane."""
    positions = np.argwhere(np.ones((10, 10, 10))) / 3
    noise = np.random.default_rng(0).normal(size=(1000, channels)) * 0.5
    return torch.from_numpy(np.concatenate((positions, noise + 5 * (positions[:, :1] > 1.5)), axis=1))


def kernel(features: Tensor) -> Tensor:
    return torch.exp(-0.5 * torch.cdist(features, features) ** 2)


@pytest.mark.parametrize(("channels", "within"), [(0, 0.05), (1, 0.10), (2, 0.18)])
def test_sums_are_near_those_over_all_pairs(channels: int, within: float) -> None:
    features = scene(channels)
    values = torch.rand(3, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ratio = PermutohedralLattice(features).sums(values) / (values @ kernel(features))
    assert abs(float(ratio.mean()) - 1) < within
    assert float(ratio.std()) < 0.06


@pytest.mark.parametrize("channels", [0, 1, 2, 4])
def test_once_normalised_a_message_is_off_by_a_few_hundredths_at_most(channels: int) -> None:
    features = scene(channels)
    beliefs = torch.rand(2, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).softmax(0)
    pairs = kernel(features) - torch.eye(1000, dtype=torch.float64)
    lattice = PermutohedralLattice(features)
    own = lattice.own_share()
    exact_scale = pairs.sum(1).clamp_min(1).rsqrt()
    ones = torch.ones(1, 1000, dtype=torch.float64)
    scale = (lattice.sums(ones)[0] - own).clamp_min(1).rsqrt()
    exact = (beliefs * exact_scale) @ pairs * exact_scale
    found = (lattice.sums(beliefs * scale) - own * beliefs * scale) * scale
    error = (found - exact).abs()
    assert float(error.mean()) < 0.012 + 0.02 * (channels > 2)
    assert float(error.max()) < 0.06 + 0.1 * (channels > 2)


def test_one_point_hears_itself_alone() -> None:
    lattice = PermutohedralLattice(torch.zeros(1, 4))
    assert lattice.corner_count == 5
    assert float(lattice.sums(torch.tensor([[2.0]]))) == pytest.approx(2 * float(lattice.own_share()), rel=0.25)


def test_points_far_apart_do_not_hear_each_other() -> None:
    lattice = PermutohedralLattice(torch.tensor([[0.0, 0.0], [40.0, 0.0]]))
    sums = lattice.sums(torch.tensor([[1.0, 0.0]]))
    assert sums[0, 0] > 0.5
    assert sums[0, 1] == 0


def test_features_beyond_all_numbers_are_refused() -> None:
    with pytest.raises(PlanError, match="Raise position_sd_mm or intensity_sd"):
        PermutohedralLattice(torch.tensor([[0.0] * 5, [1e6] * 5]))
