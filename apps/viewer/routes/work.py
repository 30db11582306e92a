"""Segmentation on request: which models there are, what is asked for, how far it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.core.task import first_problem


class SegmentRequest(BaseModel):
    """What the page sends to have a study segmented."""

    model_config = ConfigDict(extra="forbid")

    study: str
    model: str


def work_routes(door: Door) -> list[Route]:
    """The routes of the run dialog and the jobs page."""
    return [
        door.folder("models", "GET", "read", models),
        door.folder("jobs", "GET", "read", jobs),
        door.folder("jobs/{job}/cancel", "POST", "correct", cancel),
        door.folder("jobs/{job}/retry", "POST", "correct", retry),
        door.folder("jobs", "POST", "correct", segment),
    ]


def models(visit: Visit) -> Response:
    """Every model that can be run here, with what is known of it."""
    from medseg.workflows.models.list_models import list_models

    found: list[dict[str, Any]] = []
    for entry in list_models(visit.desk.work.models):
        told = {**asdict(entry), "scores": [score.model_dump() for score in entry.scores]}
        told |= {"path": "", "created": entry.created.strftime("%Y-%m-%d %H:%M") if entry.created else ""}
        found.append(told)
    return JSONResponse(found, headers=PRIVATE)


def jobs(visit: Visit) -> Response:
    """Every request, the newest first."""
    return JSONResponse(visit.desk.work.told(), headers=PRIVATE)


def segment(visit: Visit) -> Response:
    """Queue a study's scan for a model; the id of the job."""
    try:
        wanted = SegmentRequest.model_validate_json(visit.body)
    except ValidationError as error:
        raise InputError(f"this names no model: {first_problem(error)}") from error
    entry = visit.desk.entry(wanted.study)
    job = visit.desk.work.segment(entry, wanted.model)
    visit.desk.log.add(visit.permit.user, "run", entry.name, wanted.model)
    return JSONResponse({"job": job}, headers=PRIVATE)


def cancel(visit: Visit) -> Response:
    """Take a job back, also one that runs."""
    job = visit.request.path_params["job"]
    if not visit.desk.work.requests.withdraw(job):
        raise InputError("this job is over already, or is not there; it cannot be taken back")
    visit.log("cancel", job[:12])
    return Response(status_code=204, headers=PRIVATE)


def retry(visit: Visit) -> Response:
    """Let a job that failed or was taken back be done after all."""
    job = visit.request.path_params["job"]
    if not visit.desk.work.requests.retry(job):
        raise InputError("only a job that failed or was taken back can be tried again")
    visit.desk.work.wake()
    visit.log("retry", job[:12])
    return Response(status_code=204, headers=PRIVATE)
