"""The log of who did what, for those who may see it."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit


def log_routes(door: Door) -> list[Route]:
    """The route of the log page."""
    return [door.folder("log", "GET", "administer", newest)]


def newest(visit: Visit) -> Response:
    """The last lines of the log, the newest first."""
    lines = visit.desk.log.newest()
    told = [
        {
            "made": line.made.strftime("%Y-%m-%d %H:%M:%S"),
            "user": line.user,
            "act": line.act,
            "study": line.study,
            "detail": line.detail,
        }
        for line in lines
    ]
    return JSONResponse(told, headers=PRIVATE)
