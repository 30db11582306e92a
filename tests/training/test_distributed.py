"""Two real processes that train together over gloo: the same model as one process, and an end when one dies."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from free_port import free_port

from medseg.core.errors import PlanError
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import load_checkpoint
from medseg.training.distributed import Seat, Team, assembled
from medseg.training.losses.centreline_dice import CentrelineDiceConfig
from medseg.training.losses.dice import DiceConfig
from medseg.training.losses.focal import FocalConfig
from medseg.training.planning.plan import Plan, write_plan
from medseg.training.train import Observer, train

CPU = torch.device("cpu")

TOGETHER = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, {here!r})
from conftest import Silence, ball_case
from medseg.core.errors import MedsegError
from medseg.models.networks.unet3d import UNet3D
from medseg.training.distributed import Seat, assembled
from medseg.training.planning.plan import read_plan
from medseg.training.train import train

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
cases = [ball_case(f"ball{{n}}", n) for n in range(4)]
plan = read_plan(folder / "plan.toml")


class DiesInSecondEpoch(Silence):
    epochs = 0

    def step_ended(self, fraction, loss):
        if self.epochs == 1 and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def epoch_ended(self, records):
        self.epochs += 1


def short_of_memory(self, images, forward=UNet3D.forward):
    if self.training and len(images) > 1 and rank == 1:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return forward(self, images)


try:
    with assembled(Seat(rank, 2, rank), torch.device("cpu")) as team:
        for scenario in ("plain", "short", "dies"):
            if scenario == "short":
                UNet3D.forward = short_of_memory
            observer = DiesInSecondEpoch() if scenario == "dies" else Silence()
            final = train(plan, cases, cases[:3], folder / f"{{scenario}}{{rank}}", team, observer)
            print(scenario, sum(float(t.double().sum()) for t in final.average.values()), flush=True)
except MedsegError as error:
    print("medseg:", error)
    sys.exit(2)
"""


@dataclass(frozen=True)
class Ended:
    """Exit code and output of each process, and the folder where each left its checkpoints."""

    codes: list[int]
    printed: list[list[str]]
    folder: Path


@pytest.fixture(scope="module")
def exact(plan: Plan) -> Plan:
    """In float32, with losses pooled over the batch and a batch of four patches."""
    spec = plan.training.model_copy(
        update={
            "mixed_precision": False,
            "batch_size": 4,
            "epochs": 2,
            "may_shrink_batch": True,
            "loss": (DiceConfig(), FocalConfig(), CentrelineDiceConfig()),
        }
    )
    return plan.model_copy(update={"training": spec})


@pytest.fixture(scope="module")
def ended(exact: Plan, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two processes that train together: plainly, with memory for one patch in the second, and until that one dies."""
    folder = tmp_path_factory.mktemp("together")
    write_plan(exact, folder / "plan.toml")
    place = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", TOGETHER.format(here=str(Path(__file__).parent)), str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], env=place, stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=600)[0].splitlines() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return Ended([process.returncode for process in processes], printed, folder)


@pytest.mark.parametrize("scenario", ["plain", "short"])
def test_two_processes_train_the_model_of_one(
    scenario: str, ended: Ended, exact: Plan, cases: list[PreparedCase], tmp_path: Path, observer: Observer
) -> None:
    """Sums are added in another order, which float32 rounds otherwise, and Adam makes the most of a gradient near 0:
    after six steps of up to 2e-3 the weights agree to 2e-5."""
    alone = train(exact, cases, cases[:3], tmp_path / "alone", Team(CPU), observer)
    final = load_checkpoint(ended.folder / f"{scenario}0")
    for kept in ("network", "average"):
        for name, tensor in getattr(alone, kept).items():
            torch.testing.assert_close(getattr(final, kept)[name], tensor, rtol=0, atol=2e-5)
    for one, two in zip(alone.progress.records, final.progress.records, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)
        assert two.validation_dice == pytest.approx(one.validation_dice, abs=1e-3)
        assert two.patches_at_once == (1 if scenario == "short" else None)


def test_both_have_the_same_weights_and_only_the_leader_writes(ended: Ended) -> None:
    first, second = ended.printed
    assert [line.split()[0] for line in second] == ["plain", "short"]
    assert first[:2] == second  # the sums of all averaged weights, to the last digit
    assert {path.name for path in ended.folder.iterdir()} == {"plan.toml", "plain0", "short0", "dies0"}


def test_when_one_process_dies_the_other_ends_with_a_sentence(ended: Ended) -> None:
    assert ended.codes == [2, -signal.SIGKILL]
    assert "medseg: another process of this training no longer answers" in ended.printed[0][-1]
    assert load_checkpoint(ended.folder / "dies0").progress.epochs_done == 1


def test_a_batch_is_shared_evenly_or_not_at_all() -> None:
    assert [Team(CPU, rank, 3).share(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert Team(CPU).share(5) == slice(0, 5)
    with pytest.raises(PlanError, match=r"batch of 5 patches cannot be shared by 2 processes\. Make batch_size 4 or 6"):
        Team(CPU, 0, 2).share(5)
    with pytest.raises(PlanError, match=r"batch of 2 patches cannot be shared by 4 processes\. Make batch_size 4 in"):
        Team(CPU, 3, 4).share(2)


def test_alone_nothing_has_to_be_reached() -> None:
    with assembled(Seat(), CPU) as team:
        assert team == Team(CPU)
        assert team.is_leader
        assert team.of_leader(1.5) == 1.5
        assert team.is_any(True)
        assert not team.is_any(False)


def test_without_a_meeting_place_it_says_to_use_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    unreachable = pytest.raises(PlanError, match=r"2 processes .* cannot reach each other .*MASTER_ADDR.*torchrun")
    with unreachable, assembled(Seat(0, 2), CPU):
        raise AssertionError
