"""The contract of every network, over the union of their configs."""

from typing import Literal, get_args

import pytest
import torch
from pydantic import ValidationError

from medseg.core.errors import PlanError, StoreError
from medseg.core.task import load_task
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.deeplabv3 import DeepLabV3Config
from medseg.models.networks.fcn import FCNConfig
from medseg.models.networks.pspnet import PSPNetConfig
from medseg.models.networks.tiramisu import TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow, from_toml, to_toml
from medseg.models.weights import set_weights, weights_of

STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
CHANNELS = (8, 8, 12)
SHAPE = (4, 16, 16)

UNET = UNet3DConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS)
CONFIGS: list[NetworkConfig] = [
    UNET,
    UNet3DConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, residual=True, deep_supervision=1),
    UNet3DConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, norm="batch"),
    FCNConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, skips=1),
    FCNConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, decoder="transposed"),
    TiramisuConfig(layers=(2, 2, 2), strides=STRIDES, kernel_sizes=KERNELS, growth=4, first_channels=6),
    TiramisuConfig(
        layers=(2, 1, 2), strides=STRIDES, kernel_sizes=KERNELS, growth=4, first_channels=6, checkpointing=True
    ),
    PSPNetConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, output_stride=2),
    PSPNetConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, output_stride=4, auxiliary=False),
    DeepLabV3Config(
        channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, output_stride=2, rates=((1, 2, 2), (1, 4, 4))
    ),
    CnnCrfConfig(unary=UNET, spacing_mm=(3.0, 1.0, 1.0), reach=(0, 1, 1), iterations=2),
    CnnCrfConfig(
        unary=UNet3DConfig(channels=CHANNELS, strides=STRIDES, kernel_sizes=KERNELS, deep_supervision=1),
        spacing_mm=(1.0, 1.0, 1.0),
        reach=(1, 0, 1),
        iterations=1,
    ),
]
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)


def spec_of(config: NetworkConfig, patch: tuple[int, int, int] = SHAPE) -> ModelSpec:
    return ModelSpec(
        task=load_task("hippocampus_mr"),
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),)),
        network=config,
        window=SlidingWindow(patch=patch),
    )


def test_every_network_of_the_union_is_under_contract() -> None:
    union, _ = get_args(NetworkConfig)
    assert {type(config) for config in CONFIGS} == set(get_args(union))


@each_config
@pytest.mark.parametrize("batch", [1, 2])
def test_scores_have_the_shape_of_the_image(config: NetworkConfig, batch: int) -> None:
    network = config.build(2, 3)
    images = torch.randn(batch, 2, *SHAPE)
    heads = network.train()(images)
    assert isinstance(heads, list)
    assert all(head.shape == (batch, 3, *SHAPE) for head in heads)
    with torch.no_grad():
        (only,) = network.eval()(images)
    assert only.shape == (batch, 3, *SHAPE)


@each_config
def test_it_runs_in_bfloat16_on_channels_last(config: NetworkConfig) -> None:
    network = config.build(1, 3).to(memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    images = torch.randn(1, 1, *SHAPE).contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        heads = network(images)
    torch.autograd.backward(torch.stack([head.float().square().mean() for head in heads]).sum())
    assert all(head.isfinite().all() for head in heads)


@each_config
def test_the_gradient_reaches_every_parameter(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = config.build(1, 2).train()
    heads = network(torch.randn(1, 1, *SHAPE))
    torch.autograd.backward(torch.stack([(head - torch.randn_like(head)).square().mean() for head in heads]).sum())
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a bias before instance normalisation is taken out again by it, up to rounding
    assert [name for name in silent if not name.endswith("bias")] == []


@each_config
def test_one_batch_can_be_learned_by_heart(config: NetworkConfig) -> None:
    torch.manual_seed(1)
    images = torch.randn(1, 1, *SHAPE) * 0.2
    truth = torch.zeros(1, *SHAPE, dtype=torch.long)
    truth[:, :, 4:12, 4:12] = 1  # edges that the coarsest grid of scores, 2 x 4 x 4, can still draw
    truth[:, 2:, 4:12, 12:16] = 2
    images[:, 0] += truth
    network = config.build(1, 3).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(200):
        heads = network(images)
        loss = torch.stack([torch.nn.functional.cross_entropy(head, truth) for head in heads]).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if (heads[0].argmax(dim=1) != truth).float().mean() < 0.01:
            break
    with torch.no_grad():
        for _ in range(40):
            network(images)  # a batch norm's running statistics catch up with the weights
        (scores,) = network.eval()(images)
    wrong = (scores.argmax(dim=1) != truth).float().mean()
    assert wrong < 0.03


@each_config
def test_weights_make_the_round_trip(config: NetworkConfig) -> None:
    network, other = config.build(1, 2).eval(), config.build(1, 2).eval()
    images = torch.randn(1, 1, *SHAPE)
    with torch.no_grad():
        assert not torch.equal(network(images)[0], other(images)[0])
        set_weights(other, weights_of(network))
        assert torch.equal(network(images)[0], other(images)[0])
    missing = dict(list(weights_of(network).items())[1:])
    with pytest.raises(StoreError, match="lack tensor"):
        set_weights(other, missing)


@each_config
def test_the_config_makes_the_round_trip_through_toml(config: NetworkConfig) -> None:
    spec = spec_of(config)
    assert from_toml(ModelSpec, to_toml(spec), "test") == spec
    assert config.outline


@each_config
def test_the_divisor_is_the_least_that_every_patch_must_share(config: NetworkConfig) -> None:
    i, j, k = config.divisor
    with torch.no_grad():
        (scores,) = config.build(1, 2).eval()(torch.zeros(1, 1, 2 * i, 3 * j, 3 * k))
    assert scores.shape[2:] == (2 * i, 3 * j, 3 * k)


@each_config
def test_a_patch_that_does_not_divide_is_answered_with_one_that_does(config: NetworkConfig) -> None:
    whole = tuple(4 * d for d in config.divisor)
    patch = (whole[0], whole[1], whole[2] + 1)
    with pytest.raises(ValidationError, match=rf"the nearest patch that can is \({whole[0]}, {whole[1]}, {whole[2]}\)"):
        spec_of(config, patch)


def test_a_network_that_does_not_exist_is_answered_with_those_that_do() -> None:
    text = to_toml(spec_of(UNET)).replace('kind = "unet3d"', 'kind = "vnet"')
    with pytest.raises(PlanError, match="expected tags: 'unet3d', 'fcn', 'tiramisu', 'pspnet', 'deeplabv3', 'cnn_crf'"):
        from_toml(ModelSpec, text, "plan.toml")


def test_stages_that_disagree_are_refused() -> None:
    with pytest.raises(ValidationError, match="name 3, 1 and 3 stages"):
        UNet3DConfig(channels=(4, 8, 16), strides=((1, 1, 1),), kernel_sizes=((3, 3, 3),) * 3)
    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    with pytest.raises(ValidationError, match="3 stages allow at most 1 supervised heads"):
        UNet3DConfig(channels=(4, 8, 16), strides=strides, kernel_sizes=((3, 3, 3),) * 3, deep_supervision=2)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_only_with_batch_norm_a_place_is_judged_without_what_is_far_away(norm: Literal["instance", "batch"]) -> None:
    torch.manual_seed(0)
    network = UNET.model_copy(update={"norm": norm}).build(1, 2).eval()
    images = torch.randn(1, 1, 4, 16, 128)
    other = images.clone()
    other[..., 100:] *= 10
    with torch.no_grad():
        before, after = (network(one)[0][..., :16] for one in (images, other))
    assert torch.allclose(before, after, atol=1e-5) == (norm == "batch")
