"""Norms sample by sample are torch's instance norms: values, gradients, names."""

import pytest
import torch
from torch import nn

from medseg.models.networks.sample_norm import SampleNorm3d, with_sample_norms

LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_values_and_gradients_are_those_of_instance_norm(batch: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    expected = nn.InstanceNorm3d(5, affine=True)
    nn.init.normal_(expected.weight)
    nn.init.normal_(expected.bias)
    mine = nn.InstanceNorm3d(5, affine=True)
    mine.load_state_dict(expected.state_dict())
    with_sample_norms(mine)
    assert type(mine) is SampleNorm3d
    values = 3 + 10 * torch.randn(batch, 5, 4, 6, 7)
    results = []
    for norm in (expected, mine):
        features = values.clone().contiguous(memory_format=layout).requires_grad_()
        normed = norm(features)
        (normed * torch.arange(7.0)).square().mean().backward()
        assert features.grad is not None
        results.append((normed.detach(), features.grad, norm.weight.grad, norm.bias.grad))
        if norm is mine:
            assert normed.is_contiguous(memory_format=layout)
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_only_norms_change_and_they_keep_their_names() -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=True), nn.BatchNorm3d(4))
    before = list(network.state_dict())
    assert with_sample_norms(network) is network
    assert [type(module) for module in network] == [nn.Conv3d, SampleNorm3d, nn.BatchNorm3d]
    assert list(network.state_dict()) == before


def test_a_norm_that_remembers_is_left_to_torch() -> None:
    norm = with_sample_norms(nn.InstanceNorm3d(2, track_running_stats=True)).eval()
    features = torch.randn(1, 2, 3, 3, 3)
    torch.testing.assert_close(norm(features), features, rtol=1e-4, atol=1e-5)  # mean 0 and variance 1 so far
