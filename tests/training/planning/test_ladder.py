"""Networks and losses by name, fitted to made stages whose answer can be worked out by hand."""

from typing import get_args

import numpy as np
import pytest
import torch
from made_facts import BLOB, case_facts, fingerprint_of
from pydantic import ValidationError

from medseg.cli import options
from medseg.core.errors import PlanError
from medseg.core.task import load_task
from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.deeplabv3 import DeepLabV3Config
from medseg.models.networks.pspnet import PSPNetConfig
from medseg.models.networks.tiramisu import TiramisuConfig
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.weighted_sum import LossConfig
from medseg.training.planning import rules
from medseg.training.planning.fingerprint import Fingerprint
from medseg.training.planning.ladder import (
    Choice,
    LossName,
    NetworkName,
    Stages,
    choice_of,
    choose_losses,
    choose_network,
)
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget, make_plan

NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
LOSSES: tuple[LossName, ...] = get_args(LossName)
HIPPOCAMPUS = ((35, 51, 36), (1.0, 1.0, 1.0))
THICK = ((320, 320, 16), (0.8, 0.8, 4.0))
SMALL, LARGE = Budget(), Budget("cuda", 40.0)


def fingerprint(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Fingerprint:
    return fingerprint_of(case_facts(shape, spacing, labels=(BLOB,) * 3))


def stages(budget: Budget = SMALL) -> Stages:
    patch, strides, kernels = rules.choose_patch_and_stages(*HIPPOCAMPUS, budget)
    return Stages(patch, HIPPOCAMPUS[1], strides, kernels, rules.choose_channels(len(strides), budget))


def test_the_names_cover_both_unions_and_are_the_command_lines() -> None:
    networks, losses = (get_args(get_args(union)[0]) for union in (NetworkConfig, LossConfig))
    assert {config.model_fields["kind"].default for config in networks} == set(NETWORKS) - {"residual_unet3d"}
    assert {config.model_fields["kind"].default for config in losses} == set(LOSSES)
    assert get_args(options.Network) == NETWORKS
    assert tuple(loss.value for loss in options.Loss) == LOSSES


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("data", [HIPPOCAMPUS, THICK])
@pytest.mark.parametrize("budget", [SMALL, LARGE])
def test_every_rung_can_be_planned(name: NetworkName, data: tuple[rules.Triple, rules.Spacing], budget: Budget) -> None:
    plan = make_plan(load_task("hippocampus_mr"), fingerprint(*data), budget, Choice(name))
    network = plan.model.network
    assert choice_of(network, plan.training.loss) == Choice(name, ("dice", "focal"))
    assert all(side % step == 0 for side, step in zip(plan.model.window.patch, network.divisor, strict=True))
    with torch.device("meta"), torch.no_grad():  # shapes without numbers: the planned patch passes
        (scores,) = network.build(1, 3).eval()(torch.zeros(1, 1, *plan.model.window.patch))
    assert scores.shape == (1, 3, *plan.model.window.patch)


def test_the_default_is_what_it_was() -> None:
    plan = make_plan(load_task("hippocampus_mr"), fingerprint(*HIPPOCAMPUS), Budget(minutes=20))
    assert plan.model.network == UNet3DConfig(
        channels=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        kernel_sizes=((3, 3, 3),) * 4,
        deep_supervision=1,
    )
    assert plan.training.loss == (DiceConfig(), FocalConfig())


def test_small_organs_keep_a_fine_grid_and_rates_that_fit_it() -> None:
    pspnet, deeplab = choose_network("pspnet", stages()), choose_network("deeplabv3", stages())
    assert isinstance(pspnet, PSPNetConfig)
    assert isinstance(deeplab, DeepLabV3Config)
    assert pspnet.output_stride == deeplab.output_stride == 4  # 56 voxels / 4 = 14, / 8 = 7 would be too few
    assert deeplab.rates == ((2, 3, 2), (4, 5, 4), (5, 8, 5))  # 6, 12 and 18 of 33, of a grid of 10, 14, 10


def test_tiramisu_is_the_papers_56_on_a_cpu_and_103_on_a_gpu() -> None:
    small, large = (choose_network("tiramisu", stages(budget)) for budget in (SMALL, LARGE))
    assert isinstance(small, TiramisuConfig)
    assert isinstance(large, TiramisuConfig)
    assert (small.layers, small.growth, small.checkpointing) == ((4, 4, 4, 4), 8, False)
    assert (large.layers, large.growth, large.checkpointing) == ((4, 5, 7, 15), 16, True)


def test_the_crf_knows_thick_slices() -> None:
    made = make_plan(load_task("hippocampus_mr"), fingerprint(*THICK), LARGE, Choice("cnn_crf")).model.network
    assert isinstance(made, CnnCrfConfig)
    assert made.spacing_mm == (0.8, 0.8, 4.0)
    assert made.reach == (2, 2, 1)
    assert made.width_mm == 1.2


def test_a_heavier_rung_gets_a_smaller_batch_or_patch() -> None:
    budget = Budget("cuda", 8.5 * 64**3 * 32 * rules.BYTES_PER_ACTIVATION / 0.8 / 2**30)  # of eight U-Net patches
    assert [rules.choose_batch_size((64, 64, 64), 32, budget, factor) for factor in (1.0, 2.0)] == [8, 4]
    plain, doubled = (rules.most_patch_voxels(Budget("cuda", 8.0), factor) for factor in (1.0, 2.0))
    assert plain == pytest.approx(2 * doubled, abs=2)


def test_losses_by_name_in_the_order_given() -> None:
    chosen = choose_losses(("boundary", "dice"), (3.0, 1.0, 1.0))
    assert chosen == (BoundaryConfig(weight=0.1, spacing_mm=(3.0, 1.0, 1.0)), DiceConfig())
    assert np.all([loss.weight > 0 for loss in choose_losses(LOSSES, (1.0, 1.0, 1.0))])


def test_losses_that_cannot_train_alone_are_refused() -> None:
    with pytest.raises(PlanError, match=r"centreline_dice cannot train a network alone.*`--loss dice`"):
        choose_losses(("centreline_dice",), (1.0, 1.0, 1.0))
    with pytest.raises(PlanError, match="boundary and centreline_dice cannot train a network alone"):
        choose_losses(("boundary", "centreline_dice"), (1.0, 1.0, 1.0))
    with pytest.raises(PlanError, match="the loss dice is named 2 times"):
        choose_losses(("dice", "dice"), (1.0, 1.0, 1.0))


def test_losses_of_overlap_are_for_the_regions_of_the_task() -> None:
    one = fingerprint((155, 240, 155), (1.0, 1.0, 1.0))
    four = one.model_copy(update={"channels": one.channels * 4})
    dice, focal = make_plan(load_task("brain_tumour_mr"), four, Budget()).training.loss
    assert dice == DiceConfig(regions=((3,), (1, 3), (1, 2, 3)))
    assert focal == FocalConfig()
    for loss in choose_losses(("dice", "boundary", "centreline_dice"), (1.0, 1.0, 1.0), ((1, 2),)):
        assert getattr(loss, "regions", None) == ((1, 2),)


def test_a_region_of_a_class_that_there_is_not_is_refused() -> None:
    plan = make_plan(load_task("hippocampus_mr"), fingerprint(*THICK), Budget())
    spec = plan.training.model_copy(update={"loss": (DiceConfig(regions=((1, 3),)),)})
    with pytest.raises(ValidationError, match="a region of the loss dice names class 3, the task has labels 1 to 2"):
        Plan(model=plan.model, training=spec)
