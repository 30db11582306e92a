"""Archives that speak DICOMweb: studies looked up and brought in, results sent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.core.task import first_problem
from medseg.workflows.progress import Progress
from medseg.workflows.results.send_result import send_result, sendable_formats
from medseg.workflows.scans.fetch_scans import MOST_STUDIES, fetch_from_archive, find_in_archive
from medseg.workflows.scans.take_in_scans import TakenIn

RequestT = TypeVar("RequestT", bound=BaseModel)
Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]


class FindRequest(BaseModel):
    """Which studies are looked for."""

    model_config = ConfigDict(extra="forbid")

    archive: str
    patient_id: str = Field(max_length=64)
    date: str = Field(default="", pattern=r"^(\d{8})?$")


class FetchRequest(BaseModel):
    """Which series is brought in."""

    model_config = ConfigDict(extra="forbid")

    archive: str
    study_uid: Uid
    series_uid: Uid
    name: str = Field(default="series", max_length=200)


class SendRequest(BaseModel):
    """What is sent of a study, and where."""

    model_config = ConfigDict(extra="forbid")

    archive: str
    formats: tuple[str, ...] = Field(min_length=1)


def archive_routes(door: Door) -> list[Route]:
    """The routes of the fetch dialog and of sending. What leaves, or comes in, is a reviewer's to decide."""
    return [
        door.folder("archives", "GET", "read", names),
        door.folder("archives/find", "POST", "correct", find),
        door.folder("archives/fetch", "POST", "correct", fetch),
        door.study("send", "POST", "correct", send),
    ]


def names(visit: Visit) -> Response:
    """The archives by name, and the formats that can be sent to them."""
    told = {"archives": sorted(visit.desk.archives), "formats": sendable_formats()}
    return JSONResponse(told, headers=PRIVATE)


def find(visit: Visit) -> Response:
    """The studies of a patient with their series, and how many are listed at most where there are more."""
    wanted = _asked(FindRequest, visit)
    found = find_in_archive(visit.desk.archive(wanted.archive), wanted.patient_id, wanted.date)
    studies = [{**asdict(one.study), "series": [asdict(series) for series in one.series]} for one in found.studies]
    told = {"studies": studies, "cut_at": MOST_STUDIES if found.is_cut else None}
    visit.log("fetch", f"looked up: {len(studies)} studies in {wanted.archive}")
    return JSONResponse(told, headers=PRIVATE)


def fetch(visit: Visit) -> Response:
    """Begin to bring a series in; the id of the arrival."""
    wanted = _asked(FetchRequest, visit)
    archive, uploads = visit.desk.archive(wanted.archive), visit.desk.uploads

    def work(progress: Progress) -> TakenIn:
        taken = fetch_from_archive(archive, wanted.study_uid, wanted.series_uid, uploads, wanted.name, progress)
        visit.log("fetch", f"{len(taken.scans)} scans from {wanted.archive} in {taken.folder.name}")
        return taken

    return JSONResponse({"arrival": visit.desk.arriving.begin(work)}, headers=PRIVATE)


def send(visit: Visit) -> Response:
    """Store the study's newest result in an archive; how many objects are new there, and how many it had."""
    wanted = _asked(SendRequest, visit)
    archive = visit.desk.archive(wanted.archive)
    entry = visit.desk.entry(visit.permit.study)
    if entry.report is None:
        raise InputError("this scan was not segmented, so there is nothing to send; segment it first")
    stored, had = send_result(entry.path, wanted.formats, archive, visit.desk.report_options(entry))
    visit.log("store", f"{', '.join(wanted.formats)} in {wanted.archive}")
    return JSONResponse({"stored": stored, "had": had}, headers=PRIVATE)


def _asked(kind: type[RequestT], visit: Visit) -> RequestT:
    try:
        return kind.model_validate_json(visit.body)
    except ValidationError as error:
        raise InputError(f"this request cannot be understood: {first_problem(error)}") from error
