"""From class scores to labels where the scores lie: on a CPU box by box, on another device in a few large steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.core.geometry import Geometry
from medseg.imaging.preparing.restore import MOST_PLANES, KeptScores, LabelRestorer

_ALIGNED_VOXELS = 1e-3
"""Grids whose axes run apart by less than this over their whole length are taken for aligned."""


class Restorer(Protocol):
    """Takes planes of class scores (class, n, j, k) in order, and has the labels once all were added."""

    def add(self, scores: Tensor) -> None: ...

    @property
    def labels(self) -> NDArray[np.unsignedinteger[Any]]:
        """The label of each voxel of the scan (i, j, k)."""
        ...


def restorer_on(
    device: torch.device,
    source: Geometry,
    target: Geometry,
    values: NDArray[np.unsignedinteger[Any]],
    kept: KeptScores | None = None,
) -> Restorer:
    """What decodes scores that lie on the device, from the source's grid to the target's.

    On a GPU that is done there, unless scores are kept, or the grids' axes do not run alike, as those of a scan with a
    tilted gantry.
    """
    if device.type == "cpu" or kept is not None or _places(source, _turned(source, target)) is None:
        return _OnCpu(LabelRestorer(source, target, values, kept))
    return DeviceRestorer(source, target, values, device)


class _OnCpu:
    """A LabelRestorer that takes tensors of any device."""

    def __init__(self, restorer: LabelRestorer) -> None:
        self._restorer = restorer

    def add(self, scores: Tensor) -> None:
        self._restorer.add(scores.cpu().numpy())

    @property
    def labels(self) -> NDArray[np.unsignedinteger[Any]]:
        return self._restorer.labels


class DeviceRestorer:
    """Decodes on the device as `imaging.restore.LabelRestorer` does on a CPU; the grids' axes run alike.

    Only the mask leaves the device, when it is asked for. Raises ValueError where the axes do not run alike.
    """

    def __init__(
        self, source: Geometry, target: Geometry, values: NDArray[np.unsignedinteger[Any]], device: torch.device
    ) -> None:
        self._turn = target.reorientation_to(source.axis_codes)
        places = _places(source, _turned(source, target))
        if places is None:
            raise ValueError("the axes of the grids do not run alike")
        self._along = [_Along.of(place, have, device) for place, have in zip(places, source.shape, strict=True)]
        self._values = values
        narrow = torch.uint8 if len(values) <= 256 else torch.int16
        self._classes = torch.zeros([len(place) for place in places], dtype=narrow, device=device)
        self._outside = [torch.from_numpy(_outside(p, n)).to(device) for p, n in zip(places, source.shape, strict=True)]
        self._planes: Tensor | None = None
        self._first = self._done = 0

    def add(self, scores: Tensor) -> None:
        """Take the next planes of class scores (class, n, j, k), and decode the planes of the target they complete."""
        self._planes = scores.clone() if self._planes is None else torch.cat([self._planes, scores], dim=1)
        stop = self._first + self._planes.shape[1]
        ready = int(np.searchsorted(self._along[0].needs, stop - 1, side="right"))
        while self._done < ready:
            last = min(self._done + MOST_PLANES, ready)
            self._classes[self._done : last] = self._decoded(self._planes, self._done, last)
            self._done = last
        needed = int(self._along[0].first_needed[self._done]) if self._done < len(self._classes) else stop
        forgotten = max(0, min(needed, stop) - self._first)
        self._planes = self._planes[:, forgotten:].clone()
        self._first += forgotten

    @property
    def labels(self) -> NDArray[np.unsignedinteger[Any]]:
        """The label of each voxel of the target (i, j, k), in the host's memory."""
        return np.ascontiguousarray(self._turn.inverse().apply(self._values[self._classes.cpu().numpy()]))

    def _decoded(self, planes: Tensor, start: int, stop: int) -> Tensor:
        """The winning class of the target's planes from `start` up to `stop`, (stop - start, j, k)."""
        i, j, k = self._along
        part = i.between(planes, 1, slice(start, stop), self._first)
        winner = k.between(j.between(part, 2), 3).argmax(dim=0)
        winner[self._outside[0][start:stop]] = 0
        winner[:, self._outside[1]] = 0
        winner[:, :, self._outside[2]] = 0
        return winner.to(self._classes.dtype)


@dataclass(frozen=True, slots=True)
class _Along:
    """Between which two voxels of the source each one of the target lies along an axis, and how far towards the second.

    `needs` and `first_needed` are the highest and the lowest of them, on the host.
    """

    below: Tensor
    above: Tensor
    fraction: Tensor
    needs: NDArray[np.int64]
    first_needed: NDArray[np.int64]

    @classmethod
    def of(cls, places: NDArray[np.float64], have: int, device: torch.device) -> _Along:
        place = np.clip(places, 0, have - 1)
        below = np.floor(place + 1e-6).astype(np.int64)
        fraction = np.clip(place - below, 0, 1)
        fraction[fraction < 1e-6] = 0
        above = np.where(fraction > 0, np.minimum(below + 1, have - 1), below)
        there = [torch.from_numpy(values).to(device) for values in (below, above, fraction.astype(np.float32))]
        return cls(there[0], there[1], there[2], above, below)

    def between(self, values: Tensor, dim: int, part: slice = slice(None), first: int = 0) -> Tensor:
        """The values interpolated along the dimension to places `part`, float32; they begin at the source's `first`."""
        low = values.index_select(dim, self.below[part] - first).float()
        if not self._is_between:
            return low
        high = values.index_select(dim, self.above[part] - first).float()
        shape = [-1 if axis == dim else 1 for axis in range(values.ndim)]
        return torch.lerp(low, high, self.fraction[part].view(shape))

    @property
    def _is_between(self) -> bool:
        return bool((self.needs != self.first_needed).any())


def _turned(source: Geometry, target: Geometry) -> Geometry:
    return target.reoriented(target.reorientation_to(source.axis_codes))


def _places(source: Geometry, target: Geometry) -> list[NDArray[np.float64]] | None:
    """Where the target's voxels lie along each axis of the source, in its voxels; None where axes do not run alike.

    Both have their axes in the same order and direction.
    """
    if source.shape == target.shape and source.difference(target) is None:
        return [np.arange(n, dtype=np.float64) for n in target.shape]
    to_source = np.linalg.inv(source.affine) @ target.affine
    steps = np.diag(to_source[:3, :3])
    if np.abs(to_source[:3, :3] - np.diag(steps)).max() * max(target.shape) >= _ALIGNED_VOXELS:
        return None
    return [begin + step * np.arange(n) for begin, step, n in zip(to_source[:3, 3], steps, target.shape, strict=True)]


def _outside(places: NDArray[np.float64], have: int) -> NDArray[np.bool_]:
    return (places < -0.5 - 1e-4) | (places > have - 0.5 + 1e-4)
