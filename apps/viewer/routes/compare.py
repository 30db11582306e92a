"""A study beside a prior one: what became of each lesion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.workflows.results.compare_studies import LesionChange, compare_studies


def compare_routes(door: Door) -> list[Route]:
    """The route of the change table."""
    return [door.study("changes", "GET", "read", changes)]


def changes(visit: Visit) -> Response:
    """What became of each lesion since the study `prior`, by both masks as they are now."""
    if visit.study.is_second_reading:
        raise InputError("a second reading is made without a look at other masks; compare when it is saved")
    prior = visit.desk.open(visit.request.query_params.get("prior", ""))
    compared = compare_studies(visit.study.opened, prior.opened)
    told = {"moved_mm": compared.moved_mm, "changes": [_told(change) for change in compared.changes]}
    return JSONResponse(told, headers=PRIVATE)


def _told(change: LesionChange) -> dict[str, Any]:
    doubling = change.doubling_time_days
    return {
        **asdict(change),
        "volume_change_percent": change.volume_change_percent,
        "doubling_time_days": doubling if doubling is not None and abs(doubling) < 1e6 else None,
    }
