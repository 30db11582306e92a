"""What a reader sends back: a corrected mask, a draft of one, a verdict. Bodies are bounded before they are read."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from typing import Literal
from urllib.parse import unquote

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE, VOXELS
from apps.viewer.routes.door import Door, Visit
from apps.viewer.study_on_screen import StudyOnScreen
from medseg.core.errors import InputError, MedsegError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.task import first_problem
from medseg.imaging.pictures.slices import mask_for_screen, mask_from_screen
from medseg.review.agreement import second_reading_problem
from medseg.review.corrections import ConflictError, Signature
from medseg.review.drafts import Draft, Subject, put_on
from medseg.review.marks import MarkList

BODY_SLACK_BYTES = 64 * 1024
"""What a compressed body may be larger than the labels it holds: gzip's own bookkeeping for noise."""

_GZIP_WINDOW = 31


class VerdictRequest(BaseModel):
    """What the page sends when a reader accepts or rejects a study, or one of its findings."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["accepted", "rejected"]
    mask_sha256: str
    finding: tuple[str, int] | None = None
    reason: str = Field(default="", max_length=2000)


def review_routes(door: Door) -> list[Route]:
    """The routes that write."""
    return [
        door.study("mask", "PUT", "correct", save_mask, mask_body_bytes),
        door.study("draft", "PUT", "correct", keep_draft, mask_body_bytes),
        door.study("draft", "GET", "correct", find_draft),
        door.study("draft", "DELETE", "correct", drop_draft),
        door.study("drafts", "GET", "correct", list_drafts),
        door.study("verdict", "POST", "correct", decide),
        door.study("marks", "PUT", "read", keep_marks),
    ]


def save_mask(visit: Visit) -> Response:
    """Record a correction; its hash, and how many voxels changed. 409 where another was saved since it was begun."""
    corrected, shown = _labels(visit), _mask(visit)
    if visit.request.headers.get("If-Match") != visit.study.mask_sha256:
        raise ConflictError(
            "another correction of this study was saved since you began. Yours is kept as a draft: put it on the "
            "newest mask, look at the two, and save again."
        )
    reason = unquote(visit.request.headers.get("X-Reason", ""))[:2000]
    signature = _signature(visit, reason, _seconds(visit.request))
    is_second = visit.study.is_second_reading
    if is_second:
        _require_second_reader(visit)
    changed = np.count_nonzero(corrected.array != shown.array)
    doing = visit.logged("edit", f"{changed} voxels{', second reading' if is_second else ''}")
    with visit.newest_after_conflict(), doing:
        saved = visit.desk.reviews.correct(
            corrected, shown, *_subject(visit), by=signature, is_second_reading=is_second
        )
    with suppress(OSError, MedsegError):  # saved is saved; a draft that is left is offered again
        visit.desk.drafts.drop(_draft_of(visit), visit.permit.user, saved.base_mask_sha256)
    visit.desk.corrected(visit.study, corrected, saved, visit.body)
    return JSONResponse({"mask_sha256": saved.mask_sha256, "changed_voxels": saved.changed_voxels}, headers=PRIVATE)


def keep_draft(visit: Visit) -> Response:
    """Keep a draft in place of the reader's last one over the same mask."""
    _labels(visit)
    base = visit.request.headers.get("If-Match", "")
    visit.desk.drafts.keep(Draft(base, _seconds(visit.request), visit.body), _draft_of(visit), visit.permit.user)
    return Response(status_code=204, headers=PRIVATE)


def list_drafts(visit: Visit) -> Response:
    """The reader's drafts of the study, the newest first: over which mask, when it was kept, seconds spent on it."""
    kept = visit.desk.drafts.all_of(_draft_of(visit), visit.permit.user)
    told = [
        {"over": one.draft.base_mask_sha256, "kept": one.kept.isoformat(), "seconds": round(one.draft.duration_s)}
        for one in kept
    ]
    return JSONResponse(told, headers=PRIVATE)


def find_draft(visit: Visit) -> Response:
    """The reader's draft over a mask, as it was sent; 204 where there is none.

    `over` is the hash of the mask, that which is shown if none is named. With `onto`, the hash of the mask that is
    shown, what was drawn is put on that one; X-Also-Changed counts the voxels that both change, each to another label.
    Raises ConflictError where another mask is shown by now.
    """
    draft = visit.desk.drafts.find(_draft_of(visit), visit.permit.user, _over(visit))
    if draft is None:
        return Response(status_code=204, headers=PRIVATE)
    headers = {**PRIVATE, "Content-Encoding": "gzip", "X-Seconds": f"{draft.duration_s:.0f}"}
    onto = visit.request.query_params.get("onto")
    if onto is None:
        headers["X-Mask-Sha256"] = draft.base_mask_sha256
        return Response(draft.labels_gzip, media_type=VOXELS, headers=headers)
    if onto != visit.study.mask_sha256:
        raise ConflictError("the mask was corrected once more meanwhile; put your draft on the newest")
    drawn = mask_for_screen(_unpacked(visit, draft.labels_gzip))
    base = visit.desk.earlier_labels(visit.study, draft.base_mask_sha256)
    labels, also_changed = put_on(mask_for_screen(_mask(visit)), drawn, base)
    headers |= {"X-Mask-Sha256": onto, "X-Also-Changed": str(also_changed), "X-Base-Known": str(int(base is not None))}
    return Response(gzip.compress(labels.tobytes(), 1), media_type=VOXELS, headers=headers)


def drop_draft(visit: Visit) -> Response:
    """Forget the reader's draft over a mask, that which is shown if `over` names no other."""
    visit.desk.drafts.drop(_draft_of(visit), visit.permit.user, _over(visit))
    return Response(status_code=204, headers=PRIVATE)


def decide(visit: Visit) -> Response:
    """Record a verdict on the mask that is shown, or on one of its findings."""
    try:
        wanted = VerdictRequest.model_validate_json(visit.body)
    except ValidationError as error:
        raise InputError(f"this is not a verdict: {first_problem(error)}") from error
    if visit.study.is_second_reading:
        raise InputError("a second reading is saved and not decided on: whoever adjudicates says which mask stands")
    if wanted.mask_sha256 != visit.study.mask_sha256:
        raise ConflictError("the mask was corrected since you looked at it; look at the newest before deciding on it")
    signature = _signature(visit, wanted.reason)
    what = "study" if wanted.finding is None else " ".join(map(str, wanted.finding))
    with visit.newest_after_conflict(), visit.logged("verdict", f"{what} {wanted.decision}"):
        visit.desk.reviews.decide(wanted.mask_sha256, wanted.decision, wanted.finding, *_subject(visit), by=signature)
    return Response(status_code=204, headers=PRIVATE)


def keep_marks(visit: Visit) -> Response:
    """Keep the reader's measurements on the scan."""
    try:
        marks = MarkList.model_validate_json(visit.body)
    except ValidationError as error:
        raise InputError(f"these are not measurements: {first_problem(error)}") from error
    source = visit.study.opened.source_sha256
    with visit.logged("measure", f"{len(marks.marks)} measurements"):
        visit.desk.marks.keep(marks, source, visit.permit.user)
    return Response(status_code=204, headers=PRIVATE)


def mask_body_bytes(visit: Visit) -> int:
    """What a gzipped mask of this study may come to."""
    return _label_bytes(visit.study) + BODY_SLACK_BYTES


def _require_second_reader(visit: Visit) -> None:
    """Raises InputError where this visitor may not, or no longer, read the study a second time."""
    problem = second_reading_problem(visit.desk.records(visit.study.opened.entry), visit.permit.user)
    if problem is not None:
        raise InputError(problem)


def _report(visit: Visit) -> Report:
    """The report of the study. Raises InputError where it was not segmented."""
    if visit.study.opened.report is None:
        raise InputError("this scan was not segmented, so there is no mask to review")
    return visit.study.opened.report


def _mask(visit: Visit) -> LabelMap:
    """The mask that is shown. Raises InputError where there is none."""
    if visit.study.opened.label_map is None:
        raise InputError("this study has no mask to review; segment the scan first")
    return visit.study.opened.label_map


def _subject(visit: Visit) -> tuple[str, str]:
    """Which scan and task the visit is about."""
    return visit.study.opened.source_sha256, _report(visit).task.name


def _draft_of(visit: Visit) -> Subject:
    """What a draft of this visit is of: the result of one model, for another's has a mask of its own."""
    kind = "second reading of " if visit.study.is_second_reading else ""
    return (*_subject(visit), f"{kind}{_report(visit).model.sha256}")


def _signature(visit: Visit, reason: str, duration_s: float = 0.0) -> Signature:
    """Who does this and why."""
    return Signature(visit.permit.user, reason, duration_s, _report(visit).model.sha256)


def _label_bytes(study: StudyOnScreen) -> int:
    return int(study.screen.array.size) * study.bytes_per_label


def _over(visit: Visit) -> str:
    """Over which mask the draft was drawn that is asked for."""
    return visit.request.query_params.get("over", visit.study.mask_sha256 or "")


def _labels(visit: Visit) -> LabelMap:
    """The mask in the body, on the scan's own grid."""
    return _unpacked(visit, visit.body)


def _unpacked(visit: Visit, packed: bytes) -> LabelMap:
    """A gzipped mask on the scan's own grid; unpacked no further than a mask of this scan goes."""
    expected = _label_bytes(visit.study)
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = unpacker.decompress(packed, expected + 1)
    except zlib.error as error:
        raise InputError("the mask arrived damaged: it is not gzip. Save again.") from error
    if len(content) != expected or not unpacker.eof:
        raise InputError(f"the mask arrived with another size than the {expected} bytes of this scan. Save again.")
    dtype = "<u1" if visit.study.bytes_per_label == 1 else "<u2"
    labels = np.frombuffer(content, dtype=dtype).reshape(visit.study.screen.array.shape)
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    return mask_from_screen(native, _mask(visit).geometry, _mask(visit).schema)


def _seconds(request: Request) -> float:
    try:
        return max(0.0, min(float(request.headers.get("X-Seconds", "0")), 86_400.0))
    except ValueError:
        return 0.0
