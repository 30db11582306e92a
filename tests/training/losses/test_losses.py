"""Each loss against MONAI's, by hand on a voxel, and the contract of all."""

import math

import pytest
import torch
from monai.losses import DiceLoss as MonaiDice
from monai.losses import FocalLoss as MonaiFocal

from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.weighted_sum import WeightedSum

CONFIGS = [DiceConfig(), FocalConfig(), FocalConfig(gamma=0.0)]
SHAPE = (2, 3, 4, 5, 6)


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), torch.randint(0, 3, (2, 4, 5, 6), generator=generator)


def test_dice_is_monais_batch_dice() -> None:
    logits, target = drawn()
    monai = MonaiDice(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5
    )
    torch.testing.assert_close(DiceConfig().build()(logits, target), monai(logits, target[:, None]))


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


def test_a_label_nobody_has_and_nobody_predicts_costs_nothing() -> None:
    logits = torch.zeros(1, 2, 2, 2, 2)
    logits[:, 0] = 60.0
    assert float(DiceConfig().build()(logits, torch.zeros(1, 2, 2, 2, dtype=torch.long))) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_truth_costs_nothing_and_its_opposite_much(config: DiceConfig | FocalConfig) -> None:
    _, target = drawn()
    right = torch.nn.functional.one_hot(target, 3).movedim(-1, 1) * 60.0
    loss = config.build()
    assert float(loss(right, target)) < 1e-4
    assert float(loss(right.roll(1, dims=1), target)) > 0.9


@pytest.mark.parametrize("config", CONFIGS)
def test_the_gradient_is_finite_for_sure_and_wrong_scores(config: DiceConfig | FocalConfig) -> None:
    logits, target = drawn()
    logits = (logits * 1e4).requires_grad_()
    loss = config.build()(logits, target)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_heads_are_averaged_with_the_finest_first() -> None:
    logits, target = drawn()
    other, _ = drawn(1)
    loss = WeightedSum([DiceConfig(weight=2.0), FocalConfig(weight=0.5)])

    def one(scores: torch.Tensor) -> torch.Tensor:
        return 2.0 * DiceConfig().build()(scores, target) + 0.5 * FocalConfig().build()(scores, target)

    torch.testing.assert_close(loss([logits], target), one(logits))
    torch.testing.assert_close(loss([logits, other], target), (one(logits) + 0.5 * one(other)) / 1.5)
