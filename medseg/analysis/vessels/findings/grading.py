"""Grades of narrowing by published standards: CAD-RADS 2.0 for coronaries, NASCET for carotids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

CadRads = Literal["0", "1", "2", "3", "4A", "4B", "5", "N"]
Nascet = Literal["none", "mild", "moderate", "severe", "near-occlusion", "occlusion"]

CAD_RADS_ORDER: tuple[CadRads, ...] = ("0", "1", "2", "3", "4A", "4B", "5")


def cad_rads(diameter_percent: float, *, is_occluded: bool = False) -> CadRads:
    """The CAD-RADS 2.0 category of one stenosis by its percent of the diameter (Cury 2022, table 2).

    0 %: 0; 1-24: 1; 25-49: 2; 50-69: 3; 70-99: 4A; occluded: 5. Fractions are rounded as a report prints them.
    """
    percent = round(diameter_percent)
    if is_occluded or percent >= 100:
        return "5"
    if percent >= 70:
        return "4A"
    if percent >= 50:
        return "3"
    if percent >= 25:
        return "2"
    return "1" if percent >= 1 else "0"


def study_cad_rads(
    categories: Sequence[CadRads], *, left_main_percent: float | None = None, severe_vessels: int = 0
) -> CadRads:
    """The category of a whole study: its worst lesion; 4B for a left main of 50 % or three vessels of 70 %.

    No lesions give 0; a study in which nothing could be assessed gives N.
    """
    assessed = [category for category in categories if category != "N"]
    if categories and not assessed:
        return "N"
    zero: CadRads = "0"
    worst = max([zero, *assessed], key=CAD_RADS_ORDER.index)
    is_left_main = left_main_percent is not None and round(left_main_percent) >= 50
    if worst != "5" and (is_left_main or severe_vessels >= 3):
        return "4B"
    return worst


def nascet_percent(minimal_diameter_mm: float, distal_diameter_mm: float) -> float:
    """Percent of the normal distal diameter that is lost, the ratio of the NASCET trial; never below 0."""
    return max(0.0, 100.0 * (1 - minimal_diameter_mm / distal_diameter_mm))


def nascet(percent: float, *, is_occluded: bool = False) -> Nascet:
    """The NASCET class: under 50 mild, 50-69 moderate, 70-99 severe; near-occlusion has no ratio and is set by eye."""
    rounded = round(percent)
    if is_occluded or rounded >= 100:
        return "occlusion"
    if rounded >= 70:
        return "severe"
    if rounded >= 50:
        return "moderate"
    return "mild" if rounded >= 1 else "none"


def area_percent(diameter_percent: float) -> float:
    """Percent of a round lumen's area that is lost with a percent of its diameter: 50 % is 75 %."""
    return 100.0 * (1 - (1 - diameter_percent / 100.0) ** 2)
