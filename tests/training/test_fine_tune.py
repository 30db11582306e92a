"""Training that starts from a bundle: what it takes over, what starts fresh, and that it begins where that ended."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.core.task import Task, load_task
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec
from medseg.models.weights import set_weights, weights_of
from medseg.training.augment import Augmentation
from medseg.training.batches import PatchSampler
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import EpochRecord, load_checkpoint, save_checkpoint
from medseg.training.distributed import Team
from medseg.training.fine_tune import first_checkpoint, fitted_to, inherit
from medseg.training.losses.weighted_sum import WeightedSum
from medseg.training.planning.plan import Plan
from medseg.training.train import Observer, train

CPU = Team(torch.device("cpu"))


def with_task(plan: Plan, task: Task) -> Plan:
    return plan.model_copy(update={"model": plan.model.model_copy(update={"task": task})})


@pytest.fixture
def parent(plan: Plan, provenance: Provenance) -> ModelBundle:
    """Weights that no seed of a plan here gives."""
    torch.manual_seed(1234)
    weights = weights_of(plan.model.network.build(1, 2))
    return ModelBundle("parent", "f" * 64, plan.model, weights, provenance, None)


class Losses:
    """The loss of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def step_ended(self, fraction: float, loss: float) -> None:
        self.seen.append(loss)

    def epoch_ended(self, records: Sequence[EpochRecord]) -> None: ...


def test_fine_tuning_starts_at_the_loss_of_the_bundle(
    plan: Plan, parent: ModelBundle, cases: list[PreparedCase], checkpoint_path: Path
) -> None:
    spec = plan.training.model_copy(update={"epochs": 1, "mixed_precision": False})
    plan = plan.model_copy(update={"training": spec})
    inherited = inherit(plan, parent)
    assert inherited.fresh == ()
    save_checkpoint(first_checkpoint(plan, cases, inherited.weights), checkpoint_path)
    tuned, fresh = Losses(), Losses()
    train(plan, cases, [], checkpoint_path, CPU, tuned)
    train(plan, cases, [], checkpoint_path.with_name("fresh"), CPU, fresh)

    network = plan.model.network.build(1, 2)
    set_weights(network, parent.weights)
    sampler = PatchSampler(cases, plan.model.window.patch, batch_size=2, foreground_fraction=0.66, seed=0)
    batch = sampler.batch(0, 0)
    images, classes = Augmentation(spec.augmentation, (1.0, 1.0, 1.0)).change(batch.images, batch.classes, batch.seeds)
    expected = float(WeightedSum(spec.loss)(network.train()(images), classes.long()).detach())
    assert tuned.seen[0] == pytest.approx(expected, rel=1e-5)
    assert abs(fresh.seen[0] - expected) > 1e-3
    assert load_checkpoint(checkpoint_path).progress.epochs_done == 1


def test_the_first_checkpoint_is_of_its_plan_and_data(
    plan: Plan, parent: ModelBundle, cases: list[PreparedCase], tmp_path: Path, observer: Observer
) -> None:
    save_checkpoint(first_checkpoint(plan, cases[:2], parent.weights), tmp_path / "tuned")
    with pytest.raises(PlanError, match="another training data"):
        train(plan, cases, [], tmp_path / "tuned", CPU, observer)


def test_heads_of_another_label_set_start_fresh(plan: Plan, parent: ModelBundle) -> None:
    inherited = inherit(with_task(plan, load_task("hippocampus_mr")), parent)
    assert inherited.fresh
    assert all("output_block" in name for name in inherited.fresh)
    for name, tensor in inherited.weights.items():
        assert (name in inherited.fresh) == (not torch.equal(tensor, parent.weights[name]))
    assert {inherited.weights[name].shape[0] for name in inherited.fresh} == {3}


def test_as_many_labels_of_another_meaning_are_another_label_set(plan: Plan, parent: ModelBundle) -> None:
    task = plan.model.task
    (label,) = task.labels
    renamed = task.model_copy(update={"labels": (label.model_copy(update={"name": "other_name"}),)})
    assert inherit(with_task(plan, renamed), parent).fresh == ()
    code = label.code.model_copy(update={"value": "10200004"})
    other = task.model_copy(update={"labels": (label.model_copy(update={"code": code}),)})
    fresh = inherit(with_task(plan, other), parent).fresh
    assert fresh
    assert all("output_block" in name for name in fresh)


def test_a_layer_that_sees_more_channels_starts_fresh(plan: Plan, parent: ModelBundle) -> None:
    task = plan.model.task
    second = task.channels[0].model_copy(update={"name": "second"})
    more = task.model_copy(update={"channels": (*task.channels, second)})
    fresh = inherit(with_task(plan, more), parent).fresh
    assert len(fresh) == 1
    assert "input_block.conv1" in fresh[0]


def test_another_network_is_refused(plan: Plan, parent: ModelBundle) -> None:
    other = UNet3DConfig(channels=(4, 8, 12), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3)
    model = plan.model.model_copy(update={"network": other})
    with pytest.raises(PlanError, match=r"weights of unet3d \(channels 4, 8, 8\), the plan trains .* 4, 8, 12"):
        inherit(plan.model_copy(update={"model": model}), parent)


def test_a_plan_made_from_data_takes_what_the_weights_are_used_to(plan: Plan, parent: ModelBundle) -> None:
    own = ModelSpec.model_validate(
        {
            **plan.model.model_dump(),
            "preparation": {**plan.model.preparation.model_dump(), "spacing_mm": (2.0, 2.0, 2.0)},
            "network": UNet3DConfig(
                channels=(8, 16, 16), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
            ),
            "window": {"patch": (8, 8, 8), "mirror_axes": (0,)},
        }
    )
    training = plan.training.model_copy(update={"batch_size": 8})
    fitted = fitted_to(Plan(model=own, training=training), replace(parent, sha256="a" * 64))
    assert fitted.model.network == parent.spec.network
    assert fitted.model.preparation == parent.spec.preparation
    assert fitted.model.window.patch == (12, 12, 12)
    assert fitted.model.window.mirror_axes == (0,)
    assert fitted.training.batch_size == 2  # 8 patches of 8^3 are 2.4 of 12^3
    assert fitted.training.parent_sha256 == "a" * 64
