"""Patches drawn from prepared cases: which step of which epoch gets which patch depends on the seed alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.core.geometry import Shape
from medseg.imaging.preparing.padding import pad_to
from medseg.training.cases import PreparedCase

JITTER = 0.25
"""A labelled voxel is put within this part of the patch's side around its middle, not always in it: a network that
always saw the label in the middle would learn the middle."""

AHEAD = 3
"""Batches made beforehand: enough for one slow read of the disk, little memory."""

WHOLE = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images (batch, channel, i, j, k) float32, classes (batch, i, j, k) uint8: one process's share of a whole batch.

    `seeds` has a number for each patch, from which its changes are drawn; `cases` names the cases of the whole batch.
    """

    images: Tensor
    classes: Tensor
    seeds: tuple[int, ...]
    cases: tuple[str, ...]

    def pinned(self) -> Batch:
        """The same in memory that a GPU fetches from by itself."""
        return replace(self, images=self.images.pin_memory(), classes=self.classes.pin_memory())


class PatchSampler:
    """Batches by epoch and step. Each epoch goes through the cases in a new order, every case equally often."""

    def __init__(
        self, cases: Sequence[PreparedCase], patch: Shape, *, batch_size: int, foreground_fraction: float, seed: int
    ) -> None:
        self._patch = patch
        self._batch_size = batch_size
        self._foreground_fraction = foreground_fraction
        self._seed = seed
        self._cases = [_Padded.of(case, patch) for case in cases]

    def batch(self, epoch: int, step: int, share: slice = WHOLE) -> Batch:
        """That share of the step's batch, the same each time it is asked for."""
        generator = np.random.default_rng([self._seed, epoch, step])
        chosen = [self._cases[self._case_index(epoch, step * self._batch_size + n)] for n in range(self._batch_size)]
        # All places are drawn, and only the share is read: what a patch is does not depend on how a batch is shared.
        starts = [self._start(case, generator) for case in chosen]
        images, classes = [], []
        for case, start in zip(chosen[share], starts[share], strict=True):
            box = tuple(slice(a, a + p) for a, p in zip(start, self._patch, strict=True))
            images.append(torch.from_numpy(np.array(case.image[(slice(None), *box)])))
            classes.append(torch.from_numpy(np.array(case.classes[box])))
        seeds = np.random.SeedSequence([self._seed, epoch, step, 2]).generate_state(self._batch_size)
        names = tuple(case.name for case in chosen)
        return Batch(torch.stack(images), torch.stack(classes), tuple(map(int, seeds[share])), names)

    def _case_index(self, epoch: int, draw: int) -> int:
        round_, place = divmod(draw, len(self._cases))
        order = np.random.default_rng([self._seed, epoch, round_, 1]).permutation(len(self._cases))
        return int(order[place])

    def _start(self, case: _Padded, generator: np.random.Generator) -> Shape:
        """Where the patch begins: around a voxel of a random label of the case, or anywhere."""
        room = [n - p for n, p in zip(case.classes.shape, self._patch, strict=True)]
        present = [places for places in case.places if len(places)]
        if present and generator.random() < self._foreground_fraction:
            places = present[generator.integers(len(present))]
            voxel = places[generator.integers(len(places))]
            shift = [int(generator.integers(-int(p * JITTER), int(p * JITTER) + 1)) for p in self._patch]
            wanted = [int(v) - p // 2 + s for v, p, s in zip(voxel, self._patch, shift, strict=True)]
            i, j, k = (min(max(0, w), r) for w, r in zip(wanted, room, strict=True))
        else:
            i, j, k = (int(generator.integers(r + 1)) for r in room)
        return i, j, k


def made_ahead(make: Callable[[int], Batch], count: int, ahead: int = AHEAD) -> Generator[Batch]:
    """`make(0)` to `make(count - 1)`, in this order; a thread makes up to `ahead` of them while one is in use.

    What `make` raises is raised here in its turn. Close it to end the thread early.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        waiting = deque(thread.submit(make, step) for step in range(min(ahead, count)))
        for step in range(ahead, count + ahead):
            batch = waiting.popleft().result()
            if step < count:
                waiting.append(thread.submit(make, step))
            yield batch


@dataclass(frozen=True, slots=True, eq=False)
class _Padded:
    name: str
    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    places: tuple[NDArray[np.int32], ...]

    @classmethod
    def of(cls, case: PreparedCase, patch: Shape) -> _Padded:
        image, before = pad_to(case.image, patch)
        if image is case.image:
            return cls(case.name, image, case.classes, case.places)
        classes = np.zeros(image.shape[1:], dtype=np.uint8)
        classes[tuple(slice(b, b + n) for b, n in zip(before, case.classes.shape, strict=True))] = case.classes
        return cls(case.name, image, classes, tuple(places + np.asarray(before, np.int32) for places in case.places))
