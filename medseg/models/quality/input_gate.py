"""The input gate: is a scan of the kind that the model learned from?

Each of five sides of a scan (voxel size, field of view, grey values, noise, layout) is a few numbers. Their distance
from the scans learned from, by the covariance of those, is compared with the largest distance that one of them has from
the others, and with 1 where that is more. It sees no more than these numbers tell: a scan that passes may still be of
another kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from medseg.core.errors import InputError
from medseg.core.volume import Volume

Side = Literal["voxel size", "field of view", "grey values", "noise", "layout"]
SIDES: tuple[Side, ...] = get_args(Side)

FLOORS: dict[Side, float] = {
    "voxel size": 0.1,
    "field of view": 0.1,
    "grey values": 0.03,
    "noise": 0.1,
    "layout": 0.05,
}
"""The standard deviation that is granted each number beside that of the scans learned from: sizes and noise are natural
logarithms (0.1 is 10 %), grey values and layout shares of the scan's own range."""

SLACK = 1.15
"""A scan is flagged where its distance is this much more than the largest among the scans learned from."""

FEWEST_SCANS = 8
BLOCKS = 4
"""The layout is the mean grey value in 4 x 4 x 4 blocks, right to left, front to back, foot to head."""


class _Known(BaseModel):
    """One side of the scans learned from: mean, inverse covariance, and the largest distance of one from the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float = Field(gt=0)

    def distance(self, values: NDArray[np.float64]) -> float:
        """Mahalanobis distance by the root of the count of numbers, as a share of the limit."""
        return _distance(values - np.asarray(self.mean), np.asarray(self.precision)) / self.limit


class InputGate(BaseModel):
    """What is known of the scans that a model learned from, by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    known: dict[Side, _Known]
    scans: int

    @classmethod
    def fit(cls, features: Sequence[dict[Side, NDArray[np.float64]]]) -> Self:
        """The gate from `scan_features` of each scan. Raises InputError where there are too few."""
        if len(features) < FEWEST_SCANS:
            raise InputError(f"{len(features)} scans are too few to know what scans are like; it takes {FEWEST_SCANS}")
        known = {side: _known(np.stack([one[side] for one in features]), FLOORS[side]) for side in SIDES}
        return cls(known=known, scans=len(features))

    def distances(self, features: dict[Side, NDArray[np.float64]]) -> dict[Side, float]:
        """How far a scan is on each side; from 1 on it is flagged."""
        return {side: known.distance(features[side]) / SLACK for side, known in self.known.items()}

    def warnings(self, distances: dict[Side, float]) -> tuple[str, ...]:
        """A sentence where the scan is unlike those learned from."""
        strange = [f"{side} ({distance:.1f} times the limit)" for side, distance in distances.items() if distance >= 1]
        known = f"this scan is unlike the {self.scans} that the model learned from"
        return (f"{known}, in {', '.join(strange)}: check the result with care",) if strange else ()


def scan_features(volume: Volume) -> dict[Side, NDArray[np.float64]]:
    """The numbers of each side of a scan, in RAS order whatever order it is stored in."""
    upright = volume.reoriented("RAS")
    array = upright.array.astype(np.float32)
    low, *quartiles, high = (float(value) for value in np.percentile(array, (1, 10, 25, 50, 75, 90, 99)))
    scale = (high - low) or 1.0
    share = np.clip((array - low) / scale, 0, 1)
    spacing = np.asarray(upright.geometry.spacing_mm)
    jump = np.abs(ndimage.laplace(share)).mean()
    edge = np.abs(np.diff(share, axis=0)).mean() + np.abs(np.diff(share, axis=1)).mean()
    known_unit = [low / 1000, high / 1000] if volume.unit == "HU" else [float((array < 0).mean())]
    return {
        "voxel size": np.log(spacing),
        "field of view": np.log(spacing * np.asarray(array.shape)),
        "grey values": np.array([*((value - low) / scale for value in quartiles), *known_unit]),
        "noise": np.log([float(jump) + 1e-4, float(jump / (edge + 1e-4)) + 1e-4]),
        "layout": _blocks(share),
    }


def _blocks(share: NDArray[np.float32]) -> NDArray[np.float64]:
    """Block means (64,), less their own mean: brightness is a matter of the grey values."""
    cuts = [np.linspace(0, count, BLOCKS + 1).astype(int) for count in share.shape]
    means = [
        share[i:i2, j:j2, k:k2].mean() if share[i:i2, j:j2, k:k2].size else 0.0
        for i, i2 in zip(cuts[0], cuts[0][1:], strict=False)
        for j, j2 in zip(cuts[1], cuts[1][1:], strict=False)
        for k, k2 in zip(cuts[2], cuts[2][1:], strict=False)
    ]
    return np.asarray(means, dtype=np.float64) - float(np.mean(means))


def _known(table: NDArray[np.float64], floor: float) -> _Known:
    """Half of each covariance is taken, since few scans tell little of many; variances are whole."""
    precision = _precision(table, floor)
    left_out: list[float] = [
        _distance(row - others.mean(axis=0), _precision(others, floor))
        for row, others in ((table[n], np.delete(table, n, axis=0)) for n in range(len(table)))
    ]
    return _Known(
        mean=tuple(table.mean(axis=0).tolist()),
        precision=tuple(tuple(row) for row in precision.tolist()),
        limit=max([1.0, *left_out]),
    )


def _precision(table: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    covariance = np.atleast_2d(np.cov(table, rowvar=False))
    shrunk = 0.5 * covariance + 0.5 * np.diag(np.diag(covariance))
    return np.asarray(np.linalg.inv(shrunk + floor**2 * np.eye(len(shrunk))))


def _distance(apart: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    return float(np.sqrt(max(0.0, float(apart @ precision @ apart)) / len(apart)))
