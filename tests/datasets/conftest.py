"""Small data sets on disk whose every voxel is known, and a server on this machine whose every fault is chosen."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from medseg.core.geometry import Geometry, Spacing
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume

WriteImage = Callable[..., Path]

TASK = """
name = "two_labels"
title = "Two labels on CT"

[[channels]]
name = "CT"
modality = "CT"

[[labels]]
index = 1
name = "liver"
colour = [1, 2, 3]
code = { value = "10200004", scheme = "SCT", meaning = "Liver" }
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }

[[labels]]
index = 2
name = "tumour"
kind = "lesion"
colour = [4, 5, 6]
code = { value = "108369006", scheme = "SCT", meaning = "Neoplasm" }
category = { value = "49755003", scheme = "SCT", meaning = "Morphologically Abnormal Structure" }
"""


def _write(
    path: Path, array: ArrayLike | None = None, spacing_mm: Spacing = (1.0, 2.0, 2.5), shift_mm: float = 0.0
) -> Path:
    """Write an image; without voxels, each file gets other ones, made from its name."""
    voxels: NDArray[Any] = (
        np.random.default_rng(list(path.name.encode())).normal(size=(4, 5, 6)).astype(np.float32)
        if array is None
        else np.asarray(array)
    )
    i, j, k = voxels.shape
    geometry = Geometry.from_spacing((i, j, k), spacing_mm, (shift_mm, 0.0, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(voxels, geometry), path)
    return path


@pytest.fixture
def write_image() -> WriteImage:
    return _write


def mask_of(*values: int) -> NDArray[np.uint8]:
    """A mask of 4 x 5 x 6 voxels that holds each value once, background elsewhere."""
    array = np.zeros((4, 5, 6), dtype=np.uint8)
    array.reshape(-1)[: len(values)] = values
    return array


@pytest.fixture
def write_mask() -> WriteImage:
    def write(path: Path, *values: int, **where: Any) -> Path:
        return _write(path, mask_of(*values), **where)

    return write


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    path = tmp_path / "task.toml"
    path.write_text(TASK, encoding="utf-8")
    return path


class LoopbackServer:
    """A server of files on this machine whose every fault can be chosen.

    `cut_after` holds, for each request in turn, after how many bytes the connection is cut (None: not at all);
    `statuses` the answers that come before the files. `asked` records the headers of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"1"'
        self.last_modified: str | None = None
        self.supports_range = True
        self.says_length = True
        self.first_byte_shift = 0
        self.cut_after: list[int | None] = []
        self.statuses: list[int] = []
        self.asked: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing: the record of requests is in `asked`."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        request.close_connection = True
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        content = self.files.get(unquote(request.path).lstrip("/"))
        if content is None:
            request.send_error(404)
            return
        start = self._start(request)
        if start is not None and start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        self._send(request, content, start)

    def _start(self, request: BaseHTTPRequestHandler) -> int | None:
        """The byte to continue at, None for the whole file: as RFC 9110 has it, a stale If-Range gets the whole."""
        asked = request.headers.get("Range")
        version = request.headers.get("If-Range")
        if not self.supports_range or asked is None or version not in (None, self.etag, self.last_modified):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def _send(self, request: BaseHTTPRequestHandler, content: bytes, start: int | None) -> None:
        rest = content[start or 0 :]
        request.send_response(200 if start is None else 206)
        if start is not None:
            first = start + self.first_byte_shift
            request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.says_length:
            request.send_header("Content-Length", str(len(rest)))
        for name, value in (("ETag", self.etag), ("Last-Modified", self.last_modified)):
            if value:
                request.send_header(name, value)
        request.end_headers()
        cut = self.cut_after.pop(0) if self.cut_after else None
        request.wfile.write(rest if cut is None else rest[:cut])
        request.wfile.flush()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    running = LoopbackServer()
    yield running
    running.stop()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as ready:
        yield ready
