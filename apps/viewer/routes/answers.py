"""What all of the viewer's routes share: sentences, headers, and where the permit of a request is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
VOXELS = "application/octet-stream"


def sentence(text: str, status: int) -> Response:
    """A refusal or an error as plain text, which the page shows."""
    return PlainTextResponse(text, status_code=status, headers=PRIVATE)


def bearer(request: Request) -> str:
    """The permit in the Authorization header, empty where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""
