"""A network swept over a scan in windows that overlap, blended by a Gaussian (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medseg.core.geometry import Shape
from medseg.imaging.padding import pad_to
from medseg.models.device import autocast, has_fast_bfloat16
from medseg.models.spec import SlidingWindow

GAUSSIAN_SIGMA = 1 / 8
"""Width of the blending weight in sides of the window: what a window says of its border lacks context."""

LOWEST_WEIGHT = 1e-3
"""Weight of a window's corners relative to its middle: above zero, so that every voxel gets an answer."""

PLANES_AT_ONCE = 8
"""Planes of a window that are worked on at a time, so that intermediate results stay small."""

Progress = Callable[[int, int], None]
"""Told how many windows are done, of how many."""

Answer = Callable[[nn.Module, Tensor, tuple[int, ...]], Tensor]
"""What a network says of a patch (1, channel, i, j, k), mirrored along these axes or not: (1, class, i, j, k)."""


class PatchReader:
    """Says of a patch (channel, i, j, k) which class each voxel is: the one place where a patch becomes probabilities.

    What it says of a patch of one constant value is remembered, until one of another value comes: of a body in air many
    windows are air, and clipped or masked air is one value.
    """

    def __init__(
        self, network: nn.Module, window: SlidingWindow, device: torch.device, answer: Answer | None = None
    ) -> None:
        self._network = network.eval()
        self._answer = answer or mean_probabilities
        self._window = window
        self._device = device
        self._constant: tuple[bytes, Tensor] | None = None

    @torch.inference_mode()
    def __call__(self, patch: NDArray[np.float32]) -> Tensor:
        """Class probabilities (class, i, j, k) float32 on the device; not to be written into."""
        corner = patch[:, :1, :1, :1]
        if not self._window.reuse_constant or not (patch == corner).all():
            return self._read(patch)
        value = corner.tobytes()
        if self._constant is None or self._constant[0] != value:
            self._constant = (value, self._read(patch))
        return self._constant[1]

    def _read(self, patch: NDArray[np.float32]) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(patch))[None].to(self._device)
        return self._answer(self._network, images, self._window.mirror_axes)[0]


@torch.inference_mode()
def sweep(
    network: nn.Module,
    image: NDArray[np.float32],
    window: SlidingWindow,
    *,
    class_count: int,
    device: torch.device,
    progress: Progress | None = None,
    answer: Answer | None = None,
) -> NDArray[np.float32]:
    """Class probabilities (class, i, j, k) float32 of an image (channel, i, j, k) prepared for the network.

    They lie in memory for all classes and voxels, for what needs the whole of them; `streaming` needs a few planes.
    """
    padded, offset = pad_to(image, window.patch)
    shape: Shape = (padded.shape[1], padded.shape[2], padded.shape[3])
    scores = torch.zeros((class_count, *shape))
    weights = torch.zeros(shape)
    blend = blend_weights(window)
    read = PatchReader(network, window, device, answer)
    starts = list(product(*(window_starts(n, p, window.overlap) for n, p in zip(shape, window.patch, strict=True))))
    for done, start in enumerate(starts, start=1):
        box = tuple(slice(a, a + p) for a, p in zip(start, window.patch, strict=True))
        scores[(slice(None), *box)] += read(padded[(slice(None), *box)]).cpu() * blend
        weights[box] += blend
        if progress is not None:
            progress(done, len(starts))
    scores /= weights
    inside = tuple(slice(o, o + n) for o, n in zip(offset, image.shape[1:], strict=True))
    return scores[(slice(None), *inside)].numpy()


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows of `side` voxels begin so that they cover `length` evenly with at least the wanted overlap."""
    if length <= side:
        return [0]
    step = max(1.0, side * (1 - overlap))
    count = int(np.ceil((length - side) / step)) + 1
    return [int(start) for start in np.linspace(0, length - side, count).round()]


def blend_weights(window: SlidingWindow) -> Tensor:
    """How much each voxel of a window (i, j, k) counts where windows overlap."""
    return gaussian_weights(window.patch) if window.blend == "gaussian" else torch.ones(window.patch)


def gaussian_weights(patch: Shape) -> Tensor:
    """The blending weight of each voxel of a window (i, j, k): 1 in the middle, falling towards the border."""
    sides = []
    for side in patch:
        place = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2) / (side * GAUSSIAN_SIGMA)
        sides.append(torch.exp(-0.5 * place**2))
    weights = sides[0][:, None, None] * sides[1][None, :, None] * sides[2][None, None, :]
    return (weights / weights.max()).clamp_min(LOWEST_WEIGHT)


def mean_probabilities(network: nn.Module, patch: Tensor, mirror_axes: tuple[int, ...]) -> Tensor:
    """Softmax over classes (1, class, i, j, k) float32, averaged over every combination of mirrored axes."""
    answers = mirrored_answers(network, patch, mirror_axes)
    total = next(answers)
    for answer in answers:
        total += answer
    return total.div_(2 ** len(mirror_axes)) if mirror_axes else total


def mirrored_answers(network: nn.Module, patch: Tensor, mirror_axes: tuple[int, ...]) -> Iterator[Tensor]:
    """Softmax over classes (1, class, i, j, k) float32 for every combination of mirrored axes, mirrored back."""
    yield _softmax(_logits(network, patch))
    for flip in chain.from_iterable(combinations(mirror_axes, n) for n in range(1, len(mirror_axes) + 1)):
        axes = tuple(axis + 2 for axis in flip)
        yield _softmax(_logits(network, patch.flip(axes))).flip(axes)


def _logits(network: nn.Module, patch: Tensor) -> Tensor:
    with autocast(patch.device, enabled=has_fast_bfloat16(patch.device)):
        heads: list[Tensor] = network(patch.contiguous(memory_format=torch.channels_last_3d))
    return heads[0]


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over classes (1, class, i, j, k) in float32, a few planes at a time.

    Copies of a whole window would be new memory each time, and the system gives it slower than it is filled.
    """
    result = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    for start in range(0, logits.shape[2], PLANES_AT_ONCE):
        part = slice(start, start + PLANES_AT_ONCE)
        result[:, :, part] = logits[:, :, part].float().softmax(dim=1)
    return result
