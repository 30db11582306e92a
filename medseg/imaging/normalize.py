"""Intensities onto the scale a network was trained on. One config a way; the union is the one list."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

SMALLEST_SD = 1e-6
"""A scan of one constant value has no contrast; dividing by this instead keeps it finite."""


class ZScore(BaseModel):
    """Mean 0 and standard deviation 1 within each scan: for MR, whose intensities have no unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["z_score"] = "z_score"

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        mean, sd = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
        return np.asarray((array - mean) / max(sd, SMALLEST_SD), dtype=np.float32)


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

    def apply(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        clipped = np.clip(array, self.lower, self.upper)
        return np.asarray((clipped - self.mean) / self.sd, dtype=np.float32)


NormalizationConfig = Annotated[ZScore | FixedScale, Field(discriminator="kind")]
