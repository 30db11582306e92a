"""The store of reviews: an append-only SQLite log whose records are chained by hash, and masks in files by their hash.

A mask's file is whole on disk before its record is written, and a record is written whole or not at all, so that a
kill at any moment loses at most what was never confirmed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import UNFINISHED_PREFIX
from medseg.core.database import append_only, connected, has_tables, make_tables
from medseg.core.errors import InputError, StoreError
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.exchange.read import read_label_map
from medseg.exchange.write import write_label_map
from medseg.review.head import Head, read_head, write_head
from medseg.review.records import (
    FIRST_LINK,
    RECORD,
    AnyRecord,
    Correction,
    Decision,
    Record,
    Verdict,
    link,
    mask_sha256,
    of_model,
    shown_correction,
)

SCHEMA_VERSION = 4
"""1 had no head file and no adjudications, 2 no model of a verdict, 3 did not say which corrections are second
readings; all are read, and become 4 when written to."""

REVIEW_FOLDER = ".medseg-review"
"""Where corrections and drafts are kept, beside the results; a leading dot keeps it out of the worklist."""

_PIECE = 1 << 18

_TABLES = f"""
CREATE TABLE IF NOT EXISTS records (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  scan_sha256 TEXT NOT NULL, task TEXT NOT NULL,
  text TEXT NOT NULL, link TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_of_scan ON records (scan_sha256, task);
{append_only("records", "records are")}
"""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who made a record and why, how long it took in seconds, and the hash of the model that made the first mask."""

    reader: str
    reason: str = ""
    duration_s: float = 0.0
    model_sha256: str = ""


class ConflictError(InputError):
    """Someone else saved first: the mask that was corrected is no longer the newest."""


class CorrectionStore:
    """Corrections and verdicts in one folder, made when first written to. Safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = folder / "reviews.sqlite"

    def correct(
        self,
        corrected: LabelMap,
        base: LabelMap,
        scan_sha256: str,
        task: str,
        *,
        by: Signature,
        is_second_reading: bool = False,
    ) -> Correction:
        """The record of a corrected mask, saved for good.

        A second reading is drawn without a look at the first, over the same base, and kept beside it; it may change
        nothing, which says that the reader agrees with the base.
        Raises ConflictError when `base` is not the mask that the result of that model is shown with any more,
        InputError when nothing was changed or the store cannot be written.
        """
        apart = base.geometry.difference(corrected.geometry)
        if apart is not None:
            raise InputError(f"a correction lies on the grid of the mask it corrects: {apart}")
        changed = _where(corrected.array != base.array)
        if changed[0].size == 0 and not is_second_reading:
            raise InputError("nothing was changed, so there is nothing to save; accept the study instead")
        file_sha256 = self._keep(corrected)
        correction = Correction(
            scan_sha256=scan_sha256,
            task=task,
            reader=by.reader,
            made=datetime.now(UTC),
            reason=by.reason,
            base_mask_sha256=mask_sha256(base),
            mask_sha256=mask_sha256(corrected),
            file_sha256=file_sha256,
            model_sha256=by.model_sha256,
            changed_voxels=changed[0].size,
            duration_s=by.duration_s,
            dice=_mean_dice(corrected, base, changed),
            is_second_reading=is_second_reading,
        )
        with self._writing() as connection:
            about = of_model(_history(connection, scan_sha256, task), by.model_sha256)
            if is_second_reading and _is_known(correction, about):
                raise InputError("this reading is saved already, and nothing was changed since")
            newest = None if is_second_reading else _newer_than(correction.base_mask_sha256, about)
            if newest is not None:
                raise ConflictError(
                    f"{_saved_by(newest)}. Yours is kept as a draft: put it on the newest mask, look at the two, and "
                    "save again."
                )
            _append(connection, correction)
        return correction

    def decide(
        self,
        mask: str,
        decision: Decision,
        finding: tuple[str, int] | None,
        scan_sha256: str,
        task: str,
        *,
        by: Signature,
    ) -> Verdict:
        """The record of a verdict on a mask (by its hash), or on one finding of it.

        Raises ConflictError when the result of that model is not shown with that mask any more.
        """
        verdict = Verdict(
            scan_sha256=scan_sha256,
            task=task,
            reader=by.reader,
            made=datetime.now(UTC),
            reason=by.reason,
            mask_sha256=mask,
            model_sha256=by.model_sha256,
            decision=decision,
            finding=finding,
        )

        def is_on_the_newest(history: Sequence[Record]) -> None:
            newest = _newer_than(mask, of_model(history, by.model_sha256))
            if newest is not None:
                raise ConflictError(f"{_saved_by(newest)}. Look at the newest mask before deciding on it.")

        self.add(verdict, check=is_on_the_newest)
        return verdict

    def add(self, *records: AnyRecord, check: Callable[[Sequence[Record]], None] | None = None) -> None:
        """Append records on one scan and task, all of them or none.

        `check` hears what is recorded of the scan at that moment, oldest first, while nobody else writes; what it
        raises leaves the store as it is.
        """
        with self._writing() as connection:
            if check is not None:
                check(_history(connection, records[0].scan_sha256, records[0].task))
            for record in records:
                _append(connection, record)

    def scans(self) -> tuple[tuple[str, str], ...]:
        """The scan and the task of everything that is recorded, each pair once, in the order in which they came."""
        if not self._is_begun():
            return ()
        query = "SELECT scan_sha256, task FROM records GROUP BY scan_sha256, task ORDER BY MIN(number)"
        with self._connected() as connection:
            return tuple(connection.execute(query))

    def history(self, scan_sha256: str, task: str, model_sha256: str | None = None) -> tuple[Record, ...]:
        """Everything recorded of a scan under a task, oldest first; empty where there is nothing.

        With `model_sha256` only what is about the result of that model.
        """
        if not self._is_begun():
            return ()
        with self._connected() as connection:
            records = _history(connection, scan_sha256, task)
        return records if model_sha256 is None else of_model(records, model_sha256)

    def mask(self, correction: Correction, schema: LabelSchema) -> LabelMap:
        """The mask of a correction. Raises StoreError where its file is missing or was altered."""
        path = self._file(correction.file_sha256)
        if not path.is_file():
            raise StoreError(f"the corrected mask {path} is missing from the store. Restore it from a backup.")
        if _file_sha256(path) != correction.file_sha256:
            raise StoreError(f"the corrected mask {path} was altered after it was saved. Restore it from a backup.")
        return read_label_map(path, schema)

    def verify(self, noted: str | None = None) -> Head | None:
        """The head of the store, its records and their files found untouched; None where nothing was ever recorded.

        `noted` is a link that someone wrote down earlier: it must still be in the chain. Raises StoreError otherwise.
        """
        head = read_head(self.folder)
        links = self._links()
        if head is None and len(links) > 1 and self._version() > 1:
            raise StoreError(f"{self.folder} has lost the file that names its last record. Restore it from a backup.")
        if head is not None and (len(links) < head.count or links[head.count - 1] != head.link):
            raise StoreError(
                f"{self._database} holds {len(links)} records and its head names record {head.count}, which is not "
                "there as it was: records were removed from the end or replaced. Restore the store from a backup."
            )
        if noted is not None and noted not in links:
            raise StoreError(
                f"no record of {self._database} has the link {noted} that was noted: the store was written anew, or is "
                "another one. Compare it with a backup."
            )
        return Head(count=len(links), link=links[-1]) if links else None

    def _links(self) -> list[str]:
        """The links of all records, each found to follow from the one before, their masks found whole."""
        if not self._is_begun():
            return []
        links = [FIRST_LINK]
        with self._connected() as connection:
            rows = connection.execute("SELECT number, text, link FROM records ORDER BY number").fetchall()
        for count, (number, text, written) in enumerate(rows, start=1):
            if number != count or link(links[-1], text) != written:
                raise StoreError(
                    f"record {count} of {self._database} does not continue the chain: it, or one before it, was "
                    "changed or removed. Restore the store from a backup."
                )
            links.append(written)
            record = RECORD.validate_json(text)
            if isinstance(record, Correction) and not self._is_kept(record.file_sha256):
                raise StoreError(f"the mask of record {count} is missing or altered: {self._file(record.file_sha256)}")
        return links[1:]

    def _version(self) -> int:
        with self._connected() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _keep(self, label_map: LabelMap) -> str:
        """Write a mask under the hash of its bytes; the hash."""
        arriving = self.folder / "masks" / f"{UNFINISHED_PREFIX}{uuid4().hex}.nii.gz"
        write_label_map(label_map, arriving)
        digest = _file_sha256(arriving)
        arriving.replace(self._file(digest))
        return digest

    def _file(self, file_sha256: str) -> Path:
        return self.folder / "masks" / f"{file_sha256}.nii.gz"

    def _is_kept(self, file_sha256: str) -> bool:
        path = self._file(file_sha256)
        return path.is_file() and _file_sha256(path) == file_sha256

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that others wait for; committed to disk when the block ends well."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the review store {self.folder} cannot be written: {error.strerror}") from error
        with self._connected() as connection:
            connection.execute("PRAGMA synchronous=FULL")
            make_tables(connection, _TABLES, SCHEMA_VERSION)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise
            with suppress(InputError, OSError, sqlite3.OperationalError):  # committed is committed: the head may lag
                self._note_head(connection)

    def _note_head(self, connection: sqlite3.Connection) -> None:
        """Write the head of what is committed; others wait, so that an older head never replaces a newer one."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            last = connection.execute("SELECT number, link FROM records ORDER BY number DESC LIMIT 1").fetchone()
            if last is not None:
                write_head(self.folder, Head(count=last[0], link=last[1]))
        finally:
            connection.execute("ROLLBACK")

    def _is_begun(self) -> bool:
        if not self._database.exists():
            return False
        with self._connected() as connection:
            return has_tables(connection)

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        return connected(self._database, f"the review store {self.folder}", SCHEMA_VERSION)


def _where(is_it: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """As numpy's nonzero, many times faster where little is true."""
    order: Literal["F", "C"] = "F" if is_it.flags.f_contiguous else "C"
    return np.unravel_index(np.flatnonzero(is_it.ravel(order=order)), is_it.shape, order=order)


def _mean_dice(corrected: LabelMap, base: LabelMap, changed: tuple[NDArray[np.intp], ...]) -> float | None:
    """The mean Dice over the labels that either mask holds; None where both are empty.

    The masks hardly differ: the base is counted as a whole, the corrected one by what was changed.
    """
    length = 1 + max(*corrected.schema.indices, *base.schema.indices)
    second = _count_labels(base.array, length)
    gone = np.bincount(base.array[changed], minlength=length)
    first = second - gone + np.bincount(corrected.array[changed], minlength=length)
    counted = (first + second > 0) & (np.arange(length) > 0)
    if not counted.any():
        return None
    return float((2 * (second - gone)[counted] / (first + second)[counted]).mean())


def _count_labels(array: NDArray[np.unsignedinteger[Any]], length: int) -> NDArray[np.int64]:
    """How many voxels each label has, counted in pieces that fit a processor's cache."""
    flat = array.ravel(order="K")
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return np.asarray(sum((np.bincount(piece, minlength=length) for piece in pieces), np.zeros(length, np.int64)))


def _is_known(reading: Correction, records: Sequence[Record]) -> bool:
    """Whether the same reader has already recorded this mask as a second reading."""
    return any(
        isinstance(one, Correction)
        and one.is_second_reading
        and (one.reader, one.mask_sha256) == (reading.reader, reading.mask_sha256)
        for one in records
    )


def _newer_than(mask: str, about: Sequence[Record]) -> Correction | None:
    """The correction that a result is shown with, from its records, where that is not the mask of this hash."""
    shown = shown_correction(about)
    return None if shown is None or shown.mask_sha256 == mask else shown


def _saved_by(newest: Correction) -> str:
    return f"{newest.reader} saved another correction of this study at {newest.made:%H:%M on %Y-%m-%d}"


def _append(connection: sqlite3.Connection, record: AnyRecord) -> None:
    last = connection.execute("SELECT link FROM records ORDER BY number DESC LIMIT 1").fetchone()
    text = RECORD.dump_json(record).decode()
    values = (record.scan_sha256, record.task, text, link(last[0] if last else FIRST_LINK, text))
    connection.execute("INSERT INTO records (scan_sha256, task, text, link) VALUES (?, ?, ?, ?)", values)


def _history(connection: sqlite3.Connection, scan_sha256: str, task: str) -> tuple[Record, ...]:
    query = "SELECT text FROM records WHERE scan_sha256 = ? AND task = ? ORDER BY number"
    return tuple(RECORD.validate_json(text) for (text,) in connection.execute(query, (scan_sha256, task)))


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
