"""The viewer's own routes over one desk: voxels, corrections, work, uploads, exports."""

from __future__ import annotations

from starlette.routing import Route

from apps.viewer.desk import Desk
from apps.viewer.routes.archives import archive_routes
from apps.viewer.routes.arrivals import arrival_routes
from apps.viewer.routes.compare import compare_routes
from apps.viewer.routes.door import Door
from apps.viewer.routes.exports import export_routes
from apps.viewer.routes.log import log_routes
from apps.viewer.routes.reading_order import reading_order_routes
from apps.viewer.routes.readings import reading_routes
from apps.viewer.routes.review import review_routes
from apps.viewer.routes.study import study_routes
from apps.viewer.routes.uploads import upload_routes
from apps.viewer.routes.vessels import vessel_routes
from apps.viewer.routes.work import work_routes


def data_routes(desk: Desk, key: str) -> list[Route]:
    """All of them, with permits signed by `key`."""
    door = Door(desk, key)
    families = (
        study_routes,
        review_routes,
        reading_routes,
        work_routes,
        upload_routes,
        arrival_routes,
        export_routes,
        log_routes,
        compare_routes,
        reading_order_routes,
        archive_routes,
        vessel_routes,
    )
    return [route for family in families for route in family(door)]
