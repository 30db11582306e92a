"""check_settings: what of medseg.toml would not work, before the service is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from medseg.core.atomic import require_writable
from medseg.core.errors import MedsegError
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.reports.formats import WRITERS, require_formats
from medseg.jobs.cores import share_cores, usable_cores
from medseg.models.store import load_model
from medseg.settings.model import DimseDestination, Settings
from medseg.settings.routes import Route
from medseg.workflows.service.intake.ask_archive import ask, nodes
from medseg.workflows.service.show_viewer import require_viewer

_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about the settings: an error keeps something from working, a note should be known."""

    kind: Literal["error", "note"]
    where: str
    text: str


def check_settings(settings: Settings, *, asks: bool = False) -> list[Remark]:
    """What is wrong with the settings or should be known; with `asks`, archives and destinations are asked too."""
    remarks = []
    if settings.archive is None and settings.listener is None:
        remarks.append(Remark("error", "archive", "there is neither an [archive] nor a [listener] to take series from"))
    if not settings.routes:
        remarks.append(Remark("error", "routes", "there is no route, so nothing would be segmented"))
    for route in settings.routes:
        remarks += _of_route(route)
    for name, folder in (("state", settings.folders.state), ("work", settings.folders.work)):
        remarks += _tried(f"folders.{name}", partial(require_writable, folder / "any"))
    remarks += _tried("jobs", partial(share_cores, usable_cores(), settings.jobs.workers, settings.jobs.threads))
    for name, node in nodes(settings).items():
        if not isinstance(node, DimseDestination):
            remarks += _of_archive(name, node)
        if asks:
            remarks += _tried(name, partial(ask, node, settings))
    if settings.viewer.enabled:
        remarks += _of_viewer(settings)
    return remarks


def _of_route(route: Route) -> list[Remark]:
    where = f"routes.{route.name}"
    try:
        require_formats(route.formats, is_dicom=True)
        task = load_model(route.model).spec.task
    except MedsegError as error:
        return [Remark("error", where, str(error))]
    remarks = []
    modalities = [channel.modality for channel in task.channels]
    if len(modalities) != 1:
        text = f"its model takes {len(modalities)} channels; the service handles models of one"
        remarks.append(Remark("error", where, text))
    elif modalities[0] != route.match.modality:
        text = f"it matches {route.match.modality}, and its model is for {modalities[0]}"
        remarks.append(Remark("error", where, text))
    if not any(WRITERS[name].is_dicom for name in route.formats):
        remarks.append(Remark("note", where, "none of its formats is DICOM: nothing will be stored in an archive"))
    return remarks


def _of_viewer(settings: Settings) -> list[Remark]:
    remarks = _tried("viewer", partial(require_viewer, settings))
    if not settings.keeps_images:
        text = "it could open no study: retention.images is false, so that each scan goes once it was segmented"
        remarks.append(Remark("error", "viewer", text))
    return remarks


def _of_archive(name: str, archive: WebArchiveConfig) -> list[Remark]:
    remarks = _tried(name, archive.credentials)
    parts = urlsplit(archive.url)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        remarks.append(Remark("note", name, "patients' data and passwords go unencrypted: use https"))
    return remarks


def _tried(where: str, try_it: Callable[[], object]) -> list[Remark]:
    """Nothing where it can be done; else why it cannot."""
    try:
        try_it()
    except MedsegError as error:
        return [Remark("error", where, str(error))]
    return []
