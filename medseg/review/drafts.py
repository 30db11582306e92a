"""Drafts: masks that a reader has begun to correct and not yet saved; one a reader and study, replaced at will."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError

Subject = tuple[str, str, str]
"""Which result is drawn on: the hash of its scan, the name of its task, the hash of its model."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Labels in display order, gzipped as the browser sent them, and the mask they were drawn over."""

    base_mask_sha256: str
    duration_s: float
    labels_gzip: bytes


class DraftStore:
    """Drafts in one folder; scan, task, model and reader say whose and of what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "drafts"

    def keep(self, draft: Draft, subject: Subject, reader: str) -> None:
        """Put a draft in the place of the one before it, whole or not at all. Raises InputError on a full disk."""
        head = {name: value for name, value in asdict(draft).items() if name != "labels_gzip"}
        with whole_file(self._file(subject, reader)) as temporary:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + draft.labels_gzip)

    def find(self, subject: Subject, reader: str) -> Draft | None:
        """The draft, None where there is none. Raises StoreError where it is damaged."""
        path = self._file(subject, reader)
        if not path.is_file():
            return None
        head, _, labels = path.read_bytes().partition(b"\n")
        try:
            return Draft(**json.loads(head), labels_gzip=labels)
        except (ValueError, TypeError) as error:
            raise StoreError(f"the draft {path} is damaged and cannot be read. Remove it to go on.") from error

    def drop(self, subject: Subject, reader: str) -> None:
        """Forget a draft, if there is one."""
        self._file(subject, reader).unlink(missing_ok=True)

    def _file(self, subject: Subject, reader: str) -> Path:
        name = hashlib.sha256(json.dumps([*subject, reader]).encode()).hexdigest()
        return self.folder / f"{name}.draft"
