"""The gradient of one batch, taken in as many parts as memory and processes need, and the same as if taken at once.

Dice is pooled over the batch, so the mean of the parts' losses is not the loss of the batch. But every loss is a
function L of sums S over voxels, and dL/dw is the sum over the parts p of dL/dS * dS_p/dw. So each part goes forward,
the sums of all parts and processes are added up, dL/dS is taken once, and each part goes backward from its own sums
with that slope. One part in one process is the plain backward pass, bit by bit. Several parts in one process go forward
twice: first without gradient for the sums, then one after the other for the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from medseg.core.errors import PlanError
from medseg.models.inference.device import autocast, has_fast_bfloat16
from medseg.training.distributed import Team
from medseg.training.losses.weighted_sum import WeightedSum

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Patches that go through the network at once; `seed` is where its dropout is drawn from."""

    images: Tensor
    classes: Tensor
    seed: int


class BatchGradient:
    """Leaves the gradient of a whole batch at the network's parameters.

    `at_once` is how many patches go through the network together, None as many as there are. Where memory runs out and
    `may_shrink` allows it, they become half as many, on every process, and the batch is begun again.
    """

    def __init__(
        self, network: nn.Module, loss: WeightedSum, team: Team, *, mixed_precision: bool, may_shrink: bool
    ) -> None:
        self._network, self._loss, self._team = network, loss, team
        self._mixed_precision = mixed_precision and has_fast_bfloat16(team.device)
        self._may_shrink = may_shrink
        self.at_once: int | None = None

    def leave(self, images: Tensor, classes: Tensor, seeds: Sequence[int]) -> float:
        """The loss of the batch of which this process has these patches; gradients are left where it is finite.

        Raises what torch raises when memory runs out, where the batch may not be taken in smaller parts.
        """
        while True:
            count = min(self.at_once or len(images), len(images))
            parts = [
                Part(images[first : first + count], classes[first : first + count], seeds[first])
                for first in range(0, len(images), count)
            ]
            value = self._attempt(parts, may_shrink=self._may_shrink and count > 1)
            if value is not None:
                return value
            self.at_once = math.ceil(count / 2)
            if self._team.device.type == "cuda":
                torch.cuda.empty_cache()  # what the failed attempt held in pieces is needed in one piece

    def _attempt(self, parts: Sequence[Part], *, may_shrink: bool) -> float | None:
        """The loss, its gradients left; None where memory ran out and the parts may be smaller."""
        sums = self._within_memory(lambda: self._forward(parts), may_shrink=may_shrink)
        if sums is None:
            return None
        pooled = [of_batch.requires_grad_() for of_batch in self._team.summed([own.detach() for own in sums])]
        loss = self._loss.from_sums(pooled)
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        slopes = torch.autograd.grad(loss, pooled)
        if self._within_memory(lambda: self._backward(parts, sums, slopes), may_shrink=may_shrink) is None:
            return None
        self._team.sum_gradients(self._network)
        return value

    def _forward(self, parts: Sequence[Part]) -> list[Tensor]:
        """The sums over all parts; of a single part with what its backward pass needs."""
        self._network.train()
        if len(parts) == 1:
            return self._sums(parts[0])
        with torch.no_grad():
            of_parts = [self._sums(part) for part in parts]
        return [torch.stack(terms).sum(dim=0) for terms in zip(*of_parts, strict=True)]

    def _backward(self, parts: Sequence[Part], sums: list[Tensor], slopes: Sequence[Tensor]) -> bool:
        self._network.zero_grad(set_to_none=True)
        if len(parts) == 1:
            torch.autograd.backward(sums, slopes)
        else:
            for part in parts:
                torch.autograd.backward(self._sums(part), slopes)
        return True

    def _sums(self, part: Part) -> list[Tensor]:
        # Seeded for each part: both passes drop the same features, and so does a step that is repeated after a kill.
        torch.manual_seed(part.seed)
        with autocast(self._team.device, enabled=self._mixed_precision):
            heads = self._network(part.images.contiguous(memory_format=torch.channels_last_3d))
        return self._loss.sums(heads, part.classes)

    def _within_memory(self, work: Callable[[], T], *, may_shrink: bool) -> T | None:
        """What the work gives; None where memory ran out in any process."""
        if not may_shrink:
            return work()
        try:
            result = work()
        except (RuntimeError, MemoryError) as error:
            if not is_memory_error(error):
                raise
            result = None
        return None if self._team.is_any(result is None) else result


def is_memory_error(error: BaseException) -> bool:
    """Whether memory ran out: of the GPU, of Python, or of torch on a CPU, which has no error of its own for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def clear_memory_errors(batch: BatchGradient, images: Tensor) -> Iterator[None]:
    """Turn the end of memory into a PlanError that names the patches and says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory_error(error):
            raise
        count, patch = min(batch.at_once or len(images), len(images)), tuple(images.shape[2:])
        mend = "Lower patch in the plan, or its network's channels."
        if count > 1:
            mend = "Lower batch_size or patch in the plan, or set its may_shrink_batch = true."
        raise PlanError(
            f"memory ran out with {count} patch{'es' if count > 1 else ''} of {patch} voxels. {mend}"
        ) from error
