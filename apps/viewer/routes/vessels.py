"""Pictures along and across a vessel: little-endian int16 values, with their shape and step in headers."""

from __future__ import annotations

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.viewer.routes.answers import PRIVATE, VOXELS
from apps.viewer.routes.door import Door, Visit
from medseg.core.errors import InputError
from medseg.workflows.results.open_vessels import (
    VesselPicture,
    curved_picture,
    section_picture,
    straightened_picture,
)

SCALE = 32000
"""Values are sent as whole numbers; those that span less than this, such as probabilities, times a scale."""


def vessel_routes(door: Door) -> list[Route]:
    """The routes of the vessel page."""
    return [
        door.study("straightened", "GET", "read", along),
        door.study("curved", "GET", "read", bent),
        door.study("section", "GET", "read", across),
    ]


def along(visit: Visit) -> Response:
    """The straightened picture of `branch`, turned by `angle` degrees."""
    branch, angle = int(_number(visit.request, "branch")), _number(visit.request, "angle")
    return _picture(straightened_picture(visit.desk.vessels(visit.permit.study), branch, angle))


def bent(visit: Visit) -> Response:
    """The curved picture of `branch`, turned by `angle` degrees."""
    branch, angle = int(_number(visit.request, "branch")), _number(visit.request, "angle")
    return _picture(curved_picture(visit.desk.vessels(visit.permit.study), branch, angle))


def across(visit: Visit) -> Response:
    """The section across `branch` at `along` millimetres from its start."""
    branch, along_mm = int(_number(visit.request, "branch")), _number(visit.request, "along")
    return _picture(section_picture(visit.desk.vessels(visit.permit.study), branch, along_mm))


def _number(request: Request, name: str) -> float:
    text = request.query_params.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{name} is a number; got {text!r}")
    return value


def _picture(made: VesselPicture) -> Response:
    values = np.nan_to_num(made.values, nan=0.0)
    lowest, highest = float(values.min()), float(values.max())
    scale = 1.0 if max(abs(lowest), abs(highest)) > 100 else SCALE / max(abs(lowest), abs(highest), 1.0)
    stored = np.clip(np.rint(values * scale), -32768, 32767).astype("<i2")
    headers = {
        **PRIVATE,
        "Content-Encoding": "identity",
        "X-Rows": str(stored.shape[0]),
        "X-Columns": str(stored.shape[1]),
        "X-Step-Mm": f"{made.step_mm:.6g}",
        "X-Scale": f"{scale:.9g}",
    }
    return Response(stored.tobytes(), media_type=VOXELS, headers=headers)
