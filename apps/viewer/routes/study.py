"""Voxels of a study out to the browser, and the component's own files."""

from __future__ import annotations

import gzip
import sys

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.viewer.assets import MODULES, asset_version
from apps.viewer.desk import uncertainty_on_screen
from apps.viewer.page_data import ROUTE_ROOT
from apps.viewer.routes.answers import PRIVATE, VOXELS, sentence
from apps.viewer.routes.door import Door, Visit

_ASSET_TYPES = {".js": "text/javascript", ".css": "text/css"}


def study_routes(door: Door) -> list[Route]:
    """The routes that a picture is made from."""
    return [
        Route(f"{ROUTE_ROOT}/assets/{{version}}/{{name:path}}", asset, methods=["GET"]),
        door.study("scan", "GET", "read", scan_part),
        door.study("mask", "GET", "read", mask),
        door.study("uncertainty", "GET", "read", unsure),
    ]


def asset(request: Request) -> Response:
    """A module or style sheet of the component; free to all, for it says nothing about anyone."""
    file = (MODULES / request.path_params["name"]).resolve()
    if file.suffix not in _ASSET_TYPES or not file.is_relative_to(MODULES) or not file.is_file():
        return sentence("there is no such file", 404)
    is_current = request.path_params["version"] == asset_version()
    cache = "public, max-age=31536000, immutable" if is_current else "no-store"
    headers = {"Cache-Control": cache, "X-Content-Type-Options": "nosniff"}
    return Response(file.read_bytes(), media_type=_ASSET_TYPES[file.suffix], headers=headers)


def scan_part(visit: Visit) -> Response:
    """Axial planes `from` up to, not including, `to`: little-endian int16 (k, j, i) in display order."""
    request, study = visit.request, visit.study
    planes = study.screen.array.shape[0]
    try:
        first, end = int(request.query_params.get("from", "0")), int(request.query_params.get("to", str(planes)))
    except ValueError:
        return sentence("from and to are whole numbers", 400)
    if not 0 <= first < end <= planes:
        return sentence(f"the scan has slices 0 to {planes - 1}; asked for {first} up to {end}", 400)
    part = study.screen.array[first:end]
    body = (part if sys.byteorder == "little" else part.byteswap()).tobytes()
    # Named, so that the server does not spend its time compressing what a local reader takes faster as it is.
    return Response(body, media_type=VOXELS, headers={**PRIVATE, "Content-Encoding": "identity"})


def mask(visit: Visit) -> Response:
    """The labels (k, j, i) in display order, one or two little-endian bytes each, gzipped.

    The newest mask; to lay two over each other, with `of=model` the one that the model made, with `of` the id of
    another result on the same scan that one's newest.
    """
    request, study = visit.request, visit.study
    if study.mask_gzip is None:
        return sentence("this study has no mask that can be shown", 404)
    of = request.query_params.get("of")
    if of == "model":
        headers = {**PRIVATE, "Content-Encoding": "gzip"}
        return Response(gzip.compress(study.model_labels().tobytes(), 1), media_type=VOXELS, headers=headers)
    if of is not None:
        if of not in [entry.id for entry in visit.desk.others_of(study)]:
            return sentence("there is no such other mask of this scan", 404)
        study = visit.desk.open(of)
        if study.mask_gzip is None:
            return sentence("the other result has no mask that can be shown", 404)
    headers = {**PRIVATE, "Content-Encoding": "gzip", "X-Mask-Sha256": study.mask_sha256 or ""}
    return Response(study.mask_gzip, media_type=VOXELS, headers=headers)


def unsure(visit: Visit) -> Response:
    """How unsure the model was of each voxel, a byte each (k, j, i) in display order, gzipped."""
    maps = visit.desk.probabilities_of(visit.study.opened.entry)
    content = gzip.compress(uncertainty_on_screen(visit.study, maps).tobytes(), 1)
    return Response(content, media_type=VOXELS, headers={**PRIVATE, "Content-Encoding": "gzip"})
