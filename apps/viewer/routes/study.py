"""Voxels of a study out to the browser, and the component's own files."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from apps.viewer.assets import MODULES, asset_version
from apps.viewer.page_data import ROUTE_ROOT
from apps.viewer.readings_data import READING
from apps.viewer.routes.answers import PRIVATE, VOXELS, sentence
from apps.viewer.routes.door import Door, Visit
from apps.viewer.study_on_screen import uncertainty_on_screen

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
    """The newest mask: its labels (k, j, i) in display order, one or two little-endian bytes each, gzipped.

    To lay two over each other, `of` asks for another one: `model` for that which the model made, `reading:` and the
    hash of a reader's mask for that, the id of another result on the same scan for that one's newest.
    """
    study = visit.study
    if study.mask_gzip is None:
        return sentence("this study has no mask that can be shown", 404)
    of = visit.request.query_params.get("of")
    if of is None:
        return _gzipped(study.mask_gzip, {"X-Mask-Sha256": study.mask_sha256 or ""})
    if study.is_second_reading:
        return sentence("a second reading is made without a look at other masks", 404)
    if of == "model":
        return _gzipped(gzip.compress(study.model_labels().tobytes(), 1))
    if of.startswith(READING):
        return _gzipped(gzip.compress(visit.desk.reading_labels(study, of.removeprefix(READING)).tobytes(), 1))
    return _mask_of_other_result(visit, of)


def _mask_of_other_result(visit: Visit, of: str) -> Response:
    if of not in [entry.id for entry in visit.desk.others_of(visit.study)]:
        return sentence("there is no such other mask of this scan", 404)
    other = visit.desk.open(of)
    if other.mask_gzip is None:
        return sentence("the other result has no mask that can be shown", 404)
    return _gzipped(other.mask_gzip)


def _gzipped(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, media_type=VOXELS, headers={**PRIVATE, "Content-Encoding": "gzip", **(headers or {})})


def unsure(visit: Visit) -> Response:
    """How unsure the model was of each voxel, a byte each (k, j, i) in display order, gzipped."""
    maps = visit.desk.probabilities_of(visit.study.opened.entry)
    return _gzipped(gzip.compress(uncertainty_on_screen(visit.study, maps).tobytes(), 1))
