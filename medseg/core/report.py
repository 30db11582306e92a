"""Report: everything medseg says about one scan; the only input of every writer and of the viewer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.findings import Finding, Grade, HandMeasurement
from medseg.core.study import Series
from medseg.core.task import Task

NOT_FOR_DIAGNOSIS = "Not for diagnostic use."


class ModelIdentity(BaseModel):
    """Which model made a mask: its name, the content hash of its bundle, and the medseg that ran it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    medseg_version: str


class Review(BaseModel):
    """A reader's word on the mask of a report: accepted or rejected, by whom and when.

    `corrected_by` and `corrected` say who drew the mask anew and when; None where it is the model's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: Literal["accepted", "rejected"]
    reader: str
    made: datetime
    corrected_by: str | None = None
    corrected: datetime | None = None

    @property
    def sentence(self) -> str:
        """Who did what when: "Outlines corrected by A on 2026-11-26 07:01 UTC, accepted by B on ..."."""
        verdict = f"{self.decision} by {self.reader} on {self.made:%Y-%m-%d %H:%M} UTC"
        if self.corrected_by is None or self.corrected is None:
            return f"Outlines made by the model, {verdict}."
        return f"Outlines corrected by {self.corrected_by} on {self.corrected:%Y-%m-%d %H:%M} UTC, {verdict}."


class ChannelSource(BaseModel):
    """One image of a scan of several channels: what was imaged, where it was read from, the hash of voxels and grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    series: Series
    source: Path
    source_sha256: str


class Report(BaseModel):
    """One segmented scan: what was imaged, by which model, what was found, and what to beware of.

    `source` is where the scan was read from and `source_sha256` the hash of its voxels and grid; of several channels
    those of the first, and `more_channels` has the others by name (none in reports of before they were kept).
    `duration_s` is what segmenting took; `peak_memory_mb` the most memory that was resident from reading the scan to
    writing the mask, None where the system does not tell. `grades` are those of the whole scan, and `not_assessable`
    says by label name why what was looked for could not be judged: its absence among the findings means nothing.
    `review` is what a reader decided on the mask; None where nobody has. `by_hand` is what readers measured on the scan
    themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    series: Series
    source: Path
    source_sha256: str
    more_channels: dict[str, ChannelSource] = Field(default_factory=dict)
    task: Task
    model: ModelIdentity
    findings: tuple[Finding, ...]
    grades: tuple[Grade, ...] = ()
    not_assessable: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    limitations: tuple[str, ...] = (NOT_FOR_DIAGNOSIS,)
    created: datetime
    duration_s: float
    peak_memory_mb: float | None = None
    review: Review | None = None
    by_hand: tuple[HandMeasurement, ...] = ()
