"""What follows from looking at the validation cases: an early end, and which weights are kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.core.task import load_task
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import Checkpoint, EpochRecord, load_checkpoint
from medseg.training.distributed import Team
from medseg.training.looks import best_look, chosen_for_looks, has_stalled, look
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.training.train import Observer, train

CPU = Team(torch.device("cpu"))


def record(epoch: int, dice: float | None) -> EpochRecord:
    shown = None if dice is None else {"a": dice - 0.1, "b": dice + 0.1}
    return EpochRecord(epoch=epoch, step=epoch, elapsed_s=1.0, learning_rate=1.0, loss=1.0, validation_dice=shown)


def records(*dice: float | None) -> list[EpochRecord]:
    return [record(epoch, value) for epoch, value in enumerate(dice)]


def patient(looks: int | None) -> TrainingSpec:
    return TrainingSpec(batch_size=1, steps_per_epoch=1, epochs=1, early_stop_looks=looks)


def test_the_best_look_is_the_first_of_the_highest_mean() -> None:
    assert best_look([]) is None
    assert best_look(records(None, None)) is None
    best = best_look(records(None, 0.5, None, 0.75, 0.25, 0.75))
    assert best is not None
    assert best.epoch == 3


def test_a_training_stalls_after_so_many_looks_without_a_better_one() -> None:
    dice = (0.3, None, 0.5, None, 0.5, None, 0.4)  # two looks after the best
    assert has_stalled(patient(2), records(*dice))
    assert not has_stalled(patient(3), records(*dice))
    assert not has_stalled(patient(2), records(*dice[:-1]))
    assert not has_stalled(patient(2), records(*dice, 0.6))
    assert not has_stalled(patient(None), records(*dice))
    assert not has_stalled(patient(1), records(None, None))


class Echo(nn.Module):
    """Gives the image's own classes with certainty, but for one label that it never finds."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [torch.stack([(images[:, 0] == number) * 50.0 for number in (0, 1, 7)], dim=1)]


@pytest.fixture
def seen(plan: Plan) -> tuple[ModelSpec, list[PreparedCase]]:
    """One case found whole, one half, and one with a label that `Echo` never finds."""
    classes = np.zeros((12, 12, 12), np.uint8)
    classes[:4] = 1
    with_both = classes.copy()
    with_both[6:] = 2
    half = classes.astype(np.float32)
    half[2:4] = 0  # 2 of 4 slices found: Dice 2 * 2 / (2 + 4)
    cases = [
        PreparedCase("whole", classes.astype(np.float32)[None], classes, (), ""),
        PreparedCase("half", half[None], classes, (), ""),
        PreparedCase("both", with_both.astype(np.float32)[None], with_both, (), ""),
    ]
    return plan.model.model_copy(update={"task": load_task("hippocampus_mr")}), cases


def test_a_look_is_the_mean_dice_of_each_label_that_is_there(seen: tuple[ModelSpec, list[PreparedCase]]) -> None:
    model, cases = seen
    dice = look(Echo(), model, cases, CPU)
    assert dice == {"anterior_hippocampus": pytest.approx((1 + 2 / 3 + 1) / 3), "posterior_hippocampus": 0.0}
    assert look(Echo(), model, cases[:2], CPU).keys() == {"anterior_hippocampus"}  # nobody has or predicts the other


class Second(Team):
    """The second of two processes, where the first has counted what is given."""

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        (counts,) = tensors
        assert not counts[[0, 2]].any()  # those that the first looked at
        first = torch.zeros_like(counts)
        first[0, 0], first[2, 0] = torch.tensor([576.0, 1152.0]), torch.tensor([0.0, 1152.0])
        return [counts + first]


def test_processes_share_the_cases_of_a_look(seen: tuple[ModelSpec, list[PreparedCase]]) -> None:
    model, cases = seen
    dice = look(Echo(), model, cases, Second(torch.device("cpu"), 1, 2))
    assert dice == {"anterior_hippocampus": pytest.approx((1 + 2 / 3 + 0) / 3)}


def test_looks_spread_over_the_validation_cases(cases: list[PreparedCase]) -> None:
    assert chosen_for_looks([]) == []
    assert chosen_for_looks(cases) == cases
    many = [cases[0]] * 30 + [cases[1]]
    assert len(chosen_for_looks(many)) == 8
    assert chosen_for_looks(many)[-1] is cases[1]


class Scripted:
    """Looks with a Dice that is known beforehand; remembers the weights that were looked at."""

    def __init__(self, dice: Sequence[float]) -> None:
        self._dice: Iterator[float] = iter(dice)
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, network: nn.Module, *_: object) -> dict[str, float]:
        self.seen.append({name: tensor.clone() for name, tensor in weights_of(network).items()})
        return {"sarcoma": next(self._dice)}


def scripted(
    plan: Plan, cases: list[PreparedCase], path: Path, observer: Observer, dice: Sequence[float], **fields: object
) -> tuple[Checkpoint, Scripted]:
    spec = plan.training.model_copy(update={"epochs": 6, "validation_looks": 6, **fields})
    script = Scripted(dice)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("medseg.training.train.look", script)
        return train(plan.model_copy(update={"training": spec}), cases, cases[:1], path, CPU, observer), script


def test_an_early_stop_ends_the_training_and_a_finished_one_is_not_gone_on_with(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    dice = (0.2, 0.5, 0.4, 0.45, 0.9, 0.9)
    stopped, _ = scripted(plan, cases, checkpoint_path, observer, dice, early_stop_looks=2)
    assert [r.mean_dice for r in stopped.progress.records] == [0.2, 0.5, 0.4, 0.45]
    again, script = scripted(plan, cases, checkpoint_path, observer, dice, early_stop_looks=2)
    assert again.progress == stopped.progress
    assert not script.seen


@pytest.mark.parametrize("keep", ["average", "last", "best"])
def test_the_plan_says_which_weights_are_kept(
    keep: str, plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    final, script = scripted(plan, cases, checkpoint_path, observer, (0.1, 0.3, 0.8, 0.2, 0.8, 0.7), keep=keep)
    place = {"average": 5, "last": 5, "best": 2}[keep]
    own, others = final.kept(keep), [n for n in range(6) if n != place]  # type: ignore[arg-type]
    for name, tensor in script.seen[place].items():
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=0)
    for other in others:
        assert not all(torch.equal(own[name], tensor) for name, tensor in script.seen[other].items())
    saved = load_checkpoint(checkpoint_path)
    assert all(torch.equal(saved.kept(keep)[name], tensor) for name, tensor in own.items())  # type: ignore[arg-type]
    assert (final.kept(keep) is final.network) == (keep == "last")  # type: ignore[arg-type]


def test_the_best_weights_survive_an_interruption(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    dice = (0.1, 0.9, 0.2, 0.3, 0.4, 0.5)
    with pytest.raises(StopIteration):
        scripted(plan, cases, checkpoint_path, observer, dice[:3], keep="best")
    assert load_checkpoint(checkpoint_path).progress.epochs_done == 3
    final, _ = scripted(plan, cases, checkpoint_path, observer, dice[3:], keep="best")
    whole, _ = scripted(plan, cases, checkpoint_path.with_name("whole"), observer, dice, keep="best")
    for name, tensor in whole.best.items():
        torch.testing.assert_close(final.best[name], tensor, rtol=0, atol=0)


def test_best_without_a_look_is_the_average(
    plan: Plan, cases: list[PreparedCase], checkpoint_path: Path, observer: Observer
) -> None:
    spec = plan.training.model_copy(update={"keep": "best", "epochs": 1, "early_stop_looks": 1})
    final = train(plan.model_copy(update={"training": spec}), cases, [], checkpoint_path, CPU, observer)
    assert final.kept("best") is final.average
