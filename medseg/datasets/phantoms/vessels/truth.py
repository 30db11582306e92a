"""What a made vascular study holds, by formula."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from medseg.datasets.phantoms.truth import BranchTruth, Point
from medseg.datasets.phantoms.vessels.tree import Likeness

ONE_LESION_DIAMETERS = 3.0
"""Narrowings less than this many healthy diameters apart count as one (the rule of the SYNTAX score)."""


class VesselLesionTruth(BaseModel):
    """One lesion of one branch, at its tightest `position_mm` from the branch's start; it runs from `start_mm` to
    `stop_mm`.

    Serial narrowings less than three healthy diameters apart are one lesion, as deep as the deepest. `fork_mm` is how
    far along the branch the tightest place is from the nearer fork, None where neither end is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    branch: int
    centre_mm: Point
    position_mm: float
    start_mm: float
    stop_mm: float
    diameter_percent: Annotated[float, Field(gt=0, le=100)]
    healthy_diameter_mm: float
    open_diameter_mm: float
    is_calcified: bool = False
    is_filling_defect: bool = False
    is_stented: bool = False
    narrowings: int = 1
    fork_mm: float | None = None

    @property
    def length_mm(self) -> float:
        return self.stop_mm - self.start_mm

    @property
    def is_occlusion(self) -> bool:
        return self.diameter_percent >= 100


class VesselTruth(BaseModel):
    """A made tree: its branches, parents before children, and the lesions in them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int
    likeness: Likeness
    point_spread_mm: float
    branches: tuple[BranchTruth, ...]
    lesions: tuple[VesselLesionTruth, ...]


def merged_lesions(lesions: list[VesselLesionTruth]) -> tuple[VesselLesionTruth, ...]:
    """The lesions with those of one branch that lie too close together made one, by the SYNTAX rule."""
    merged: list[VesselLesionTruth] = []
    for lesion in sorted(lesions, key=lambda lesion: (lesion.branch, lesion.position_mm)):
        last = merged[-1] if merged else None
        if last is None or last.branch != lesion.branch:
            merged.append(lesion)
            continue
        reach_mm = ONE_LESION_DIAMETERS * max(last.healthy_diameter_mm, lesion.healthy_diameter_mm)
        if lesion.start_mm - last.stop_mm >= reach_mm:
            merged.append(lesion)
            continue
        deeper = max(last, lesion, key=lambda lesion: lesion.diameter_percent)
        together = {
            "start_mm": min(last.start_mm, lesion.start_mm),
            "stop_mm": max(last.stop_mm, lesion.stop_mm),
            "is_calcified": last.is_calcified or lesion.is_calcified,
            "is_stented": last.is_stented or lesion.is_stented,
            "narrowings": last.narrowings + lesion.narrowings,
        }
        merged[-1] = deeper.model_copy(update=together)
    return tuple(merged)
