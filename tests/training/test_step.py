"""A batch taken in parts has the gradient of the whole, and memory that runs out makes the parts smaller."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.core.errors import PlanError
from medseg.models.networks.unet3d import UNet3D, UNet3DConfig
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import Checkpoint
from medseg.training.distributed import Team
from medseg.training.losses.boundary import BoundaryConfig
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.cross_entropy import CrossEntropyConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.losses.weighted_sum import WeightedSum
from medseg.training.planning.plan import Plan
from medseg.training.step import BatchGradient
from medseg.training.train import Observer, train

CPU = Team(torch.device("cpu"))
LOSS = WeightedSum(
    (
        DiceConfig(),
        FocalConfig(),
        CrossEntropyConfig(class_weights=(0.5, 1.0, 2.0)),
        CentrelineDiceConfig(),
        BoundaryConfig(),
    )
)
SEEDS = (5, 6, 7)


def made_network() -> nn.Module:
    torch.manual_seed(0)
    stages = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    config = UNet3DConfig(channels=(4, 8, 8), strides=stages, kernel_sizes=((3, 3, 3),) * 3, deep_supervision=1)
    return config.build(1, 3)


def made_batch() -> tuple[Tensor, Tensor]:
    """Three patches, of which one has no label and one is half unknown: the mean of their losses is not the batch's."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (3, 8, 8, 8), generator=generator)
    classes[1] = 0
    classes[2, :4] = 255
    return torch.randn(3, 1, 8, 8, 8, generator=generator), classes


def gradient(network: nn.Module, at_once: int | None) -> tuple[float, dict[str, Tensor]]:
    batch = BatchGradient(network, LOSS, CPU, mixed_precision=False, may_shrink=False)
    batch.at_once = at_once
    network.zero_grad()
    loss = batch.leave(*made_batch(), SEEDS)
    return loss, {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_taken_at_once_it_is_the_plain_backward_pass_bit_by_bit() -> None:
    network = made_network()
    loss, gradients = gradient(network, None)
    network.zero_grad()
    images, classes = made_batch()
    expected = LOSS(network(images.contiguous(memory_format=torch.channels_last_3d)), classes)
    expected.backward()
    assert loss == float(expected.detach())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=0)


@pytest.mark.parametrize("at_once", [1, 2])
def test_taken_in_parts_it_has_the_same_loss_and_gradient(at_once: int) -> None:
    network = made_network()
    whole, expected = gradient(network, None)
    loss, gradients = gradient(network, at_once)
    assert loss == pytest.approx(whole, rel=1e-5)
    assert gradients.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(gradients[name], tensor, rtol=1e-4, atol=1e-6)


class Dropping(nn.Module):
    """A network whose answer hangs on what it drops."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 8, 1), nn.Dropout3d(0.5), nn.Conv3d(8, 3, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]


def test_both_passes_drop_the_same_and_a_repeated_step_too() -> None:
    torch.manual_seed(0)
    network = Dropping()
    in_parts, gradients = gradient(network, 1)
    torch.manual_seed(99)  # as in a process that was started anew
    again, repeated = gradient(network, 1)
    assert again == in_parts
    for name, tensor in gradients.items():
        torch.testing.assert_close(repeated[name], tensor, rtol=0, atol=0)
    seen = []
    network.layers.register_forward_hook(lambda *arguments: seen.append(arguments[2].detach()))
    gradient(network, 1)
    assert len(seen) == 6
    for first, second in zip(seen[:3], seen[3:], strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


class _FailsGoingBack(torch.autograd.Function):
    """Runs out of memory in the backward pass of more than one patch."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if len(gradient) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient


class Small(nn.Module):
    """Memory for one patch only, or for none; going forward, or back."""

    def __init__(self, *, fits: int, fails_going_back: bool = False) -> None:
        super().__init__()
        self.inner = made_network()
        self.fits = fits
        self.fails_going_back = fails_going_back
        self.tried: list[int] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        self.tried.append(len(images))
        if self.fails_going_back:
            return [_FailsGoingBack.apply(head) for head in self.inner(images)]  # type: ignore[no-untyped-call]
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        heads: list[Tensor] = self.inner(images)
        return heads


@pytest.mark.parametrize("fails_going_back", [False, True])
def test_memory_that_runs_out_makes_the_parts_smaller_not_the_batch(fails_going_back: bool) -> None:
    _, expected = gradient(made_network(), None)
    network = Small(fits=1, fails_going_back=fails_going_back)
    batch = BatchGradient(network, LOSS, CPU, mixed_precision=False, may_shrink=True)
    batch.leave(*made_batch(), SEEDS)
    assert batch.at_once == 1
    for name, parameter in network.inner.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)
    network.tried.clear()
    batch.leave(*made_batch(), SEEDS)
    assert set(network.tried) == {1}  # it is not tried again with more


def test_an_error_that_is_not_of_memory_is_not_swallowed() -> None:
    class Broken(Small):
        def forward(self, images: Tensor) -> list[Tensor]:
            raise RuntimeError("shapes do not match")

    batch = BatchGradient(Broken(fits=1), LOSS, CPU, mixed_precision=False, may_shrink=True)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        batch.leave(*made_batch(), SEEDS)


def run_with_memory_for(
    fits: int,
    plan: Plan,
    cases: list[PreparedCase],
    path: Path,
    observer: Observer,
    patch: pytest.MonkeyPatch,
    tried: list[int],
) -> Checkpoint:
    """The training with memory for so many patches; `tried` gets what was tried."""
    forward = UNet3D.forward

    def short(self: UNet3D, images: Tensor) -> list[Tensor]:
        if self.training:
            tried.append(len(images))
            if len(images) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    with patch.context() as patched:
        patched.setattr(UNet3D, "forward", short)
        return train(plan, cases, [], path, CPU, observer)


def test_a_training_goes_on_with_less_memory_and_remembers_it(
    plan: Plan, cases: list[PreparedCase], tmp_path: Path, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = plan.training.model_copy(update={"may_shrink_batch": True, "mixed_precision": False, "epochs": 1})
    plan = plan.model_copy(update={"training": spec})
    plenty = train(plan, cases, [], tmp_path / "plenty", CPU, observer)
    tried: list[int] = []
    short = run_with_memory_for(1, plan, cases, tmp_path / "short", observer, monkeypatch, tried)
    assert tried[0] == 2
    assert set(tried[1:]) == {1}
    assert plenty.progress.records[0].patches_at_once is None
    assert short.progress.records[0].patches_at_once == 1
    assert short.progress.records[0].loss == pytest.approx(plenty.progress.records[0].loss, rel=1e-3)
    for name, tensor in plenty.network.items():
        # Adam turns rounding of a gradient near 0 into a step of the rate's size.
        torch.testing.assert_close(short.network[name], tensor, rtol=0, atol=1e-3)


def test_a_resumed_training_does_not_run_out_of_memory_again(
    plan: Plan, cases: list[PreparedCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndsAfterAnEpoch:
        def step_ended(self, fraction: float, loss: float) -> None: ...

        def epoch_ended(self, records: object) -> None:
            raise InterruptedError

    spec = plan.training.model_copy(update={"may_shrink_batch": True})
    plan = plan.model_copy(update={"training": spec})
    with pytest.raises(InterruptedError):
        run_with_memory_for(1, plan, cases, tmp_path / "short", EndsAfterAnEpoch(), monkeypatch, [])
    tried: list[int] = []
    with pytest.raises(InterruptedError):
        run_with_memory_for(1, plan, cases, tmp_path / "short", EndsAfterAnEpoch(), monkeypatch, tried)
    assert set(tried) == {1}


@pytest.mark.parametrize(
    ("fits", "may_shrink", "sentence"),
    [
        (1, False, r"with 2 patches of \(12, 12, 12\) voxels\. Lower batch_size or patch .* may_shrink_batch = true"),
        (0, True, r"with 1 patch of \(12, 12, 12\) voxels\. Lower patch in the plan"),
    ],
)
def test_memory_that_does_not_suffice_is_a_sentence(
    fits: int,
    may_shrink: bool,
    sentence: str,
    plan: Plan,
    cases: list[PreparedCase],
    tmp_path: Path,
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = plan.training.model_copy(update={"may_shrink_batch": may_shrink})
    plan = plan.model_copy(update={"training": spec})
    with pytest.raises(PlanError, match=f"memory ran out {sentence}"):
        run_with_memory_for(fits, plan, cases, tmp_path / "short", observer, monkeypatch, [])


def test_torch_without_memory_on_a_cpu_is_told_by_its_words(
    plan: Plan, cases: list[PreparedCase], tmp_path: Path, observer: Observer
) -> None:
    class Giant(UNet3D):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [torch.empty(2**60)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(UNet3D, "forward", Giant.forward)
        with pytest.raises(PlanError, match="memory ran out with 2 patches"):
            train(plan, cases, [], tmp_path / "checkpoint", CPU, observer)
