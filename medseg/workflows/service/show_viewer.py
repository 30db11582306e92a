"""The viewer as a child of the service: a process that ends with it. The body of that process, and its check."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from medseg.core.errors import InputError, MedsegError
from medseg.core.extras import VIEWER_PACKAGES, require_extra
from medseg.jobs.worker import die_with_parent
from medseg.settings.model import Settings
from medseg.workflows.service.places import Places
from medseg.workflows.service.write_log import Event, log_to, service_log

_BEAT_S = 10.0
_LAUNCH = "apps.viewer.launch"
"""By name, since the library does not know its apps."""

_USER_ERROR = 2


def show(settings: Settings, beat: Callable[[], None]) -> None:
    """Show the results of the service in the browser until the process is ended; why it cannot is logged."""
    die_with_parent()
    log_to(settings.log)
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(_BEAT_S):
            beat()

    threading.Thread(target=move, daemon=True).start()
    viewer = settings.viewer
    try:
        launch = _launch()
        sys.argv = [str(launch.__file__)]  # what Streamlit takes for the program that began it
        given = {"models": viewer.models, "access": viewer.access, "settings": settings}
        launch.launch_viewer(Places.of(settings).work, viewer.port, viewer.address, may_open_browser=False, **given)
    except MedsegError as error:
        service_log(Event.DIED, logging.ERROR, name="viewer", reason=str(error))
        raise SystemExit(_USER_ERROR) from error


def require_viewer(settings: Settings) -> None:
    """Raise InputError where the viewer could not be begun with these settings, saying what it lacks."""
    viewer = settings.viewer
    _launch().access_at(viewer.address, viewer.access)
    if viewer.models is not None and not viewer.models.is_dir():
        raise InputError(f"viewer.models: there is no folder {viewer.models}. Name one below which models lie.")


def _launch() -> Any:
    require_extra("the viewer", "viewer", VIEWER_PACKAGES)
    return import_module(_LAUNCH)
