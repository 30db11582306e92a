"""Findings and measurements by hand: what was seen, where, and how large; a number never travels without its unit."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medseg.core.geometry import PlaneName
from medseg.core.labels import Code, Label

FindingFlag = Literal["touches_border", "too_small_for_spacing", "low_contrast", "split_from_neighbour", "for_review"]
"""What to beware of in a finding: it may go on beyond the scan; it spans fewer than three voxels along an axis, so that
its volume and diameters are rough; it differs from its surroundings by less than their noise; where it ends towards
its neighbour was decided by a rule, not by what is seen; it is a blockage that must be looked at twice."""

FLAG_WORDS: dict[FindingFlag, str] = {
    "touches_border": "may go on beyond the scan",
    "too_small_for_spacing": "too small for the voxels to be measured well",
    "low_contrast": "hardly differs from its surroundings",
    "split_from_neighbour": "parted from its neighbour by rule",
    "for_review": "must be looked at twice",
}

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


MarkKind = Literal["length", "diameters", "angle", "roi"]

MARK_POINTS: dict[MarkKind, int] = {"length": 2, "diameters": 4, "angle": 3, "roi": 2}
"""How many points each kind has: ends; ends of both diameters; an arm, the vertex, an arm; corners of the box."""


class Mark(BaseModel):
    """What a reader drew: its kind, the plane it was drawn in, and its points in RAS+ mm."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: MarkKind
    plane: PlaneName
    points_mm: tuple[tuple[float, float, float], ...]

    @model_validator(mode="after")
    def _has_the_points_of_its_kind(self) -> Self:
        if len(self.points_mm) != MARK_POINTS[self.kind]:
            raise ValueError(
                f"a mark of kind {self.kind} has {MARK_POINTS[self.kind]} points, got {len(self.points_mm)}"
            )
        return self


class HandMeasurement(BaseModel):
    """What a mark comes to, and who drew it.

    `outline_mm` are its points in RAS+ mm; of an ellipse (`roi`) the ends of its longer axis and of its shorter one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: MarkKind
    plane: PlaneName
    outline_mm: tuple[tuple[float, float, float], ...]
    measurements: tuple[Measurement, ...] = Field(min_length=1)
    reader: str
