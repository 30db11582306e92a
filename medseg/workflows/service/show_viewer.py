"""The viewer as a child of the service: a process that ends with it. The body of that process."""

from __future__ import annotations

import runpy
import sys
import threading
from collections.abc import Callable

from medseg.jobs.worker import die_with_parent
from medseg.settings.model import Settings
from medseg.workflows.service.places import Places

_BEAT_S = 10.0
VIEWER = "apps.viewer"
"""By name, since the library does not know its apps."""


def show(settings: Settings, beat: Callable[[], None]) -> None:
    """Show the results of the service in the browser, on this machine, until the process is ended."""
    die_with_parent()
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(_BEAT_S):
            beat()

    threading.Thread(target=move, daemon=True).start()
    sys.argv = [VIEWER, str(Places.of(settings).work), "--port", str(settings.viewer.port), "--no-browser"]
    runpy.run_module(VIEWER, run_name="__main__", alter_sys=True)
