"""Scans that come in through the page: files one by one into a folder aside, then sorted, read, or refused."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.viewer.page_data import ROUTE_ROOT
from apps.viewer.routes.answers import PRIVATE
from apps.viewer.routes.door import Door, Visit, answered
from medseg.core.atomic import clear_disk_errors
from medseg.core.errors import InputError
from medseg.workflows.progress import Progress
from medseg.workflows.scans.take_in_scans import TakenIn, take_in_scans

MOST_UPLOAD_BYTES = 4 << 30
MOST_UPLOAD_FILES = 20_000
_ID = re.compile(r"[0-9a-f]{32}")


def upload_routes(door: Door) -> list[Route]:
    """The routes of the upload dialog."""
    return [
        door.folder("uploads", "POST", "correct", begin),
        Route(f"{ROUTE_ROOT}/uploads/{{upload}}/files", _file_endpoint(door), methods=["PUT"]),
        door.folder("uploads/{upload}/done", "POST", "correct", finish),
        door.folder("uploads/{upload}", "DELETE", "correct", drop),
    ]


def begin(visit: Visit) -> Response:
    """Make room for an upload; its id."""
    name = secrets.token_hex(16)
    folder = visit.desk.arrivals / name
    with clear_disk_errors(folder):
        folder.mkdir(parents=True)
    return JSONResponse({"upload": name}, headers=PRIVATE)


def finish(visit: Visit) -> Response:
    """Begin to take in what was sent; the id of the arrival."""
    sent = _folder(visit.desk.arrivals, visit.request)
    folder = sent.rename(sent.with_name(f"{sent.name}-whole"))  # nothing more is written into it, nor is it dropped
    name, uploads = visit.request.query_params.get("name", "upload"), visit.desk.uploads

    def work(progress: Progress) -> TakenIn:
        try:
            taken = take_in_scans(folder, uploads, name, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        visit.log("upload", f"{len(taken.scans)} scans in {taken.folder.name}")
        return taken

    return JSONResponse({"arrival": visit.desk.arriving.begin(work)}, headers=PRIVATE)


def drop(visit: Visit) -> Response:
    """Forget an upload that was begun."""
    shutil.rmtree(_folder(visit.desk.arrivals, visit.request), ignore_errors=True)
    return Response(status_code=204, headers=PRIVATE)


def _folder(arrivals: Path, request: Request) -> Path:
    name = str(request.path_params["upload"])
    folder = arrivals / name
    if not _ID.fullmatch(name) or not folder.is_dir():
        raise InputError("this upload is not known, or was ended; begin it again")
    return folder


@dataclass(slots=True)
class _Arrived:
    """How much of an upload is there, or promised."""

    files: int = 0
    size_bytes: int = 0

    def take(self, size_bytes: int) -> None:
        """Count more bytes. Raises InputError where the upload becomes larger than it may be."""
        self.size_bytes += size_bytes
        if self.size_bytes > MOST_UPLOAD_BYTES:
            raise InputError(
                f"the upload is larger than the {MOST_UPLOAD_BYTES / 2**30:.3g} GiB that it may be. "
                "Copy the study into the folder on the server instead."
            )


def _file_endpoint(door: Door) -> Callable[[Request], Awaitable[Response]]:
    arrived: dict[Path, _Arrived] = {}

    async def endpoint(request: Request) -> Response:
        async def run() -> Response:
            door.permit(request, "correct")
            folder = _folder(door.desk.arrivals, request)
            so_far = arrived.setdefault(folder, _Arrived())
            so_far.files += 1
            if so_far.files > MOST_UPLOAD_FILES:
                raise InputError(f"an upload takes at most {MOST_UPLOAD_FILES} files. Send one study at a time.")
            base = re.sub(r"[^\w.-]+", "_", request.query_params.get("name", "file")).lstrip(".")[-100:]
            await _keep(request, folder / f"{so_far.files:06}" / (base or "file"), so_far)
            return Response(status_code=204, headers=PRIVATE)

        return await answered(run)

    return endpoint


async def _keep(request: Request, path: Path, so_far: _Arrived) -> None:
    """Write a body to a file, no more than the upload may come to; what is promised too large is not read at all."""
    promised = request.headers.get("Content-Length", "")
    if promised.isdigit() and int(promised) > MOST_UPLOAD_BYTES - so_far.size_bytes:
        so_far.take(int(promised))
    with clear_disk_errors(path):
        path.parent.mkdir()
    with clear_disk_errors(path), path.open("wb") as file:
        async for part in request.stream():
            so_far.take(len(part))
            await run_in_threadpool(file.write, part)
