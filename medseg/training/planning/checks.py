"""What makes a plan impossible before its first step: memory that is not there, cases that are not there."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medseg.core.errors import InputError, PlanError
from medseg.models.networks.cnn_crf import CnnCrfConfig
from medseg.models.networks.config import NetworkConfig
from medseg.models.networks.tiramisu import TiramisuConfig
from medseg.training.cases import PreparedCase
from medseg.training.planning.ladder import RELATIVE_MEMORY, choice_of
from medseg.training.planning.plan import Plan
from medseg.training.planning.rules import Budget, training_bytes


def require_possible(plan: Plan, budget: Budget) -> None:
    """Raise PlanError where the network cannot pass the patch, or a training step needs more than the budget's memory.

    The memory is that of the planner's rule; the network is tried with shapes alone.
    """
    _require_fitting(plan, budget)
    model, patch = plan.model, plan.model.window.patch
    channels = len(model.task.channels)
    advice = "Look at strides, kernel_sizes and patch in the plan, or make it anew with `medseg plan`."
    try:
        with torch.device("meta"):
            heads = model.network.build(channels, model.class_count).train()(torch.zeros(1, channels, *patch))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise PlanError(
            f"the plan's {model.network.kind} cannot pass a patch of {patch} voxels: {error}. {advice}"
        ) from error
    if tuple(heads[0].shape[2:]) != tuple(patch):
        raise PlanError(
            f"the plan's {model.network.kind} makes {tuple(heads[0].shape[2:])} voxels of a patch of {patch}. {advice}"
        )


def _require_fitting(plan: Plan, budget: Budget) -> None:
    network, patch, batch_size = plan.model.network, plan.model.window.patch, plan.training.batch_size
    memory = RELATIVE_MEMORY[choice_of(network, plan.training.loss).network][budget.device]
    needed_gb = batch_size * training_bytes(patch, finest_channels(network), memory) / 2**30
    if needed_gb > budget.memory_gb:
        raise PlanError(
            f"{batch_size} patches of {patch} voxels need about {needed_gb:.1f} GB to train, the budget is "
            f"{budget.memory_gb:g} GB. Lower patch or batch_size in the plan, or give --memory-gb if there is more."
        )


def require_foreground(cases: Sequence[PreparedCase], plan: Plan) -> None:
    """Raise InputError where there are no training cases, or not one holds a voxel of any label."""
    if not cases:
        raise InputError(
            "there is no case to train on: with one fold held out, none is left. A data set needs cases of two "
            "subjects at least, in two folds."
        )
    if not any(len(places) for case in cases for places in case.places):
        losses = " and ".join(loss.kind for loss in plan.training.loss)
        raise InputError(
            f"none of the {len(cases)} training cases holds a single voxel of "
            f"{', '.join(label.name for label in plan.model.task.labels)} at the plan's spacing, and {losses} need "
            "foreground to learn from. Do the values of the masks mean this task's labels?"
        )


def finest_channels(network: NetworkConfig) -> int:
    """The features at the patch's own grid, as the planner counted them."""
    if isinstance(network, CnnCrfConfig):
        return network.unary.channels[0]
    if isinstance(network, TiramisuConfig):
        return 2 * network.growth
    return network.channels[0]
