"""Training that starts from the weights of another model, where they mean the same.

Kept is every tensor that has its name and shape in both, except what scores the classes, where the labels are others:
a head for three organs knows nothing of three lesions. What is not kept starts as in a training from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medseg.core.errors import PlanError
from medseg.core.task import Task
from medseg.models.bundle import ModelBundle
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.models.weights import set_weights, weights_of
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import Checkpoint, Progress
from medseg.training.planning.ladder import choice_of, choose_losses
from medseg.training.planning.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Inheritance:
    """The weights that a training starts from; `fresh` names the tensors that the parent could not give."""

    weights: dict[str, Tensor]
    fresh: tuple[str, ...]


def fitted_to(plan: Plan, parent: ModelBundle) -> Plan:
    """A plan made from data, with what the parent's weights are used to: its network, patch, spacing and grey scale.

    Patches become fewer where the parent's are larger, so that a step takes in no more voxels than was planned.
    """
    own, spec = plan.model, parent.spec
    has_same_channels = len(own.task.channels) == len(spec.task.channels)
    preparation = spec.preparation
    if not has_same_channels:
        preparation = own.preparation.model_copy(update={"spacing_mm": spec.preparation.spacing_mm})
    model = ModelSpec(
        task=own.task,
        preparation=preparation,
        network=spec.network,
        window=SlidingWindow(patch=spec.window.patch, mirror_axes=own.window.mirror_axes),
    )
    voxels = plan.training.batch_size * _voxels(own) // _voxels(model)
    names = choice_of(model.network, plan.training.loss).losses
    training = plan.training.model_copy(
        update={
            "batch_size": max(1, min(plan.training.batch_size, voxels)),
            "loss": choose_losses(names, preparation.spacing_mm, own.task.overlap_classes),
            "parent_sha256": parent.sha256,
        }
    )
    return Plan(model=model, training=training)


def require_same_network(plan: Plan, parent: ModelBundle) -> None:
    """Raise PlanError where the parent's weights are of another network than the plan's."""
    mine, theirs = plan.model.network, parent.spec.network
    if mine != theirs:
        raise PlanError(
            f"the bundle {parent.name} holds the weights of {theirs.kind} ({theirs.outline}), "
            f"the plan trains {mine.kind} ({mine.outline}), or with other strides or kernels. "
            "Leave out --plan to take the bundle's network, or leave out --from to start from nothing."
        )


def inherit(plan: Plan, parent: ModelBundle) -> Inheritance:
    """The plan's network with the parent's weights. Raises PlanError where it is another network."""
    require_same_network(plan, parent)
    model = plan.model
    torch.manual_seed(plan.training.seed)
    network = model.network.build(len(model.task.channels), model.class_count)
    own = weights_of(network)
    strange = set() if _meanings(model.task) == _meanings(parent.spec.task) else _of_classes(model)
    kept = {
        name: tensor
        for name, tensor in parent.weights.items()
        if name in own and name not in strange and tensor.shape == own[name].shape
    }
    set_weights(network, {**own, **kept})
    return Inheritance(weights_of(network), tuple(name for name in own if name not in kept))


def first_checkpoint(plan: Plan, training: Sequence[PreparedCase], weights: dict[str, Tensor]) -> Checkpoint:
    """The state before the first step of a training that starts from these weights."""
    average = {name: tensor.clone() for name, tensor in weights.items()}
    return Checkpoint(weights, average, {}, Progress.begin(plan, training))


def _meanings(task: Task) -> list[tuple[str, ...]]:
    """What each class number stands for, by its codes; the same structure may go by another name."""
    return [
        (label.code.scheme, label.code.value, label.modifier.value if label.modifier else "") for label in task.labels
    ]


def _of_classes(model: ModelSpec) -> set[str]:
    """The tensors that score the classes: those whose shape would be another with one class more."""
    with torch.device("meta"):
        own, larger = (
            weights_of(model.network.build(len(model.task.channels), model.class_count + more)) for more in (0, 1)
        )
    return {name for name in own if own[name].shape != larger[name].shape}


def _voxels(model: ModelSpec) -> int:
    i, j, k = model.window.patch
    return i * j * k
