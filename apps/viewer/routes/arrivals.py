"""How far a scan that comes in is, and the way to stop it."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit


def arrival_routes(door: Door) -> list[Route]:
    """The routes that uploads and fetches are followed by."""
    return [
        door.folder("arrivals/{arrival}", "GET", "correct", look),
        door.folder("arrivals/{arrival}", "DELETE", "correct", stop),
    ]


def look(visit: Visit) -> Response:
    """How far it is, and what was taken in once it is over; 422 where nothing was."""
    arrival = visit.desk.arriving.look(visit.request.path_params["arrival"])
    told = {"stage": arrival.stage, "done": arrival.done, "total": arrival.total, "taken": None}
    if arrival.taken is not None:
        taken = arrival.taken
        told["taken"] = {"folder": taken.folder.name, "scans": taken.scans, "refused": taken.refused}
    return JSONResponse(told, headers=PRIVATE)


def stop(visit: Visit) -> Response:
    """Stop it; what has arrived so far is removed."""
    visit.desk.arriving.stop(visit.request.path_params["arrival"])
    return Response(status_code=204, headers=PRIVATE)
