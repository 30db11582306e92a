"""The head of a chain of records: how many there are and the last one's link, in a file of its own.

A chain by itself does not show that its last records were taken away; the head does. It is written after each record,
so that a kill in between leaves it behind by what was not yet noted, never ahead. Whoever can write both the records
and the head can forge both: note the link elsewhere, too, where that matters.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError
from medseg.review.records import Sha256

HEAD_FILE = "head.json"


class Head(BaseModel):
    """How many records a chain has, and the link of the last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=1)
    link: Sha256


def write_head(folder: Path, head: Head) -> None:
    """Put the head in place of the one before."""
    with whole_file(folder / HEAD_FILE) as unfinished:
        unfinished.write_text(head.model_dump_json(), encoding="utf-8")


def read_head(folder: Path) -> Head | None:
    """The head of the store in a folder, None where there is none. Raises StoreError where it is damaged."""
    path = folder / HEAD_FILE
    if not path.is_file():
        return None
    try:
        return Head.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: it should name the last record. Restore it from a backup.") from error
