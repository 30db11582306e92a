"""Findings: what was seen, where, and its measurements; a number never travels without its unit."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.labels import Code, Label


class Measurement(BaseModel):
    """A measured value with its UCUM unit, its code, and an interval where one is known.

    `interval` holds the lower and upper end of the 95 % interval, in the same unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    value: float
    unit: str = Field(min_length=1)
    code: Code
    interval: tuple[float, float] | None = None


class Finding(BaseModel):
    """One instance of a label in one scan.

    `instance` counts from 1 within its label, largest first; `centroid_mm` is in RAS+ mm; `index` is a voxel (i, j, k)
    inside the finding on the scan's own grid, to jump to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: Label
    instance: int = Field(ge=1)
    centroid_mm: tuple[float, float, float]
    index: tuple[int, int, int]
    measurements: tuple[Measurement, ...] = ()

    def value(self, name: str) -> float | None:
        """The value of the measurement of that name, None where it was not measured."""
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement.value
        return None
