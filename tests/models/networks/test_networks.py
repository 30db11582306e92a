"""The contract of every network, over the union of their configs."""

import pytest
import torch
from pydantic import ValidationError

from medseg.models.networks.unet3d import UNet3DConfig

CONFIGS = [
    UNet3DConfig(channels=(4, 8, 16), strides=((1, 1, 1), (2, 2, 2), (1, 2, 2)), kernel_sizes=((3, 3, 3),) * 3),
    UNet3DConfig(
        channels=(4, 8, 16, 32),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
        kernel_sizes=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        residual=True,
        deep_supervision=2,
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_scores_have_the_shape_of_the_image(config: UNet3DConfig) -> None:
    network = config.build(2, 3)
    images = torch.randn(2, 2, 8, 16, 16)
    heads = network.train()(images)
    assert len(heads) == 1 + config.deep_supervision
    assert all(head.shape == (2, 3, 8, 16, 16) for head in heads)
    with torch.no_grad():
        (only,) = network.eval()(images)
    assert only.shape == (2, 3, 8, 16, 16)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_gradient_reaches_every_parameter(config: UNet3DConfig) -> None:
    network = config.build(1, 2).train()
    torch.stack([head.square().mean() for head in network(torch.randn(1, 1, 8, 16, 16))]).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a bias before instance normalisation is taken out again by it, up to rounding
    assert [name for name in silent if not name.endswith("bias")] == []


@pytest.mark.parametrize("config", CONFIGS)
def test_the_divisor_is_the_product_of_the_strides(config: UNet3DConfig) -> None:
    i, j, k = config.divisor
    with torch.no_grad():
        (scores,) = config.build(1, 2).eval()(torch.zeros(1, 1, 2 * i, 2 * j, 2 * k))
    assert scores.shape[2:] == (2 * i, 2 * j, 2 * k)


def test_stages_that_disagree_are_refused() -> None:
    with pytest.raises(ValidationError, match="name 3, 1 and 3 stages"):
        UNet3DConfig(channels=(4, 8, 16), strides=((1, 1, 1),), kernel_sizes=((3, 3, 3),) * 3)
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    with pytest.raises(ValidationError, match="3 stages allow at most 1 supervised heads"):
        UNet3DConfig(channels=(4, 8, 16), strides=strides, kernel_sizes=((3, 3, 3),) * 3, deep_supervision=2)
