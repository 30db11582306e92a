"""Uploads and fetches of the viewer, waited for until they are over."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

LIMIT_S = 90.0


def arrived(ask: Callable[[str], httpx.Response], begun: httpx.Response) -> httpx.Response:
    """What was taken in, or the refusal; `ask` gets a path, `begun` is the answer that names the arrival."""
    if begun.status_code != 200:
        return begun
    path, deadline = f"arrivals/{begun.json()['arrival']}", time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        answer = ask(path)
        if answer.status_code != 200:
            return answer
        if answer.json()["taken"] is not None:
            return httpx.Response(200, json=answer.json()["taken"])
        time.sleep(0.02)
    raise AssertionError(f"it had not arrived after {LIMIT_S} s: {answer.text}")
