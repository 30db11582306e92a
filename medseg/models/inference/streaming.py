"""The sliding window in memory that does not grow with the scan: scores are held only where windows still write.

Windows run row after row along one axis. When a row is done, the planes that no later window reaches are final; they
are handed on, and their place is taken by the planes that come next.

Scores are whole numbers: each window adds its score, from 0 to 1, times its share of the blend, the shares of all
windows over a voxel being 1 together. Sums of whole numbers are the same in any order, and two bytes a score suffice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.core.geometry import Shape
from medseg.imaging.preparing.planes import PreparedPlanes
from medseg.imaging.preparing.restore import MOST_PLANES
from medseg.models.inference.device import CPU
from medseg.models.inference.sliding_window import PatchReader, Progress, blend_weights, planes_at_once, window_starts
from medseg.models.spec import SlidingWindow

MOST_WINDOWS_IN_TWO_BYTES = 64
"""Up to so many windows over a voxel (an overlap of 0.75 along each axis) their rounding, half a unit each, stays below
0.1 per cent in two bytes; more of them are summed in four."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How windows cover a grid: all that follows from the shapes. Axes are in the order of the scores.

    `axes` says which axis of the network each of them is; windows run in rows along the first.
    """

    axes: Shape
    shape: Shape
    patch: Shape
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def window_count(self) -> int:
        """How often the network sees a patch, mirrored ones not counted."""
        return len(self.starts[0]) * len(self.starts[1]) * len(self.starts[2])

    @property
    def windows_over_a_voxel(self) -> int:
        """The most windows that lie over one voxel."""
        counts = [
            max(number - bisect_right(starts, start - side) for number, start in enumerate(starts, start=1))
            for starts, side in zip(self.starts, self.patch, strict=True)
        ]
        return counts[0] * counts[1] * counts[2]

    @property
    def score_type(self) -> torch.dtype:
        """The type in which scores are summed."""
        return torch.int16 if self.windows_over_a_voxel <= MOST_WINDOWS_IN_TWO_BYTES else torch.int32

    @property
    def one(self) -> int:
        """What a score of 1 counts for; rounding may add half a unit for each window, for which there is room."""
        return 32_000 if self.score_type == torch.int16 else 1 << 30

    @property
    def padded(self) -> Shape:
        """The grid, grown to a window where it is smaller."""
        i, j, k = (max(n, p) for n, p in zip(self.shape, self.patch, strict=True))
        return i, j, k


def plan_sweep(shape: Shape, window: SlidingWindow, axis: int | None = None) -> Sweep:
    """How a grid is covered; without an axis along the one for which the fewest scores need to be held."""
    if axis is None:
        sides = [max(n, p) for n, p in zip(shape, window.patch, strict=True)]
        held = [p * sides[n - 1] * sides[n - 2] for n, p in enumerate(window.patch)]
        axis = held.index(min(held))
    axes = (axis, *(other for other in range(3) if other != axis))
    first, second, third = axes
    turned = (shape[first], shape[second], shape[third])
    patch = (window.patch[first], window.patch[second], window.patch[third])
    i, j, k = (tuple(window_starts(n, p, window.overlap)) for n, p in zip(turned, patch, strict=True))
    return Sweep((first, second, third), turned, patch, (i, j, k))


def home_of_scores(device: torch.device, sweep: Sweep, class_count: int) -> torch.device:
    """Where scores are summed: where the network runs, unless they would take more than half of what is free there.

    On a GPU they are then also decoded, and only the mask is copied from it.
    """
    if device.type != "cuda":
        return CPU
    plane = sweep.padded[1] * sweep.padded[2]
    scores = class_count * plane * sweep.score_type.itemsize * (2 * sweep.patch[0] + MOST_PLANES)
    decoded = class_count * plane * 4 * MOST_PLANES * 4  # float32, and the two planes each lies between
    free, _ = torch.cuda.mem_get_info(device)
    return device if 2 * (scores + decoded) <= free else CPU


@torch.inference_mode()
def stream_scores(
    read: PatchReader,
    image: PreparedPlanes,
    window: SlidingWindow,
    sweep: Sweep,
    class_count: int,
    progress: Progress | None = None,
    home: torch.device = CPU,
) -> Iterator[Tensor]:
    """Scores (class, n, j, k) of a few planes at a time, in order; `sweep.one` stands for 1.

    `image` has its axes in the order of the sweep; `home` is where the scores lie (see `home_of_scores`). What is
    handed out is written over when the next is asked for. Probabilities differ from
    those of `sliding_window.sweep` by at most half a unit for each window over a voxel.
    """
    padded = _Padded(image, sweep)
    shares = _Shares(blend_weights(window).permute(sweep.axes).to(home), sweep)
    back = [sweep.axes.index(axis) for axis in range(3)]
    depth = sweep.patch[0]
    scores = torch.zeros((class_count, depth, *sweep.padded[1:]), dtype=sweep.score_type, device=home)
    seen = padded.planes(0, depth)
    done = 0
    for start, following in zip(sweep.starts[0], (*sweep.starts[0][1:], sweep.padded[0]), strict=True):
        for j, k in product(*sweep.starts[1:]):
            box = (slice(None), slice(None), slice(j, j + sweep.patch[1]), slice(k, k + sweep.patch[2]))
            patch = seen[box].transpose(0, *(axis + 1 for axis in back))
            probabilities = read(patch).permute(0, *(axis + 1 for axis in sweep.axes))
            _add(scores[box], probabilities.to(home), shares.of(start, j, k))
            done += 1
            if progress is not None:
                progress(done, sweep.window_count)
        finished = following - start
        yield from padded.inside(scores[:, :finished], start)
        if following < sweep.padded[0]:
            _move_up(scores, finished)
            scores[:, depth - finished :] = 0
            seen = np.concatenate([seen[:, finished:], padded.planes(start + depth, following + depth)], axis=1)


class _Shares:
    """What each window's probabilities count for, in units of a score: its blend over that of all windows there."""

    def __init__(self, blend: Tensor, sweep: Sweep) -> None:
        self._blend = blend.contiguous()
        self._sweep = sweep
        # The blend of all windows of one row; rows are alike, so the sum over all rows is a sum of these, shifted.
        self._row = torch.zeros((sweep.patch[0], *sweep.padded[1:]), device=blend.device)
        for j, k in product(*sweep.starts[1:]):
            self._row[:, j : j + sweep.patch[1], k : k + sweep.patch[2]] += blend

    def of(self, start: int, j: int, k: int) -> Tensor:
        """The share of the window that begins there, (i, j, k)."""
        depth = self._sweep.patch[0]
        total = torch.zeros_like(self._blend)
        for row in self._sweep.starts[0]:
            low, high = max(start, row), min(start, row) + depth
            if low < high:
                total[low - start : high - start] += self._row[
                    low - row : high - row, j : j + self._sweep.patch[1], k : k + self._sweep.patch[2]
                ]
        return self._blend * self._sweep.one / total


class _Padded:
    """The planes of an image grown on both sides to at least a window, as `padding.pad_to` grows it."""

    def __init__(self, image: PreparedPlanes, sweep: Sweep) -> None:
        self._image = image
        self._shape, self._padded = sweep.shape, sweep.padded
        self._before = [(p - n) // 2 for n, p in zip(sweep.shape, sweep.padded, strict=True)]
        self._lowest = image.lowest() if sweep.padded != sweep.shape else None

    def planes(self, start: int, stop: int) -> NDArray[np.float32]:
        """(channel, stop - start, j, k) of the grown image."""
        if self._lowest is None:
            return self._image.planes(start, stop)
        result = np.empty((len(self._lowest), stop - start, *self._padded[1:]), dtype=np.float32)
        result[:] = self._lowest[:, None, None, None]
        i, j, k = self._before
        low, high = max(start, i), min(stop, i + self._shape[0])
        if low < high:
            inside = self._image.planes(low - i, high - i)
            result[:, low - start : high - start, j : j + self._shape[1], k : k + self._shape[2]] = inside
        return result

    def inside(self, scores: Tensor, start: int) -> Iterator[Tensor]:
        """Of scores of the grown planes from `start` on those of the image, a few planes at a time."""
        i, j, k = self._before
        low, high = max(start, i), min(start + scores.shape[1], i + self._shape[0])
        for first in range(low, high, MOST_PLANES):
            last = min(first + MOST_PLANES, high)
            yield scores[:, first - start : last - start, j : j + self._shape[1], k : k + self._shape[2]]


def _add(scores: Tensor, probabilities: Tensor, share: Tensor) -> None:
    """Add a window's probabilities by its share, in whole units; a few planes at a time, as `_softmax` does."""
    at_once = planes_at_once(scores.device, len(share))
    for first in range(0, len(share), at_once):
        part = slice(first, first + at_once)
        scores[:, part] += (probabilities[:, part] * share[part]).round_().to(scores.dtype)


def _move_up(scores: Tensor, count: int) -> None:
    """Move planes forward by `count`, class by class: in one step torch would need a second copy of all of them."""
    for of_class in scores:
        of_class[: len(of_class) - count] = of_class[count:].clone()
