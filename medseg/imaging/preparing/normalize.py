"""Intensities onto the scale a network was trained on. One config a way; the union is the one list.

Each config offers `fit`: from the parts of a scan, seen once, the function that normalises any part of it, so that a
scan need not be in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Normalize = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Puts values of a scan, in an array of any shape, onto the network's scale."""

SMALLEST_SD = 1e-6
"""A scan of one constant value has no contrast; dividing by this instead keeps it finite."""


class ZScore(BaseModel):
    """Mean 0 and standard deviation 1 within each scan: for MR, whose intensities have no unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["z_score"] = "z_score"

    def fit(self, parts: Iterable[NDArray[np.float32]]) -> Normalize:
        """The normalisation of a scan by the mean and standard deviation of all its parts together."""
        count, mean, squares = 0, 0.0, 0.0
        for part in parts:  # Chan, Golub and LeVeque 1979: exact however the scan is cut
            apart = float(part.mean(dtype=np.float64)) - mean
            total = count + part.size
            squares += float(part.var(dtype=np.float64)) * part.size + apart**2 * count * part.size / total
            mean += apart * part.size / total
            count = total
        return partial(_standardise, mean=mean, sd=max((squares / max(count, 1)) ** 0.5, SMALLEST_SD))

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.fit([array])(array)


class FixedScale(BaseModel):
    """Clipped to [lower, upper], then (value - mean) / sd with the training set's numbers: for CT in HU and PET in SUV.

    All four are in the unit of the scan; a value means the same in every patient, so no scan's own statistics enter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["fixed_scale"] = "fixed_scale"
    lower: float
    upper: float
    mean: float
    sd: float = Field(gt=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower:g}) must be below upper ({self.upper:g})")
        return self

    def fit(self, _parts: Iterable[NDArray[np.float32]]) -> Normalize:
        """The same normalisation for every scan; no part is looked at."""
        return self.apply

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        return _standardise(np.clip(array, self.lower, self.upper), mean=self.mean, sd=self.sd)


def _standardise(array: NDArray[np.float32], *, mean: float, sd: float) -> NDArray[np.float32]:
    return np.asarray((array - mean) / sd, dtype=np.float32)


NormalizationConfig = Annotated[ZScore | FixedScale, Field(discriminator="kind")]
