"""What is recorded of a review: corrections of a mask, verdicts on a study or a finding; each linked to the last."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from medseg.core.label_map import LabelMap

Decision = Literal["accepted", "rejected"]

FIRST_LINK = "0" * 64
"""What the first record of a chain names as the one before it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    """What every record says: of which scan and task, by whom, when."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scan_sha256: Sha256
    task: str = Field(min_length=1)
    reader: str = Field(min_length=1, max_length=200)
    made: datetime
    reason: str = Field(default="", max_length=2000)


class Correction(_Record):
    """A mask that a reader drew over another; both masks by the hash of their labels, the file by that of its bytes.

    `model_sha256` is the bundle that made the first mask of the line, `changed_voxels` how many labels differ from the
    base, `duration_s` the time the reader spent. `dice` is the mean Dice of the two masks over the labels that either
    holds; None in records of before it was kept, and where both are empty. A second reading was drawn without a look
    at what others had drawn; its base is the model's mask, or the last of the same reader's second readings.
    """

    kind: Literal["correction"] = "correction"
    base_mask_sha256: Sha256
    mask_sha256: Sha256
    file_sha256: Sha256
    model_sha256: str
    changed_voxels: int = Field(ge=0)
    duration_s: float = Field(ge=0)
    dice: float | None = Field(default=None, ge=0, le=1)
    is_second_reading: bool = False


class Verdict(_Record):
    """A reader's word on a mask: on one finding (label name and instance), or on the whole study where that is None.

    `model_sha256` is the bundle that made the first mask of the line; empty in records of before it was kept.
    """

    kind: Literal["verdict"] = "verdict"
    mask_sha256: Sha256
    model_sha256: str = ""
    decision: Decision
    finding: tuple[str, int] | None = None


class Adjudication(_Record):
    """A third person's word on a case that several read: whose mask stands, of those in `between` (reader to mask).

    `dice` and `kappa` are of the mask that stands and the one that is farthest from it; None where neither says
    anything. The acceptance of the mask follows as a Verdict.
    """

    kind: Literal["adjudication"] = "adjudication"
    mask_sha256: Sha256
    between: dict[str, Sha256] = Field(min_length=2)
    dice: float | None = Field(default=None, ge=0, le=1)
    kappa: float | None = Field(default=None, ge=-1, le=1)


AnyRecord = Correction | Verdict | Adjudication
Record = Annotated[AnyRecord, Field(discriminator="kind")]
RECORD: TypeAdapter[AnyRecord] = TypeAdapter(Record)


def of_model(records: Sequence[AnyRecord], model_sha256: str) -> tuple[AnyRecord, ...]:
    """The records of a scan that are about the result of one model, in their order.

    A record that names no model is about the one whose mask it is on; where that is not known either, about all. Of a
    model without a hash, these are all records.
    """
    if not model_sha256:
        return tuple(records)
    owners: dict[str, set[str]] = {}
    for record in records:
        if isinstance(record, Correction) and record.model_sha256:
            for mask in (record.base_mask_sha256, record.mask_sha256):
                owners.setdefault(mask, set()).add(record.model_sha256)

    def is_about_it(record: AnyRecord) -> bool:
        if not isinstance(record, Adjudication) and record.model_sha256:
            return record.model_sha256 == model_sha256
        return model_sha256 in owners.get(record.mask_sha256, {model_sha256})

    return tuple(record for record in records if is_about_it(record))


def shown_correction(records: Sequence[AnyRecord]) -> Correction | None:
    """The correction whose mask a study is shown with, from its records, oldest first; None for the model's own mask.

    The last that is no second reading; after an adjudication the one that stands, until somebody corrects it further.
    """
    shown: Correction | None = None
    by_mask: dict[str, Correction] = {}
    for record in records:
        if isinstance(record, Correction):
            by_mask[record.mask_sha256] = record
            if not record.is_second_reading:
                shown = record
        elif isinstance(record, Adjudication):
            shown = by_mask.get(record.mask_sha256, shown)
    return shown


def link(before: str, text: str) -> str:
    """The chain link of a record's JSON text: the hash of the link before it and of the text, 64 hexadecimal digits."""
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def mask_sha256(label_map: LabelMap) -> str:
    """Hash of a mask's labels on its grid: the same whatever its integer width and the order its axes are stored in."""
    geometry = label_map.geometry
    turn = geometry.reorientation_to("LPS")
    labels = turn.apply(label_map.array).transpose(2, 1, 0)
    # One byte a label where that is enough: half the work, and the same hash however wide the array is.
    dtype = "<u1" if max(label_map.schema.indices) <= np.iinfo(np.uint8).max else "<u2"
    digest = hashlib.sha256(f"{labels.shape} {dtype}".encode())
    for plane in labels:
        digest.update(np.ascontiguousarray(plane, dtype=dtype).data)
    return digest.hexdigest()


ReviewStatus = Literal["new", "in review", "accepted", "rejected"]


def review_status(records: Sequence[Record]) -> ReviewStatus:
    """How far the review of a study has come, from its records, oldest first.

    A correction opens it again; a second reading is kept beside the first, and leaves the word on that as it is.
    """
    status: ReviewStatus = "new"
    for record in records:
        if isinstance(record, Verdict) and record.finding is None:
            status = record.decision
        elif not isinstance(record, Correction) or record.is_second_reading:
            status = "in review" if status == "new" else status
        else:
            status = "in review"
    return status
