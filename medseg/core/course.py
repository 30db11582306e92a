"""Course: how the lesions of a patient change over several scans, and how the disease responds (RECIST 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

TargetResponse = Literal["CR", "PR", "SD", "PD", "NE"]
"""Complete response, partial response, stable disease, progressive disease, not evaluable."""

NonTargetResponse = Literal["CR", "non-CR/non-PD", "PD", "NE"]
OverallResponse = Literal["CR", "PR", "SD", "PD", "NE", "non-CR/non-PD"]


@dataclass(frozen=True, slots=True)
class Response:
    """The target lesions' response with the rule that decided it, in words, and the sums of diameters in mm behind it.

    `nadir_mm` is the smallest sum before this time point, the baseline's included. `sum_mm` is None where a target
    could not be evaluated.
    """

    category: TargetResponse
    rule: str
    baseline_mm: float
    nadir_mm: float
    sum_mm: float | None

    @property
    def from_baseline_percent(self) -> float | None:
        """Change of the sum from the baseline in percent."""
        return None if self.sum_mm is None else 100 * (self.sum_mm / self.baseline_mm - 1)

    @property
    def from_nadir_percent(self) -> float | None:
        """Change of the sum from the nadir in percent; None where the nadir is 0."""
        return None if self.sum_mm is None or self.nadir_mm == 0 else 100 * (self.sum_mm / self.nadir_mm - 1)


@dataclass(frozen=True, slots=True)
class Track:
    """One lesion over all visits: its volume in ml and longest axial diameter in mm at each, 0 where it is not there.

    Lesions that merge or split are one track, with the sums of their parts, so that the disease's total stays right.
    `instances` are the instance numbers at each visit.
    """

    name: str
    label: str
    volumes_ml: tuple[float, ...]
    diameters_mm: tuple[float, ...]
    instances: tuple[tuple[int, ...], ...]

    @property
    def first_seen(self) -> int:
        """The visit at which the lesion is first there; 0 is the baseline."""
        return next(n for n, numbers in enumerate(self.instances) if numbers)


@dataclass(frozen=True, slots=True)
class VisitResponse:
    """The response at one visit: of the target lesions, which lesions are new, and overall with its rule.

    `target` is None where no lesion was measurable at the baseline.
    """

    visit: int
    target: Response | None
    new_lesions: tuple[str, ...]
    overall: OverallResponse
    rule: str


@dataclass(frozen=True, slots=True)
class Course:
    """All lesions over all visits, the names of the target ones, and the response at each visit after the baseline."""

    dates: tuple[date | None, ...]
    tracks: tuple[Track, ...]
    targets: tuple[str, ...]
    responses: tuple[VisitResponse, ...]
