"""HealthServer: /health, /live and /metrics over HTTP, for whoever keeps the service running and watches it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from medseg.core.errors import InputError
from medseg.settings.model import Metrics

HANGS_S = 60.0
"""A main loop that has not moved for so long hangs."""

_SILENCE_S = 5.0


@dataclass(slots=True)
class Health:
    """How the service is: its main loop sets all problems at once, whoever asks reads them. Empty problems are none."""

    problems: dict[str, str] = field(default_factory=lambda: {"start": "it is being started"})
    beat_s: float = field(default_factory=time.monotonic)

    @property
    def is_alive(self) -> bool:
        """Whether the main loop moves."""
        return time.monotonic() - self.beat_s < HANGS_S

    def told(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and what is not."""
        problems = {name: problem for name, problem in self.problems.items() if problem}
        if not self.is_alive:
            problems["service"] = f"its main loop has not moved for {HANGS_S:g} s"
        return not problems, {"status": "failing" if problems else "ok", "problems": problems}


class HealthServer:
    """Answers in threads of its own. Raises InputError where the address cannot be had."""

    def __init__(self, settings: Metrics, health: Health, registry: CollectorRegistry) -> None:
        handler = type("_Handler", (_Answers,), {"health": health, "registry": registry})
        try:
            self._server = ThreadingHTTPServer((settings.address, settings.port), handler)
        except OSError as error:
            raise InputError(
                f"health and metrics cannot be answered at {settings.address}:{settings.port}: {error.strerror}. "
                "Choose another metrics.port."
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Answers(BaseHTTPRequestHandler):
    """One connection; who says nothing is left alone soon."""

    health: Health
    registry: CollectorRegistry
    timeout = _SILENCE_S

    def do_GET(self) -> None:
        if self.path == "/health":
            is_well, told = self.health.told()
            self._answer(200 if is_well else 503, json.dumps(told).encode(), "application/json")
        elif self.path == "/live":
            is_alive = self.health.is_alive
            self._answer(200 if is_alive else 503, b"alive\n" if is_alive else b"hangs\n", "text/plain")
        elif self.path == "/metrics":
            self._answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"there are /health, /live and /metrics\n", "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Who asks for health is not logged."""
