"""Each loss against MONAI's, by hand on a voxel, and the contract of all."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss as MonaiDice
from monai.losses import FocalLoss as MonaiFocal
from monai.losses.cldice import soft_skel
from scipy import ndimage

from medseg.core.errors import PlanError
from medseg.training.losses.boundary import BoundaryConfig, signed_distance_mm
from medseg.training.losses.centreline_dice import CentrelineDiceConfig, soft_skeleton
from medseg.training.losses.cross_entropy import CrossEntropyConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.targets import IGNORED
from medseg.training.losses.weighted_sum import LossConfig, WeightedSum

CONFIGS: list[LossConfig] = [
    DiceConfig(),
    FocalConfig(),
    FocalConfig(gamma=0.0),
    FocalConfig(gamma=0.5),
    CrossEntropyConfig(),
    CrossEntropyConfig(class_weights=(0.5, 1.0, 3.0)),
    CentrelineDiceConfig(smooth=1e-3),
    BoundaryConfig(),
    BoundaryConfig(spacing_mm=(3.0, 1.0, 0.5)),
    DiceConfig(regions=((1, 2), (2,))),
    CentrelineDiceConfig(smooth=1e-3, regions=((1, 2), (2,))),
    BoundaryConfig(regions=((1, 2), (2,))),
]
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
SHAPE = (2, 3, 4, 5, 6)


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), torch.randint(0, 3, (2, 4, 5, 6), generator=generator)


def certain(classes: torch.Tensor, count: int = 3) -> torch.Tensor:
    """Scores that leave no doubt of the classes (batch, i, j, k)."""
    return torch.nn.functional.one_hot(classes, count).movedim(-1, 1) * 60.0


def test_every_loss_of_the_union_is_under_contract() -> None:
    union, _ = get_args(LossConfig)
    assert {type(config) for config in CONFIGS} == set(get_args(union))


def test_dice_is_monais_batch_dice() -> None:
    logits, target = drawn()
    monai = MonaiDice(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    torch.testing.assert_close(DiceConfig().build()(logits, target), monai(logits, target[:, None]))


def test_dice_of_regions_is_that_of_their_union() -> None:
    logits, target = drawn()
    whole = DiceConfig(regions=((1, 2),)).build()(logits, target)
    # Two classes of which the second is 1 or 2: its score is the log of the sum of their exponentials.
    merged = torch.stack([logits[:, 0], logits[:, 1:].logsumexp(dim=1)], dim=1)
    torch.testing.assert_close(whole, DiceConfig().build()(merged, target.clamp_max(1)))
    alone = DiceConfig(regions=((2,),)).build()(logits, target)
    both = DiceConfig(regions=((1, 2), (2,))).build()(logits, target)
    torch.testing.assert_close(both, (whole + alone) / 2)


def test_a_region_does_not_care_which_of_its_labels_a_voxel_is() -> None:
    target = torch.tensor([1, 2, 2, 0]).view(1, 4, 1, 1)
    swapped = certain(torch.tensor([2, 1, 1, 0]).view(1, 4, 1, 1))
    assert float(DiceConfig(regions=((1, 2),)).build()(swapped, target)) == pytest.approx(0, abs=1e-4)
    assert float(DiceConfig().build()(swapped, target)) == pytest.approx(1, abs=1e-4)


def test_focal_is_monais_softmax_focal() -> None:
    logits, target = drawn()
    monai = MonaiFocal(include_background=True, to_onehot_y=True, use_softmax=True, gamma=2.0, reduction="none")
    expected = monai(logits, target[:, None]).sum(dim=1).mean()  # one term a voxel: that of its true class
    torch.testing.assert_close(FocalConfig(gamma=2.0).build()(logits, target), expected)


def test_focal_of_one_voxel_by_hand() -> None:
    logits = torch.tensor([math.log(1.0), math.log(3.0)]).view(1, 2, 1, 1, 1)  # p of class 0 is 1/4
    loss = FocalConfig(gamma=2.0).build()(logits, torch.zeros(1, 1, 1, 1, dtype=torch.long))
    assert float(loss) == pytest.approx((3 / 4) ** 2 * math.log(4))


def test_dice_of_four_voxels_by_hand() -> None:
    logits = torch.full((1, 2, 4, 1, 1), -40.0)
    logits[0, 1, :2] = 40.0  # predicted: voxels 0 and 1
    logits[0, 0, 2:] = 40.0
    target = torch.tensor([1, 0, 0, 0]).view(1, 4, 1, 1)  # true: voxel 0; Dice 2/3
    assert float(DiceConfig().build()(logits, target)) == pytest.approx(1 / 3, abs=1e-4)


def test_cross_entropy_of_two_voxels_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]).view(1, 2, 2, 1, 1)  # class by voxel
    target = torch.tensor([0, 1]).view(1, 2, 1, 1)  # probabilities of the truth: 1/4 and 1/2
    assert float(CrossEntropyConfig().build()(logits, target)) == pytest.approx((math.log(4) + math.log(2)) / 2)
    weighted = CrossEntropyConfig(class_weights=(1.0, 3.0)).build()
    assert float(weighted(logits, target)) == pytest.approx((math.log(4) + 3 * math.log(2)) / 4)


def test_class_weights_are_one_for_each_class() -> None:
    logits, target = drawn()
    with pytest.raises(PlanError, match="cross_entropy has 2 class weights, the network scores 3 classes"):
        CrossEntropyConfig(class_weights=(1.0, 2.0)).build()(logits, target)


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_the_skeleton_is_monais(iterations: int) -> None:
    masks = torch.rand(2, 2, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft_skeleton(masks, iterations), soft_skel(masks, iterations))


def test_the_skeleton_of_a_square_rod_is_its_axis() -> None:
    rod = torch.zeros(1, 1, 9, 9, 12)
    rod[:, :, 3:6, 3:6] = 1
    skeleton = soft_skeleton(rod, 3)[0, 0]
    assert skeleton[4, 4].tolist() == [1] * 12
    assert skeleton[:, :, 6].sum() == 1


def test_centreline_dice_of_a_broken_tube_by_hand() -> None:
    target = torch.zeros(1, 5, 5, 8, dtype=torch.long)
    target[:, 2, 2] = 1  # a tube of 8 voxels, its own skeleton
    found = target.clone()
    found[:, 2, 2, 4:6] = 0  # 6 of them found, and nothing wrong: precision 1, sensitivity 6 / 8
    loss = CentrelineDiceConfig(smooth=1e-6).build()(certain(found, 2), target)
    assert float(loss) == pytest.approx(1 - 2 * 0.75 / 1.75, abs=1e-4)


def test_centreline_dice_does_not_see_how_wide_a_tube_is() -> None:
    target = torch.zeros(1, 9, 9, 12, dtype=torch.long)
    target[:, 3:6, 3:6] = 1
    thin = torch.zeros_like(target)
    thin[:, 4, 4] = 1
    assert float(CentrelineDiceConfig().build()(certain(thin, 2), target)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.5)])
def test_the_signed_distance_is_scipys(spacing: tuple[float, float, float]) -> None:
    masks = torch.rand(2, 2, 5, 6, 7, generator=torch.Generator().manual_seed(0)) < 0.2
    signed = signed_distance_mm(masks, spacing)
    for mask, mine in zip(masks.reshape(4, 5, 6, 7).numpy(), signed.reshape(4, 5, 6, 7).numpy(), strict=True):
        outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
        inside = ndimage.distance_transform_edt(mask, sampling=spacing)
        np.testing.assert_allclose(mine, outside - inside, rtol=1e-5)


def test_a_label_without_a_surface_in_the_patch_has_no_distance() -> None:
    masks = torch.stack([torch.zeros(2, 2, 2), torch.ones(2, 2, 2)])[None].bool()
    assert signed_distance_mm(masks, (1.0, 1.0, 1.0)).abs().max() == 0


def test_boundary_of_five_voxels_by_hand() -> None:
    target = torch.tensor([1, 1, 0, 0, 0]).view(1, 1, 1, 5)  # distances -2, -1, 1, 2, 3 voxels
    found = torch.tensor([0, 1, 1, 0, 1]).view(1, 1, 1, 5)  # wrong: the first, third and fifth
    loss = BoundaryConfig(spacing_mm=(9.0, 9.0, 0.5)).build()(certain(found, 2), target)
    assert float(loss) == pytest.approx((2 + 1 + 3) * 0.5 / 5)


@each_config
def test_a_label_nobody_has_and_nobody_predicts_costs_nothing(config: LossConfig) -> None:
    target = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    assert float(config.build()(certain(target), target)) == pytest.approx(0, abs=1e-4)


@each_config
def test_the_truth_costs_nothing_and_its_opposite_much(config: LossConfig) -> None:
    _, target = drawn()
    loss = config.build()
    assert float(loss(certain(target), target)) < 1e-4
    assert float(loss(certain(target).roll(1, dims=1), target)) > 0.3


@each_config
def test_the_gradient_is_finite_for_sure_and_wrong_scores(config: LossConfig) -> None:
    logits, target = drawn()
    target[0, 0] = IGNORED
    logits = (logits * 1e4).requires_grad_()
    loss = config.build()(logits, target)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@each_config
def test_one_step_against_the_gradient_lowers_the_loss(config: LossConfig) -> None:
    logits, target = drawn()
    logits.requires_grad_()
    before = config.build()(logits, target)
    before.backward()
    assert logits.grad is not None
    step = 0.1 * logits.grad / logits.grad.norm()
    assert config.build()(logits.detach() - step, target) < before


@each_config
def test_what_is_said_of_an_ignored_voxel_changes_nothing(config: LossConfig) -> None:
    logits, target = drawn()
    target[:, 2, 2] = IGNORED
    logits.requires_grad_()
    loss = config.build()(logits, target)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[:, :, 2, 2].abs().max() == 0
    otherwise = logits.detach().clone()
    otherwise[:, :, 2, 2] = 9 * torch.randn(2, 3, 6)
    torch.testing.assert_close(config.build()(otherwise, target), loss.detach())


@each_config
def test_a_batch_that_nobody_has_judged_costs_no_more_than_nothing(config: LossConfig) -> None:
    logits, target = drawn()
    logits.requires_grad_()
    loss = config.build()(logits, torch.full_like(target, IGNORED))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[1], CONFIGS[5]], ids=lambda config: config.kind)
def test_ignored_voxels_might_as_well_be_cut_off(config: LossConfig) -> None:
    logits, target = drawn()
    partly = target.clone()
    partly[..., 4:] = IGNORED
    expected = config.build()(logits[..., :4], target[..., :4])
    torch.testing.assert_close(config.build()(logits, partly), expected)


def test_heads_are_averaged_with_the_finest_first() -> None:
    logits, target = drawn()
    other, _ = drawn(1)
    loss = WeightedSum([DiceConfig(weight=2.0), FocalConfig(weight=0.5)])

    def one(scores: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = 2.0 * DiceConfig().build()(scores, target) + 0.5 * FocalConfig().build()(scores, target)
        return total

    torch.testing.assert_close(loss([logits], target), one(logits))
    torch.testing.assert_close(loss([logits, other], target), (one(logits) + 0.5 * one(other)) / 1.5)


@each_config
def test_sums_of_parts_of_a_batch_add_up_to_its_loss(config: LossConfig) -> None:
    logits, target = drawn()
    target[0] = 0  # one patch without a label, one partly unknown: the mean of their losses is another number
    target[1, :2] = IGNORED
    loss = WeightedSum((config, DiceConfig(weight=0.5)))
    heads = [logits, logits.flip(2)]
    parts = [loss.sums([head[n : n + 1] for head in heads], target[n : n + 1]) for n in range(2)]
    together = loss.from_sums([first + second for first, second in zip(*parts, strict=True)])
    torch.testing.assert_close(together, loss(heads, target))
    mean = sum(loss.from_sums(part) for part in parts) / 2
    assert abs(float(mean) - float(together)) > 1e-3
