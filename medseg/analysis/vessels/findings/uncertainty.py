"""How sure a percentage and a diameter are: intervals meant to hold the truth in 95 of 100.

The widths are errors seen on made vessels, as quantiles for each way of measuring and each condition (conformal
prediction, Vovk 2005), in shares of a voxel: an error of a radius is a share of the voxel, whatever the vessel.
`benchmarks/vessels/vessel_intervals.py` measures them, writes them beside this file, and checks them on other vessels.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

WIDTHS_FILE = "interval_widths.json"

MODERATE_PERCENT, SEVERE_PERCENT, CLOSED_PERCENT = 50.0, 75.0, 100.0
"""Where the conditions part: a tight lumen is harder to measure than a wide one."""


class Widths(BaseModel):
    """For each way of measuring and condition the lower and upper error of the percentage in points a voxel, and those
    of the minimal diameter in voxels. The condition "any" holds all lesions together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nominal: float
    lesions: dict[str, int]
    table: dict[str, dict[str, tuple[float, float, float, float]]]

    def of(self, source: str, condition: str) -> tuple[float, float, float, float]:
        """The errors of a way of measuring in a condition; those of all conditions where it was too rare."""
        own = self.table[source]
        return own.get(condition, own["any"])


def condition_of(percent: float, is_calcified: bool) -> str:
    """The name of what an error depends on most: how tight the lumen is, and whether calcium is beside it."""
    if percent >= CLOSED_PERCENT:
        return "closed"
    depth = "severe" if percent >= SEVERE_PERCENT else "moderate" if percent >= MODERATE_PERCENT else "mild"
    return f"{depth}, calcified" if is_calcified else depth


def points_a_voxel(reference_mm: float, spacing_mm: float) -> float:
    """How many points of the percentage one voxel of the healthy diameter is."""
    return 100.0 * spacing_mm / reference_mm


def percent_interval(
    percent: float, reference_mm: float, spacing_mm: float, source: str, is_calcified: bool
) -> tuple[float, float]:
    """The interval of a percentage of the diameter, inside 0 to 100; `spacing_mm` is the mean of the three."""
    low, high, _, _ = _widths().of(source, condition_of(percent, is_calcified))
    unit = points_a_voxel(reference_mm, spacing_mm)
    return float(np.clip(percent + low * unit, 0, 100)), float(np.clip(percent + high * unit, 0, 100))


def diameter_interval(
    percent: float, minimal_mm: float, spacing_mm: float, source: str, is_calcified: bool
) -> tuple[float, float]:
    """The interval of a minimal lumen diameter in mm, never below 0."""
    _, _, low, high = _widths().of(source, condition_of(percent, is_calcified))
    return max(0.0, minimal_mm + low * spacing_mm), max(0.0, minimal_mm + high * spacing_mm)


@lru_cache(maxsize=1)
def _widths() -> Widths:
    return Widths.model_validate_json(Path(__file__).with_name(WIDTHS_FILE).read_text(encoding="utf-8"))
