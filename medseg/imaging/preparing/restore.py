"""The way back from class scores on the prepared grid to labels on the scan's own, in memory that does not grow.

Scores come plane after plane along the first axis of the source. The target is cut into small boxes, and a box is
decoded as soon as every plane is there that its voxels lie between; planes that no box waits for are forgotten. Only a
few planes are held, whatever the scan's size and however its axes are turned or sheared against the source's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from medseg.core.geometry import Geometry, Shape
from medseg.core.labels import LabelSchema
from medseg.core.probability import CERTAIN
from medseg.imaging.resample import Box, box_geometry, box_in_source, box_shape, boxes, interpolate

MOST_PLANES = 8
"""Planes of the source that a box may span: the scores that wait for the next planes are about this many planes."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptScores:
    """Channels of the scores that are kept on the target grid beside the labels, each in an array of zeros (i, j, k).

    `one` is the score that becomes 255. Scores of classes that are logits, of which `one` stands for `logit_range`, are
    made probabilities first.
    """

    arrays: Mapping[int, NDArray[np.uint8]]
    one: float
    logit_range: float | None = None

    def of(self, channel: int, scores: NDArray[Any], class_count: int) -> NDArray[Any]:
        """What is kept of a channel of scores (channel, i, j, k), in units of `one`."""
        if self.logit_range is None or channel >= class_count:
            return np.asarray(scores[channel])
        logits = scores[:class_count] * np.float32(self.logit_range / self.one)
        return np.asarray(softmax(logits, axis=0)[channel] * self.one)


class LabelRestorer:
    """Turns class scores on the source grid into labels on the target grid; hand it all planes in order, then `labels`.

    Scores are interpolated trilinearly, then compared; `values` gives the label of each class. Voxels of the target
    whose centre lies outside the source's voxels get the first value, which is background's. Scores are 0 or more.
    Channels beyond the classes are not compared, but may be kept.
    """

    def __init__(
        self,
        source: Geometry,
        target: Geometry,
        values: NDArray[np.unsignedinteger[Any]],
        kept: KeptScores | None = None,
    ) -> None:
        turn = target.reorientation_to(source.axis_codes)
        turned = target.reoriented(turn)
        same = source.shape == turned.shape and source.difference(turned) is None
        self._source, self._target = source, source if same else turned
        self._values = values
        self._result = np.zeros(target.shape, dtype=values.dtype)
        self._turned_result = turn.apply(self._result)
        arrays = {channel: turn.apply(array) for channel, array in kept.arrays.items()} if kept else {}
        self._kept = replace(kept, arrays=arrays) if kept else KeptScores(arrays, 1.0)
        found = [
            (box, box_in_source(source, box_geometry(self._target, box)))
            for box in boxes(self._target.shape, _thin_box_shape(source, self._target))
        ]
        self._waiting = sorted(found, key=lambda pair: pair[1][0].stop)
        # The first plane that each box or any later one needs: what lies before it can be forgotten.
        first = [there[0].start for _, there in self._waiting]
        self._first_needed = np.minimum.accumulate(first[::-1])[::-1].tolist()
        self._done = 0
        self._planes: NDArray[Any] = np.empty((len(values), 0, *source.shape[1:]))
        self._first = 0

    @property
    def labels(self) -> NDArray[np.unsignedinteger[Any]]:
        """The label of each voxel of the target (i, j, k); complete once all planes were added."""
        return self._result

    def add(self, scores: NDArray[Any]) -> None:
        """Take the next planes of class scores (class, n, j, k) of the source, and decode what they complete."""
        held = self._planes.shape[1]
        self._planes = np.concatenate([self._planes, scores], axis=1) if held else scores
        stop = self._first + self._planes.shape[1]
        while self._done < len(self._waiting) and self._waiting[self._done][1][0].stop <= stop:
            self._decode(*self._waiting[self._done])
            self._done += 1
        needed = self._first_needed[self._done] if self._done < len(self._waiting) else stop
        forgotten = max(0, min(needed, stop) - self._first)
        # A copy: what was handed in belongs to the one who adds, and is written over with the next planes.
        self._planes = self._planes[:, forgotten:].copy()
        self._first += forgotten

    def _decode(self, box: Box, there: Box) -> None:
        """Write the winning labels of one box, from the scores of the source's box around it."""
        i, j, k = there
        scores = self._planes[:, i.start - self._first : i.stop - self._first, j, k]
        source, target = box_geometry(self._source, there), box_geometry(self._target, box)
        first, *others = _may_win(scores[: len(self._values)])
        winner = np.full(target.shape, first)
        if others:
            best = _interpolated(scores[first], source, target)
            for index in others:
                score = _interpolated(scores[index], source, target)
                winner[score > best] = index
                np.maximum(best, score, out=best)
        outside = _outside(self._source, target)
        if outside is not None:
            winner[outside] = 0
        self._turned_result[box] = self._values[winner]
        for channel, array in self._kept.arrays.items():
            score = self._kept.of(channel, scores, len(self._values))
            kept = _in_bytes(score, source, target, self._kept.one)
            if kept is not None:
                array[box] = kept if outside is None else np.where(outside, 0, kept)


def restore_labels(
    scores: NDArray[np.float32],
    source: Geometry,
    target: Geometry,
    values: NDArray[np.unsignedinteger[Any]],
    kept: KeptScores | None = None,
) -> NDArray[np.unsignedinteger[Any]]:
    """The winning label at each voxel of the target (i, j, k), from class scores (class, i, j, k) of the whole source.

    As `LabelRestorer` does it, for scores that lie in memory anyway.
    """
    restorer = LabelRestorer(source, target, values, kept)
    for start in range(0, source.shape[0], MOST_PLANES):
        restorer.add(scores[:, start : start + MOST_PLANES])
    return restorer.labels


def label_values(schema: LabelSchema) -> NDArray[np.unsignedinteger[Any]]:
    """The number of each class in a mask, background's first, in the narrowest type that holds them all."""
    narrow = max(schema.indices) <= 255
    return np.asarray(schema.indices, dtype=np.uint8 if narrow else np.uint16)


def _interpolated(score: NDArray[Any], source: Geometry, target: Geometry) -> NDArray[np.float32]:
    return np.asarray(interpolate(np.ascontiguousarray(score, dtype=np.float32), source, target, order=1))


def _in_bytes(score: NDArray[Any], source: Geometry, target: Geometry, one: float) -> NDArray[np.uint8] | None:
    """The score interpolated to the target, 255 for `one`; None where it is nothing everywhere."""
    if float(score.max()) * CERTAIN < one / 2:
        return None
    share = _interpolated(score, source, target) * (CERTAIN / one)
    return np.asarray(np.rint(np.clip(share, 0, CERTAIN)), dtype=np.uint8)


def _may_win(scores: NDArray[Any]) -> list[int]:
    """The classes that can be the highest somewhere in a box, between whichever of its voxels it is interpolated.

    An interpolated score lies between the lowest and the highest of its class in the box; and the best one is at least
    the mean over classes, which lies above the lowest sum. A class that never reaches what another never falls below,
    or that mean, cannot win: in most boxes of a body one class is left, and nothing is interpolated at all.
    """
    flat = scores.reshape(len(scores), -1)
    highest = flat.max(axis=1)
    lowest_sum = scores.sum(axis=0, dtype=np.int64 if scores.dtype.kind in "iu" else np.float64).min()
    bar = max(float(flat.min(axis=1).max()), float(lowest_sum) / len(scores))
    # The allowance is for float32's rounding, which the interpolated values have and these do not.
    return np.flatnonzero(highest >= bar * (1 - 1e-5)).tolist()


def _thin_box_shape(source: Geometry, target: Geometry) -> Shape:
    """Sides of a box of the target that spans only `MOST_PLANES` planes of the source, or as few as one voxel can."""
    steps = np.abs(np.linalg.inv(source.affine)[0, :3] @ target.affine[:3, :3])
    sides = np.asarray(box_shape(source, target))
    while (steps * (sides - 1)).sum() > MOST_PLANES - 1 and sides.max() > 1:
        longest = int((steps * (sides - 1)).argmax())
        sides[longest] = max(1, sides[longest] // 2)
    return int(sides[0]), int(sides[1]), int(sides[2])


def _outside(source: Geometry, target: Geometry) -> NDArray[np.bool_] | None:
    """Which voxel centres of the target lie outside the source's voxels, (i, j, k); None where none does."""
    edge = np.asarray(source.shape) - 0.5
    corners = source.index(target.corners_mm())
    if (corners >= -0.5 - 1e-4).all() and (corners <= edge + 1e-4).all():
        return None
    to_source = np.linalg.inv(source.affine) @ target.affine
    i, j, k = (np.arange(n, dtype=np.float32) for n in target.shape)
    outside = np.zeros(target.shape, dtype=np.bool_)
    for axis in range(3):
        x, y, z, origin = to_source[axis]
        place = (x * i)[:, None, None] + (y * j)[None, :, None] + (z * k)[None, None, :] + np.float32(origin)
        outside |= (place < -0.5 - 1e-4) | (place > edge[axis] + 1e-4)
    return outside
