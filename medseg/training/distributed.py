"""Several processes as one training: each takes its share of every batch, and sums go round.

Started by `torchrun --nproc-per-node N -m medseg.cli train ...`. Every process draws the same batches from the same
seed and works on its own share of them; losses are functions of sums (`medseg.training.step`), so that adding up the
sums, and then the gradients, gives each process the gradient that one process would have had. Sums go round by gloo on
CPUs and by NCCL on GPUs. The processes see the same run folder: on one machine, or on a shared disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medseg.core.errors import PlanError

PATIENCE = timedelta(hours=1)
"""How long a process that is alive but silent is waited for: one plans while the others wait. A process that dies is
noticed at once, by its closed connection."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The place that torchrun gave this process: among all, and among those on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


@dataclass(frozen=True, slots=True)
class Team:
    """This process's device and rank among the `size` processes that train together; alone, a team of one.

    Every process has to call the same methods in the same order. Raises PlanError where another has gone.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of a batch. Raises PlanError where the batch cannot be shared evenly."""
        each, left = divmod(batch_size, self.size)
        if left:
            larger = batch_size - left + self.size
            smaller = f"{batch_size - left} or " if each else ""
            raise PlanError(
                f"a batch of {batch_size} patches cannot be shared by {self.size} processes. "
                f"Make batch_size {smaller}{larger} in the plan, or start another number of processes."
            )
        return slice(self.rank * each, (self.rank + 1) * each)

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of each tensor over all processes, in one exchange. They have one number format and device."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _others_answering():
            dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its sum over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        for own, total in zip(gradients, self.summed(gradients), strict=True):
            own.copy_(total)

    def is_any(self, condition: bool) -> bool:
        """Whether the condition holds in any process."""
        return bool(self.summed([torch.tensor([float(condition)])])[0])

    def of_leader(self, value: float) -> float:
        """The leader's value: clocks differ, and all must stop at the same step."""
        mine = torch.tensor([value if self.is_leader else 0.0], dtype=torch.float64)
        return float(self.summed([mine])[0])

    def wait(self) -> None:
        """Return when every process has come to this point."""
        self.is_any(False)


@contextmanager
def assembled(seat: Seat, device: torch.device) -> Iterator[Team]:
    """The team of all processes that torchrun has started. Raises PlanError where they cannot come together.

    torch reads the address of the meeting place, MASTER_ADDR and MASTER_PORT, from what torchrun has set.
    """
    if seat.size == 1:
        yield Team(device)
        return
    if device.type == "cuda":
        if seat.local_rank >= torch.cuda.device_count():
            raise PlanError(
                f"process {seat.local_rank + 1} of this machine finds {torch.cuda.device_count()} GPUs, and each takes "
                f"one. Start at most {torch.cuda.device_count()} with --nproc-per-node, or train with --device cpu."
            )
        device = torch.device("cuda", seat.local_rank)
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=seat.rank, world_size=seat.size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise PlanError(
            f"the {seat.size} processes of this training cannot reach each other ({_first_line(error)}). "
            "Start them with torchrun, and let its --master-addr and --master-port be reachable."
        ) from error
    try:
        yield Team(device, seat.rank, seat.size)
    finally:
        dist.destroy_process_group()


@contextmanager
def _others_answering() -> Iterator[None]:
    """Turn what torch says when another process is gone into a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise PlanError(
            f"another process of this training no longer answers ({_first_line(error)}). Its own message says why; "
            "mend that and run the same command again: the training goes on after its last full epoch."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
