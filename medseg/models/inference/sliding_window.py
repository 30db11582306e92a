"""A network swept over a scan in windows that overlap, blended by a Gaussian (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medseg.core.geometry import Shape
from medseg.imaging.preparing.padding import pad_to
from medseg.models.inference.device import autocast, has_fast_bfloat16
from medseg.models.spec import SlidingWindow

GAUSSIAN_SIGMA = 1 / 8
"""Width of the blending weight in sides of the window: what a window says of its border lacks context."""

LOWEST_WEIGHT = 1e-3
"""Weight of a window's corners relative to its middle: above zero, so that every voxel gets an answer."""

LOGIT_RANGE = 16.0
"""Logits further below the highest count as lying this far: their class is ten million times less likely."""

_PLANES_AT_ONCE = 8
"""Planes of a window that a CPU works on at a time, so that intermediate results stay small."""

SMALLEST_FLOAT16 = 2.0**-24

Progress = Callable[[int, int], None]
"""Told how many windows are done, of how many."""

Answer = Callable[[nn.Module, Tensor, SlidingWindow], Tensor]
"""What a network says of a patch (1, channel, i, j, k), mirrored as the window says: (1, class or more, i, j, k)."""


class PatchReader:
    """Says of a patch (channel, i, j, k) which class each voxel is: the one place where a patch becomes scores.

    What it says of a patch of one constant value is remembered, until one of another value comes: of a body in air many
    windows are air, and clipped or masked air is one value.
    """

    def __init__(
        self, network: nn.Module, window: SlidingWindow, device: torch.device, answer: Answer | None = None
    ) -> None:
        self._network = network.eval() if network.training else network  # going through its modules takes 4 ms
        self._answer = answer or mean_scores
        self._window = window
        self._device = device
        self._constant: tuple[bytes, Tensor] | None = None

    @torch.inference_mode()
    def __call__(self, patch: NDArray[np.float32]) -> Tensor:
        """Class scores (class, i, j, k) float32 from 0 to 1, on the device; not to be written into.

        They are probabilities, or logits on a scale of which 1 is the likeliest class and 0 is `LOGIT_RANGE` below.
        """
        corner = patch[:, :1, :1, :1]
        if not self._window.reuse_constant or not (patch == corner).all():
            return self._read(patch)
        value = corner.tobytes()
        if self._constant is None or self._constant[0] != value:
            self._constant = (value, self._read(patch))
        return self._constant[1]

    def _read(self, patch: NDArray[np.float32]) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(patch))[None]
        if self._device.type == "cuda":  # from pinned memory the copy runs beside the work on the window before
            images = images.pin_memory()
        images = images.to(self._device, non_blocking=True)
        return self._answer(self._network, images, self._window)[0]


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
    channel_count: int | None = None,
) -> NDArray[np.float32]:
    """Class probabilities (class, i, j, k) float32 of an image (channel, i, j, k) prepared for the network.

    They lie in memory for all classes and voxels, for what needs the whole of them; `streaming` needs a few planes.
    Where the window averages logits, these are the probabilities of the mean logits. An `answer` of more channels than
    classes says how many in `channel_count`; the others follow the classes as they are.
    """
    padded, offset = pad_to(image, window.patch)
    shape: Shape = (padded.shape[1], padded.shape[2], padded.shape[3])
    scores = torch.zeros((channel_count or class_count, *shape))
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
    if window.average == "logits":
        classes = scores[None, :class_count]
        scores[:class_count] = _in_parts(classes, lambda part: (part * LOGIT_RANGE).softmax(dim=1))[0]
    inside = tuple(slice(o, o + n) for o, n in zip(offset, image.shape[1:], strict=True))
    return scores[(slice(None), *inside)].numpy()


def window_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows of `side` voxels begin so that they cover `length` evenly with at least the wanted overlap."""
    if length <= side:
        return [0]
    step = max(1.0, side * (1 - overlap))
    count = int(np.ceil((length - side) / step)) + 1
    return [int(start) for start in np.linspace(0, length - side, count).round()]


def planes_at_once(device: torch.device, depth: int) -> int:
    """Planes of a window of that depth to work on at a time; a GPU takes all, since each call costs it more."""
    return _PLANES_AT_ONCE if device.type == "cpu" else depth


def blend_weights(window: SlidingWindow) -> Tensor:
    """How much each voxel of a window (i, j, k) counts where windows overlap."""
    match window.blend:
        case "gaussian":
            return gaussian_weights(window.patch)
        case "nnunet":
            return nnunet_weights(window.patch)
        case "even":
            return torch.ones(window.patch)


def gaussian_weights(patch: Shape) -> Tensor:
    """The blending weight of each voxel of a window (i, j, k): 1 in the middle, falling towards the border."""
    sides = []
    for side in patch:
        place = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2) / (side * GAUSSIAN_SIGMA)
        sides.append(torch.exp(-0.5 * place**2))
    weights = sides[0][:, None, None] * sides[1][None, :, None] * sides[2][None, None, :]
    return (weights / weights.max()).clamp_min(LOWEST_WEIGHT)


def nnunet_weights(patch: Shape) -> Tensor:
    """The blending weight of each voxel of a window (i, j, k) as nnU-Net 2.8 has it.

    Its Gaussian is that of scipy, which ends at 4 standard deviations; it is kept in float16 times 10, and what is 0
    then takes the smallest value that is not.
    """
    sides = []
    for side in patch:
        place = torch.arange(side, dtype=torch.float32) - side // 2
        weight = torch.exp(-0.5 * (place / (side * GAUSSIAN_SIGMA)) ** 2)
        sides.append(torch.where(place.abs() <= int(4 * side * GAUSSIAN_SIGMA + 0.5), weight, 0))
    weights = sides[0][:, None, None] * sides[1][None, :, None] * sides[2][None, None, :]
    return weights.clamp_min(SMALLEST_FLOAT16 / 10)


def mean_scores(network: nn.Module, patch: Tensor, window: SlidingWindow) -> Tensor:
    """Scores of classes (1, class, i, j, k) float32, averaged over every combination of mirrored axes."""
    answers = mirrored_scores(network, patch, window)
    total = next(answers)
    for answer in answers:
        total += answer
    return total.div_(2 ** len(window.mirror_axes)) if window.mirror_axes else total


def mirrored_scores(network: nn.Module, patch: Tensor, window: SlidingWindow) -> Iterator[Tensor]:
    """Scores of classes (1, class, i, j, k) float32 for every combination of mirrored axes, mirrored back."""
    score = _softmax if window.average == "probabilities" else _scaled
    yield _in_parts(_logits(network, patch), score)
    axes = window.mirror_axes
    for flip in chain.from_iterable(combinations(axes, n) for n in range(1, len(axes) + 1)):
        turned = tuple(axis + 2 for axis in flip)
        yield _in_parts(_logits(network, patch.flip(turned)), score).flip(turned)


def _logits(network: nn.Module, patch: Tensor) -> Tensor:
    with autocast(patch.device, enabled=has_fast_bfloat16(patch.device)):
        heads: list[Tensor] = network(patch.contiguous(memory_format=torch.channels_last_3d))
    return heads[0]


def _softmax(logits: Tensor) -> Tensor:
    return logits.float().softmax(dim=1)


def _scaled(logits: Tensor) -> Tensor:
    """Logits below their highest, of which only differences count, as a part of `LOGIT_RANGE`: 1 for the highest."""
    logits = logits.float()
    return ((logits - logits.amax(dim=1, keepdim=True)) / LOGIT_RANGE + 1).clamp_min_(0)


def _in_parts(logits: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """The scores (1, class, i, j, k) float32 of logits, a few planes at a time.

    Copies of a whole window would be new memory each time, and the system gives it slower than it is filled.
    """
    result = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    at_once = planes_at_once(logits.device, logits.shape[2])
    for start in range(0, logits.shape[2], at_once):
        part = slice(start, start + at_once)
        result[:, :, part] = score(logits[:, :, part])
    return result
