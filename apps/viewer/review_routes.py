"""What a reader sends back: a corrected mask, a draft of one, a verdict. Bodies are bounded before they are read."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import unquote

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.answers import PRIVATE, VOXELS, bearer, sentence
from apps.viewer.desk import Desk, StudyOnScreen
from apps.viewer.page_data import ROUTE_ROOT
from apps.viewer.tokens import Permit, RefusalError, check
from medseg.core.errors import InputError, MedsegError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.task import first_problem
from medseg.imaging.slices import mask_from_screen
from medseg.review.corrections import ConflictError, Signature
from medseg.review.drafts import Draft
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


class Case:
    """One request of a reader: the study with its report and mask, the permit, and the body."""

    def __init__(self, desk: Desk, study: StudyOnScreen, permit: Permit, request: Request, body: bytes) -> None:
        self.desk, self.study, self.permit, self.request, self.body = desk, study, permit, request, body

    @property
    def report(self) -> Report:
        """The report of the study. Raises InputError where it was not segmented."""
        if self.study.opened.report is None:
            raise InputError("this scan was not segmented, so there is no mask to review")
        return self.study.opened.report

    @property
    def mask(self) -> LabelMap:
        """The mask that is shown. Raises InputError where there is none."""
        if self.study.opened.label_map is None:
            raise InputError("this study has no mask to review; segment the scan first")
        return self.study.opened.label_map

    @property
    def of(self) -> tuple[str, str]:
        """Which scan and task it is about."""
        return self.study.opened.source_sha256, self.report.task.name

    def signature(self, reason: str, duration_s: float = 0.0) -> Signature:
        """Who does this and why."""
        return Signature(self.permit.user, reason, duration_s, self.report.model.sha256)


Answer = Callable[[Case], Response]


def review_routes(desk: Desk, key: str) -> list[Route]:
    """The routes that write, over one desk, with permits signed by `key`."""

    def route(path: str, method: str, answer: Answer) -> Route:
        return Route(f"{ROUTE_ROOT}/studies/{{study}}/{path}", _endpoint(desk, key, answer), methods=[method])

    return [
        route("mask", "PUT", save_mask),
        route("draft", "PUT", keep_draft),
        route("draft", "GET", find_draft),
        route("draft", "DELETE", drop_draft),
        route("verdict", "POST", decide),
        route("marks", "PUT", keep_marks),
    ]


def save_mask(case: Case) -> Response:
    """Record a correction; its hash, and how many voxels changed. 409 where another was saved since it was begun."""
    corrected = _labels(case)
    if case.request.headers.get("If-Match") != case.study.mask_sha256:
        raise ConflictError(
            "another correction of this study was saved since you began. Yours is kept as a draft: "
            "load the newest mask and draw your change on it."
        )
    reason = unquote(case.request.headers.get("X-Reason", ""))[:2000]
    signature = case.signature(reason, _seconds(case.request))
    saved = case.desk.reviews.correct(corrected, case.mask, *case.of, by=signature)
    case.desk.drafts.drop(*case.of, case.permit.user)
    case.desk.corrected(case.study, corrected, saved, case.body)
    return JSONResponse({"mask_sha256": saved.mask_sha256, "changed_voxels": saved.changed_voxels}, headers=PRIVATE)


def keep_draft(case: Case) -> Response:
    """Keep a draft in place of the reader's last one."""
    _labels(case)
    base = case.request.headers.get("If-Match", "")
    case.desk.drafts.keep(Draft(base, _seconds(case.request), case.body), *case.of, case.permit.user)
    return Response(status_code=204, headers=PRIVATE)


def find_draft(case: Case) -> Response:
    """The reader's draft as it was sent, and the mask it was drawn over; 204 where there is none."""
    draft = case.desk.drafts.find(*case.of, case.permit.user)
    if draft is None:
        return Response(status_code=204, headers=PRIVATE)
    headers = {
        **PRIVATE,
        "Content-Encoding": "gzip",
        "X-Mask-Sha256": draft.base_mask_sha256,
        "X-Seconds": f"{draft.duration_s:.0f}",
    }
    return Response(draft.labels_gzip, media_type=VOXELS, headers=headers)


def drop_draft(case: Case) -> Response:
    """Forget the reader's draft."""
    case.desk.drafts.drop(*case.of, case.permit.user)
    return Response(status_code=204, headers=PRIVATE)


def decide(case: Case) -> Response:
    """Record a verdict on the mask that is shown, or on one of its findings."""
    try:
        wanted = VerdictRequest.model_validate_json(case.body)
    except ValidationError as error:
        raise InputError(f"this is not a verdict: {first_problem(error)}") from error
    if wanted.mask_sha256 != case.study.mask_sha256:
        raise ConflictError("the mask was corrected since you looked at it; look at the newest before deciding on it")
    signature = case.signature(wanted.reason)
    case.desk.reviews.decide(wanted.mask_sha256, wanted.decision, wanted.finding, *case.of, by=signature)
    return Response(status_code=204, headers=PRIVATE)


def keep_marks(case: Case) -> Response:
    """Keep the reader's measurements on the scan."""
    try:
        marks = MarkList.model_validate_json(case.body)
    except ValidationError as error:
        raise InputError(f"these are not measurements: {first_problem(error)}") from error
    case.desk.marks.keep(marks, case.study.opened.source_sha256, case.permit.user)
    return Response(status_code=204, headers=PRIVATE)


def _endpoint(desk: Desk, key: str, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        name = request.path_params["study"]
        try:
            permit = check(key, bearer(request), name, "correct")
            study = await run_in_threadpool(desk.opened, name)
            body = await _bounded_body(request, _label_bytes(study) + BODY_SLACK_BYTES)
            return await run_in_threadpool(lambda: answer(Case(desk, study, permit, request, body)))
        except RefusalError as refusal:
            return sentence(str(refusal), 403)
        except ConflictError as conflict:
            return sentence(str(conflict), 409)
        except MedsegError as error:
            return sentence(str(error), 422)

    return endpoint


async def _bounded_body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise InputError(f"the upload is larger than the {most} bytes that this study's mask can take")
    return bytes(body)


def _label_bytes(study: StudyOnScreen) -> int:
    return int(study.screen.array.size) * study.bytes_per_label


def _labels(case: Case) -> LabelMap:
    """The mask in a gzipped body, on the scan's own grid; unpacked no further than a mask of this scan goes."""
    expected = _label_bytes(case.study)
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = unpacker.decompress(case.body, expected + 1)
    except zlib.error as error:
        raise InputError("the mask arrived damaged: it is not gzip. Save again.") from error
    if len(content) != expected or not unpacker.eof:
        raise InputError(f"the mask arrived with another size than the {expected} bytes of this scan. Save again.")
    dtype = "<u1" if case.study.bytes_per_label == 1 else "<u2"
    labels = np.frombuffer(content, dtype=dtype).reshape(case.study.screen.array.shape)
    native = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    return mask_from_screen(native, case.mask.geometry, case.mask.schema)


def _seconds(request: Request) -> float:
    try:
        return max(0.0, min(float(request.headers.get("X-Seconds", "0")), 86_400.0))
    except ValueError:
        return 0.0
