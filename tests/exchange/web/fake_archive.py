"""An archive of one series that behaves as badly as a test asks for: refuses, stalls, cuts off, lies."""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pydicom

STUDY, SERIES = "1.2.826.99.1", "1.2.826.99.2"
BOUNDARY = "parts"

Misdeed = Callable[["Request"], bool]
"""Looks at a request, and may answer it in place of the archive; whether it did."""


@dataclass
class FakeArchive:
    """What the archive holds, and what it does instead; `asked` are the requests it saw."""

    objects: dict[str, bytes] = field(default_factory=dict)
    misdeed: Misdeed = lambda _: False
    asked: list[str] = field(default_factory=list)
    listed: list[str] | None = None
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/dicom-web"


class Request(BaseHTTPRequestHandler):
    """One request, with the archive at hand."""

    archive: FakeArchive
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.archive.asked.append(self.path)
        if self.archive.misdeed(self):
            return
        path, _, query = self.path.partition("?")
        if path.endswith("/instances"):
            self._list(query)
        elif "/instances/" in path:
            self.send_objects([self.archive.objects[path.rsplit("/", 1)[1]]])
        elif path.endswith(f"/series/{SERIES}"):
            self.send_objects(list(self.archive.objects.values()))
        else:
            self.answer(200, b"[]")

    def do_POST(self) -> None:
        self.archive.asked.append(self.path)
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.archive.misdeed(self):
            self.answer(200, b"{}")

    def answer(self, status: int, body: bytes, content_type: str = "application/dicom+json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_objects(self, objects: list[bytes]) -> None:
        self.answer(200, multipart(objects), f'multipart/related; type="application/dicom"; boundary={BOUNDARY}')

    def _list(self, query: str) -> None:
        keys = dict(part.split("=") for part in query.split("&") if part)
        uids = self.archive.listed if self.archive.listed is not None else list(self.archive.objects)
        wanted = [uid for uid in uids if keys.get("SOPInstanceUID", uid) == uid]
        page = wanted[int(keys.get("offset", 0)) :][: int(keys.get("limit", 1000))]
        self.answer(200, json.dumps([_match(uid, number) for number, uid in enumerate(page)]).encode())

    def log_message(self, *_: Any) -> None:
        pass


def multipart(objects: list[bytes]) -> bytes:
    """Objects as one body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + one + b"\r\n" for one in objects) + f"--{BOUNDARY}--".encode()


def keep(request: Request, archive: FakeArchive) -> bool:
    """Keep what was posted, as an archive does."""
    if request.command == "POST":
        part = request.body.split(b"\r\n\r\n", 1)[1]
        content = part[: part.rindex(b"\r\n--")]
        archive.objects[pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID] = content
    return False


@contextmanager
def running(archive: FakeArchive) -> Iterator[FakeArchive]:
    """The archive, answering on a free port of loopback."""
    handler = type("Handler", (Request,), {"archive": archive})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if archive.tls is not None:
        server.socket = archive.tls.wrap_socket(server.socket, server_side=True)
    archive.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()


def _match(uid: str, number: int) -> dict[str, Any]:
    return {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00080018": {"vr": "UI", "Value": [uid]},
        "00200013": {"vr": "IS", "Value": [number + 1]},
    }
