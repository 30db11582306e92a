"""Which studies to read next: asked for apart from the worklist, for results that are new take a while to judge."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit


def reading_order_routes(door: Door) -> list[Route]:
    """The route of the column "read next"."""
    return [door.folder("reading-order", "GET", "read", order)]


def order(visit: Visit) -> Response:
    """Ids of studies, the one to be read first at the front; as `medseg review worklist` has them."""
    return JSONResponse(visit.desk.reading_order(), headers=PRIVATE)
