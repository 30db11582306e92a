"""What is said about the vessels of one scan: branches, blockages with grade and interval, and what cannot be said."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from medseg.analysis.vessels.findings.grading import CadRads, Nascet, area_percent, cad_rads, nascet, nascet_percent

Source = Literal["probabilities", "image", "mask"]
Kind = Literal["stenosis", "filling defect", "subtotal or occluded", "occlusion"]
VesselKind = Literal["artery", "vein"]
Confidence = Literal["confident", "review"]
Point = tuple[float, float, float]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_what_follows(cls, data: Any) -> Any:
        """What a file says of a model less what follows from the rest: that is computed anew."""
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if name not in cls.model_computed_fields}


class Blockage(_Said):
    """One blockage of one branch; lengths in mm, places along the branch from its start, positions in RAS+ mm.

    `reference_diameter_mm` is the healthy diameter at the tightest place, between the levels before and after it;
    `interval` is the 95 % interval of the percentage, `diameter_interval_mm` that of the minimal diameter. Blockages to
    look at twice are for "review", and say why. One that is not `is_graded` has no category: it is in a vein, or its
    percentage comes from a hard mask alone. Length, area and grades follow from the rest, and stand in files too.
    """

    number: int = Field(ge=1)
    branch: int
    kind: Kind
    centre_mm: Point
    position_mm: float
    start_mm: float
    stop_mm: float
    minimal_diameter_mm: float
    reference_diameter_mm: float
    before_diameter_mm: float | None
    after_diameter_mm: float | None
    diameter_percent: float = Field(ge=0, le=100)
    interval: tuple[float, float]
    diameter_interval_mm: tuple[float, float]
    gap_mm: float
    is_calcified: bool
    narrowings: int
    fork_mm: float | None
    confidence: Confidence
    reasons: tuple[str, ...]
    is_graded: bool = True

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length_mm(self) -> float:
        return self.stop_mm - self.start_mm

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area_percent(self) -> float:
        """Lost area in percent, for a round lumen."""
        return area_percent(self.diameter_percent)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area_interval(self) -> tuple[float, float]:
        """The 95 % interval of the lost area: the area grows with the diameter, so its ends are those of the latter."""
        low, high = self.interval
        return area_percent(low), area_percent(high)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cad_rads(self) -> CadRads | None:
        return cad_rads(self.diameter_percent, is_occluded=self.kind == "occlusion") if self.is_graded else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def nascet_percent(self) -> float | None:
        """Percent of the normal diameter beyond the lesion; None where there is none to measure."""
        if self.after_diameter_mm is None or not self.is_graded:
            return None
        return nascet_percent(self.minimal_diameter_mm, self.after_diameter_mm)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def nascet(self) -> Nascet | None:
        percent = self.nascet_percent
        return None if percent is None else nascet(percent, is_occluded=self.kind == "occlusion")


class BranchReport(_Said):
    """One branch: where it hangs, its length and diameters in mm, and why it cannot be assessed, where it cannot.

    `segment` is its coronary segment, where that is known.
    """

    index: int
    parent: int | None
    generation: int
    length_mm: float
    tortuosity: float | None
    mean_diameter_mm: float
    minimal_diameter_mm: float
    segment: str | None = None
    not_assessable: str | None = None


class VesselReport(_Said):
    """The vessels of one scan. `not_assessable` says why nothing could be measured, where nothing could.

    `cad_rads` is the category of the worst confident or reviewed blockage; N where nothing could be assessed or graded,
    None of veins, which it does not grade.
    """

    source: Source
    vessels: VesselKind = "artery"
    branches: tuple[BranchReport, ...] = ()
    blockages: tuple[Blockage, ...] = ()
    cad_rads: CadRads | None = "N"
    point_spread_mm: float | None = None
    calcium_ml: float | None = None
    not_assessable: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def confident(self) -> tuple[Blockage, ...]:
        return tuple(blockage for blockage in self.blockages if blockage.confidence == "confident")

    @property
    def length_mm(self) -> float:
        """Length of all assessable branches."""
        return sum(branch.length_mm for branch in self.branches if branch.not_assessable is None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def count_by_branch(self) -> dict[int, int]:
        """How many blockages each assessed branch has, by its number."""
        return {
            branch.index: len(self.on_branch(branch.index)) for branch in self.branches if not branch.not_assessable
        }

    def branch_name(self, index: int) -> str:
        """A branch's coronary segment where it is known, else its number."""
        segment = next((branch.segment for branch in self.branches if branch.index == index), None)
        return segment or str(index)

    def on_branch(self, index: int) -> tuple[Blockage, ...]:
        """The blockages of one branch."""
        return tuple(blockage for blockage in self.blockages if blockage.branch == index)
