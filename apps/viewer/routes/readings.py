"""Two readers of one study: how far they agree, and the word of a third on whose mask stands."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.core.report import Report
from medseg.core.task import first_problem
from medseg.review.corrections import Signature
from medseg.workflows.reviewing.judge_readings import TwoReadings, adjudicate_report, readings_of


class AdjudicationRequest(BaseModel):
    """Whose mask stands, and its hash as the visitor saw it compared."""

    model_config = ConfigDict(extra="forbid")

    reader: str = Field(min_length=1, max_length=200)
    mask: str = Field(min_length=1, max_length=64)
    reason: str = Field(default="", max_length=2000)


def reading_routes(door: Door) -> list[Route]:
    """The routes of the panel of readings."""
    return [
        door.study("readings", "GET", "read", compare),
        door.study("adjudication", "POST", "correct", decide),
    ]


def compare(visit: Visit) -> Response:
    """How far every two readers of the study agree."""
    pairs = readings_of(visit.desk.reviews, visit.study.opened.entry.name, _report(visit))
    return JSONResponse([_told(pair) for pair in pairs], headers=PRIVATE)


def decide(visit: Visit) -> Response:
    """Record that the mask of one reader stands; 422 where it is not for this visitor to say, 409 where it is another
    mask by now.
    """
    try:
        wanted = AdjudicationRequest.model_validate_json(visit.body)
    except ValidationError as error:
        raise InputError(f"this says not whose mask stands: {first_problem(error)}") from error
    signature = Signature(visit.permit.user, wanted.reason)
    report = _report(visit)
    with visit.logged("verdict", f"the mask of {wanted.reader} stands"):
        adjudicate_report(visit.desk.reviews, report, wanted.reader, by=signature, seen=wanted.mask)
    return Response(status_code=204, headers=PRIVATE)


def _report(visit: Visit) -> Report:
    """The report of the study. Raises InputError where there are no readings that this visitor may see."""
    if visit.study.is_second_reading:
        raise InputError("a second reading is made without a look at the first; compare them when it is saved")
    if visit.study.opened.report is None:
        raise InputError("this scan was not segmented, so nobody has read a mask of it")
    return visit.study.opened.report


def _told(pair: TwoReadings) -> dict[str, Any]:
    return {
        "readers": [pair.first.reader, pair.second.reader],
        "dice": pair.agreement.dice,
        "mean_dice": pair.agreement.mean_dice,
        "kappa": pair.agreement.kappa,
    }
