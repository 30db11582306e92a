"""Measurements that a reader drew on a scan: kept with it, replaced as a whole, in world millimetres."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.core.atomic import is_unfinished, whole_file
from medseg.core.errors import StoreError
from medseg.core.findings import Mark

MOST_MARKS = 500


class MarkList(BaseModel):
    """The marks of one reader on one scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    marks: tuple[Mark, ...] = Field(max_length=MOST_MARKS)


class _Kept(MarkList):
    """The marks as they lie in a file, which says whose they are and of what; one of before that was kept does not."""

    scan_sha256: str = ""
    reader: str = ""


class MarkStore:
    """Marks in one folder, a file for each scan and reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "marks"

    def keep(self, marks: MarkList, scan_sha256: str, reader: str) -> None:
        """Put a reader's marks in place of those before, whole or not at all. Raises InputError on a full disk."""
        with whole_file(self._file(scan_sha256, reader)) as temporary:
            kept = _Kept(marks=marks.marks, scan_sha256=scan_sha256, reader=reader)
            temporary.write_text(kept.model_dump_json(), encoding="utf-8")

    def find(self, scan_sha256: str, reader: str) -> tuple[Mark, ...]:
        """A reader's marks on a scan, none where there are none. Raises StoreError where the file is damaged."""
        kept = _read(self._file(scan_sha256, reader))
        return () if kept is None else kept.marks

    def of_scan(self, scan_sha256: str) -> tuple[tuple[str, Mark], ...]:
        """Every mark on a scan after its reader's name, in order of the names. Raises StoreError for a damaged file."""
        kept = [_read(path) for path in self.folder.glob("*.json") if not is_unfinished(path)]
        mine = sorted((one for one in kept if one and one.scan_sha256 == scan_sha256), key=lambda one: one.reader)
        return tuple((one.reader, mark) for one in mine for mark in one.marks)

    def _file(self, scan_sha256: str, reader: str) -> Path:
        name = hashlib.sha256(json.dumps([scan_sha256, reader]).encode()).hexdigest()
        return self.folder / f"{name}.json"


def _read(path: Path) -> _Kept | None:
    """The marks in a file, None where it is not, or no longer, there."""
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StoreError(f"the measurements in {path} are damaged. Remove the file to go on.") from error
