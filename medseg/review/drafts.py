"""Drafts: masks that a reader has begun to correct and not yet saved; one for each mask that they are drawn over.

A draft over a mask that is no longer the newest waits beside the newer ones until its reader takes it up or removes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError

Subject = tuple[str, str, str]
"""Which result is drawn on: the hash of its scan, the name of its task, the hash of its model."""

MOST_DRAFTS = 8
"""Drafts of one reader and study that are kept; of more, the oldest go."""

Labels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Draft:
    """Labels in display order, gzipped as the browser sent them, and the mask they were drawn over."""

    base_mask_sha256: str
    duration_s: float
    labels_gzip: bytes


@dataclass(frozen=True, slots=True)
class KeptDraft:
    """A draft, and when it was kept."""

    draft: Draft
    kept: datetime


class DraftStore:
    """Drafts in one folder; scan, task, model and reader say whose and of what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "drafts"

    def keep(self, draft: Draft, subject: Subject, reader: str) -> None:
        """Put a draft in the place of the one over the same mask, whole or not at all.

        Raises InputError on a full disk.
        """
        head = {name: value for name, value in asdict(draft).items() if name != "labels_gzip"}
        written = self._file(subject, reader, draft.base_mask_sha256)
        with whole_file(written) as temporary:
            temporary.write_bytes(json.dumps(head).encode() + b"\n" + draft.labels_gzip)
        others = [path for path, _ in self._newest_first(subject, reader) if path != written]
        for path in others[MOST_DRAFTS - 1 :]:
            path.unlink(missing_ok=True)

    def find(self, subject: Subject, reader: str, base_mask_sha256: str) -> Draft | None:
        """The draft over a mask, None where there is none. Raises StoreError where it is damaged."""
        wanted = self._file(subject, reader, base_mask_sha256)
        kept = (one.draft for _, one in self._read(subject, reader, wanted))
        return next((draft for draft in kept if draft.base_mask_sha256 == base_mask_sha256), None)

    def all_of(self, subject: Subject, reader: str) -> tuple[KeptDraft, ...]:
        """A reader's drafts of a study, over whichever mask, the newest first; damaged ones are passed over."""
        return tuple(one for _, one in self._read(subject, reader))

    def drop(self, subject: Subject, reader: str, base_mask_sha256: str) -> None:
        """Forget the draft over a mask, if there is one."""
        for path, one in self._read(subject, reader):
            if one.draft.base_mask_sha256 == base_mask_sha256:
                path.unlink(missing_ok=True)
        self._file(subject, reader, base_mask_sha256).unlink(missing_ok=True)  # a damaged one, too

    def _file(self, subject: Subject, reader: str, base_mask_sha256: str) -> Path:
        base = hashlib.sha256(base_mask_sha256.encode()).hexdigest()
        return self.folder / f"{_name(subject, reader)}-{base[:16]}.draft"

    def _read(self, subject: Subject, reader: str, wanted: Path | None = None) -> Iterator[tuple[Path, KeptDraft]]:
        """The drafts that can be read. Raises StoreError where the `wanted` one is damaged."""
        for path, kept_s in self._newest_first(subject, reader):
            try:
                head, _, labels = path.read_bytes().partition(b"\n")
                draft = Draft(**json.loads(head), labels_gzip=labels)
            except FileNotFoundError:  # taken up or removed on another page
                continue
            except (ValueError, TypeError) as error:
                if path != wanted:
                    continue
                raise StoreError(f"the draft {path} is damaged and cannot be read. Remove it to go on.") from error
            yield path, KeptDraft(draft, datetime.fromtimestamp(kept_s, UTC))

    def _newest_first(self, subject: Subject, reader: str) -> list[tuple[Path, float]]:
        """A reader's files of a study, and when each was written; a file of before has no mask in its name."""
        found = []
        for path in self.folder.glob(f"{_name(subject, reader)}*.draft"):
            with suppress(FileNotFoundError):
                found.append((path, path.stat().st_mtime))
        return sorted(found, key=lambda one: one[1], reverse=True)


def put_on(newest: Labels, drawn: Labels, base: Labels | None) -> tuple[Labels, int]:
    """What was drawn over `base`, drawn over `newest`; and how many voxels both change, each to another label.

    Of those the draft's label is taken. All are labels on one grid. Where the base is not known, all that was drawn is
    taken, as if the newest were the base.
    """
    if base is None:
        return drawn.astype(newest.dtype), 0
    is_drawn = drawn != base
    is_in_both = is_drawn & (newest != base) & (newest != drawn)
    return np.where(is_drawn, drawn, newest).astype(newest.dtype), int(is_in_both.sum())


def _name(subject: Subject, reader: str) -> str:
    return hashlib.sha256(json.dumps([*subject, reader]).encode()).hexdigest()
