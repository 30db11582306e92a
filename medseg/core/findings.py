"""Findings: what was seen, where, and its measurements; a number never travels without its unit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.labels import Code, Label

FindingFlag = Literal["touches_border", "too_small_for_spacing", "low_contrast", "split_from_neighbour", "for_review"]
"""What to beware of in a finding: it may go on beyond the scan; it spans fewer than three voxels along an axis, so that
its volume and diameters are rough; it differs from its surroundings by less than their noise; where it ends towards
its neighbour was decided by a rule, not by what is seen; it is a blockage that must be looked at twice."""


Side = Literal["left", "right"]


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
    inside the finding on the scan's own grid, to jump to. `organ` is the label in which or at which it lies, `side`
    that of the organ or of the body part imaged; None where it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: Label
    instance: int = Field(ge=1)
    centroid_mm: tuple[float, float, float]
    index: tuple[int, int, int]
    measurements: tuple[Measurement, ...] = ()
    flags: tuple[FindingFlag, ...] = ()
    organ: Label | None = None
    side: Side | None = None

    @property
    def place(self) -> str:
        """Where it lies, in words: "liver", "left kidney", "left"; empty where nothing is known."""
        organ = self.organ.name.replace("_", " ") if self.organ else ""
        return organ if self.side is None or self.side in organ else f"{self.side} {organ}".strip()

    def value(self, name: str) -> float | None:
        """The value of the measurement of that name, None where it was not measured."""
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement.value
        return None
