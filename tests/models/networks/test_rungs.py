"""What is particular to each rung: the checkerboard, the depths of the papers, checkpointing, the mean field."""

import math

import pytest
import torch
from pydantic import ValidationError

from medseg.models.networks.cnn_crf import CnnCrfConfig, MeanField
from medseg.models.networks.deeplabv3 import AtrousPyramid
from medseg.models.networks.fcn import FCNConfig, Overlap, Transposed, Trilinear
from medseg.models.networks.pspnet import PyramidPooling
from medseg.models.networks.tiramisu import LAYERS, LargestOfBox, TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig

STRIDES = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
KERNELS = ((3, 3, 3),) * 3
UNET = UNet3DConfig(channels=(4, 4, 4), strides=STRIDES, kernel_sizes=KERNELS)


def terms_per_voxel(overlap: Overlap, stride: tuple[int, int, int]) -> set[float]:
    """How many terms the inner voxels of a transposed convolution gather: its response to ones, with weights of one."""
    layer = Transposed(1, stride, overlap)
    torch.nn.init.ones_(layer.weight)
    with torch.no_grad():
        return set(layer(torch.ones(1, 1, 9, 9, 9))[0, 0, 4:-4, 4:-4, 4:-4].flatten().tolist())


def test_even_overlap_leaves_no_checkerboard_and_uneven_does() -> None:
    assert terms_per_voxel("none", (2, 2, 2)) == {1}
    assert terms_per_voxel("even", (2, 2, 2)) == {8}  # two along each axis
    assert terms_per_voxel("uneven", (2, 2, 2)) == {1, 2, 4, 8}  # one or two along each axis
    assert terms_per_voxel("uneven", (1, 2, 2)) == {1, 2, 4}
    assert torch.equal(Trilinear((2, 2, 2))(torch.ones(1, 1, 5, 5, 5)), torch.ones(1, 1, 10, 10, 10))


@pytest.mark.parametrize("overlap", ["even", "uneven"])
@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 4), (3, 1, 2)])
def test_a_transposed_convolution_begins_as_linear_interpolation(
    overlap: Overlap, stride: tuple[int, int, int]
) -> None:
    layer = Transposed(2, stride, overlap)
    ramp = torch.arange(6.0).view(1, 1, 1, 1, 6).expand(1, 2, 6, 6, 6).clone()
    with torch.no_grad():
        enlarged = layer(ramp)
    assert enlarged.shape == (1, 2, *(6 * step for step in stride))
    line = enlarged[0, 0, 3 * stride[0], 3 * stride[1], 2 * stride[2] : -2 * stride[2]]
    torch.testing.assert_close(line.diff(), torch.full_like(line.diff(), 1 / stride[2]))


def test_fcn_refuses_more_skips_than_stages() -> None:
    with pytest.raises(ValidationError, match="3 stages have at most 2 skips"):
        FCNConfig(channels=(4, 4, 4), strides=STRIDES, kernel_sizes=KERNELS, skips=3)


@pytest.mark.parametrize("depth", [56, 67, 103])
def test_the_depth_is_the_papers(depth: int) -> None:
    layers = next(layers for name, layers in LAYERS.items() if name == depth)
    strides = ((1, 1, 1), *((2, 2, 2),) * 5)
    assert TiramisuConfig(layers=layers, strides=strides, kernel_sizes=((3, 3, 3),) * 6).depth == depth


def test_depth_counts_the_convolutions_there_are() -> None:
    config = TiramisuConfig(layers=(2, 3, 2), strides=STRIDES, kernel_sizes=KERNELS, growth=4, first_channels=4)
    kinds = (torch.nn.Conv3d, torch.nn.ConvTranspose3d)
    assert sum(isinstance(module, kinds) for module in config.build(1, 2).modules()) == config.depth


def test_largest_of_box_is_max_pooling() -> None:
    features = torch.randn(1, 2, 4, 6, 4)
    expected = torch.nn.functional.max_pool3d(features, (1, 2, 2))
    torch.testing.assert_close(LargestOfBox((1, 2, 2))(features), expected)


def test_checkpointing_changes_memory_and_nothing_else() -> None:
    config = TiramisuConfig(layers=(4, 4, 4), strides=STRIDES, kernel_sizes=KERNELS, growth=4, first_channels=8)
    images = torch.randn(1, 1, 16, 16, 16)
    gradients, bytes_kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = config.model_copy(update={"checkpointing": checkpointing}).build(1, 2).train()
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            (scores,) = network(images)
            scores.square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
        bytes_kept.append(sum(sizes))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert bytes_kept[1] < 0.6 * bytes_kept[0]


def test_the_pyramid_appends_the_mean_of_the_whole() -> None:
    pyramid = PyramidPooling(4, (1, 2, 3, 6))
    features = torch.randn(1, 4, 6, 5, 7)
    with torch.no_grad():
        together = pyramid(features)
    assert together.shape == (1, 8, 6, 5, 7)
    assert torch.equal(together[:, :4], features)
    assert together[0, 4].std() == pytest.approx(0, abs=1e-6)  # one box
    assert together[0, 5].std() > 0


def test_a_rate_as_long_as_the_grid_sees_only_the_voxel_itself() -> None:
    branch = AtrousPyramid(4, (3, 3, 3), [(6, 6, 6)]).rates[0].get_submodule("0")
    features = torch.randn(1, 4, 6, 6, 6)
    with torch.no_grad():
        own = torch.nn.functional.conv3d(features, branch.get_parameter("weight")[:, :, 1:2, 1:2, 1:2])
        torch.testing.assert_close(branch(features), own)


def mean_field(**fields: object) -> MeanField:
    values = {"unary": UNET, "spacing_mm": (1.0, 1.0, 1.0), "iterations": 1, **fields}
    return MeanField(1, 2, CnnCrfConfig.model_validate(values))


def test_one_mean_field_step_on_two_voxels_by_hand() -> None:
    field = mean_field(reach=(0, 0, 1), width_mm=1.0, width_intensity=1.0, weight=1.0)
    unary = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).view(1, 2, 1, 1, 2)  # class by voxel
    with torch.no_grad():
        refined = field(unary, torch.zeros(1, 1, 1, 1, 2))[0, :, 0, 0]
    # Each voxel has one neighbour, whose weight is therefore 1 in both kernels. Voxel 1 hears class 0 with p, class 1
    # with 1 - p, twice; by Potts each class is charged with what was heard of the other.
    p = math.exp(2) / (math.exp(2) + 1)
    torch.testing.assert_close(refined[:, 1], torch.tensor([-2 * (1 - p), -2 * p]))
    torch.testing.assert_close(refined[:, 0], torch.tensor([2.0 - 2 * 0.5, -2 * 0.5]))


def test_a_border_in_the_image_stops_the_appearance_kernel() -> None:
    field = mean_field(reach=(0, 0, 1), width_mm=1.0, width_intensity=0.1)
    image = torch.tensor([0.0, 0.0, 5.0, 5.0]).view(1, 1, 1, 1, 4)
    with torch.no_grad():
        kernels = field.kernels(image)
    before, after = (weights.flatten().tolist() for weights in kernels.appearance)
    assert before == pytest.approx([0, 1, 0, 1], abs=1e-6)  # voxel 2 does not listen across the border
    assert after == pytest.approx([1, 0, 1, 0], abs=1e-6)
    assert kernels.smoothness[0].flatten().tolist() == pytest.approx([0, 0.5, 0.5, 1])


def test_a_neighbour_across_a_thick_slice_is_far() -> None:
    field = mean_field(reach=(1, 0, 1), spacing_mm=(5.0, 1.0, 1.0), width_mm=1.0)
    with torch.no_grad():
        kernels = field.kernels(torch.zeros(1, 1, 3, 1, 3))
    weight = {offset: float(w[0, 0, 1, 0, 1]) for offset, w in zip(field.offsets, kernels.smoothness, strict=True)}
    assert weight[(0, 0, 1)] / weight[(1, 0, 0)] == pytest.approx(math.exp((25 - 1) / 2), rel=1e-4)
    assert sum(weight.values()) == pytest.approx(1)


def test_a_window_without_neighbours_is_refused() -> None:
    with pytest.raises(ValidationError, match="no neighbour to listen to"):
        CnnCrfConfig(unary=UNET, spacing_mm=(1.0, 1.0, 1.0), reach=(0, 0, 0))
