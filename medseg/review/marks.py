"""Measurements that a reader drew on a scan: kept with it, replaced as a whole, in world millimetres."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError
from medseg.imaging.slices import PlaneName

MarkKind = Literal["length", "diameters", "angle", "roi"]

POINTS: dict[MarkKind, int] = {"length": 2, "diameters": 4, "angle": 3, "roi": 2}
"""How many points each kind has: ends; ends of both diameters; an arm, the vertex, an arm; corners of the box."""

MOST_MARKS = 500


class Mark(BaseModel):
    """One measurement: its kind, the plane it was drawn in, and its points in RAS+ mm."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: MarkKind
    plane: PlaneName
    points_mm: tuple[tuple[float, float, float], ...]

    @model_validator(mode="after")
    def _has_the_points_of_its_kind(self) -> Self:
        if len(self.points_mm) != POINTS[self.kind]:
            raise ValueError(f"a mark of kind {self.kind} has {POINTS[self.kind]} points, got {len(self.points_mm)}")
        return self


class MarkList(BaseModel):
    """The marks of one reader on one scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    marks: tuple[Mark, ...] = Field(max_length=MOST_MARKS)


class MarkStore:
    """Marks in one folder, a file for each scan and reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "marks"

    def keep(self, marks: MarkList, scan_sha256: str, reader: str) -> None:
        """Put a reader's marks in place of those before, whole or not at all. Raises InputError on a full disk."""
        with whole_file(self._file(scan_sha256, reader)) as temporary:
            temporary.write_text(marks.model_dump_json(), encoding="utf-8")

    def find(self, scan_sha256: str, reader: str) -> tuple[Mark, ...]:
        """A reader's marks on a scan, none where there are none. Raises StoreError where the file is damaged."""
        path = self._file(scan_sha256, reader)
        if not path.is_file():
            return ()
        try:
            return MarkList.model_validate_json(path.read_bytes()).marks
        except ValidationError as error:
            raise StoreError(f"the measurements in {path} are damaged. Remove the file to go on.") from error

    def _file(self, scan_sha256: str, reader: str) -> Path:
        name = hashlib.sha256(json.dumps([scan_sha256, reader]).encode()).hexdigest()
        return self.folder / f"{name}.json"
