"""Ask an archive by hand: does it answer, what has it of a patient, and let us have a series of it, such as a prior.

By DICOMweb a series is fetched into a folder. By DIMSE the archive is told to send it (C-MOVE) to our own listener,
where the service treats it as any series that is sent.
"""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

from medseg.core.atomic import require_writable
from medseg.core.errors import InputError
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.finder import find_studies, move_series, series_of_study
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.review.audit import AuditLog
from medseg.settings.model import DimseDestination, Settings
from medseg.workflows.scans.fetch_scans import FoundStudies, FoundStudy, find_in_archive
from medseg.workflows.service.ledger import short_name
from medseg.workflows.service.places import Places

WATCHED = "archive"
"""What the archive that is watched is called."""

Node = WebArchiveConfig | DimseDestination
"""An archive of medseg.toml: [archive], or one of [[destinations]]."""


def nodes(settings: Settings) -> dict[str, Node]:
    """Every archive that the settings name, by its name, the one that is watched first."""
    watched: dict[str, Node] = {} if settings.archive is None else {WATCHED: settings.archive}
    return watched | {one.name: one for one in settings.destinations}


def node_of(settings: Settings, name: str) -> Node:
    """The archive of that name. Raises InputError where the settings have none."""
    known = nodes(settings)
    if name not in known:
        raise InputError(f"medseg.toml names no archive {name}; it names: {', '.join(known) or 'none'}")
    return known[name]


def ask(node: Node, settings: Settings) -> None:
    """Ask an archive whether it answers: QIDO for one study, or C-ECHO. Raises UnreachableError where it does not."""
    if isinstance(node, DimseDestination):
        echo(node, settings.dimse)
        return
    with WebArchive(node) as web:
        next(web.studies(most=1), None)


def find(node: Node, settings: Settings, patient_id: str, date: str = "") -> FoundStudies:
    """The studies of a patient with their series, the newest first, by QIDO or C-FIND; of one day where one is given.

    Raises InputError where the patient's number is empty or would match others too, UnreachableError where the archive
    does not answer.
    """
    if isinstance(node, DimseDestination):
        studies = find_studies(node, patient_id, settings.dimse, date=date)
        series = (series_of_study(node, one.study_uid, settings.dimse) for one in studies)
        found = FoundStudies(tuple(map(FoundStudy, studies, series)))
    else:
        found = find_in_archive(node, patient_id, date)
    newest_first = sorted(found.studies, key=lambda one: (one.study.date, one.study.time), reverse=True)
    return replace(found, studies=tuple(newest_first))


def fetch(node: Node, settings: Settings, study_uid: str, series_uid: str, folder: Path) -> int:
    """How many images of a series lie in a new folder, fetched by DICOMweb, whole or not at all.

    Raises InputError where the archive speaks DIMSE only or has no such series, UnreachableError where it fails.
    """
    if isinstance(node, DimseDestination):
        raise InputError(
            f"{node.name} gives images by DIMSE, which sends them to a listener. Use `medseg archive move`, or name an "
            "archive that speaks DICOMweb."
        )
    if folder.exists():
        raise InputError(f"{folder} is there already. Name a new folder.")
    require_writable(folder)
    with WebArchive(node) as web:
        count = len(web.fetch_series(study_uid, series_uid, folder))
    _note(settings, study_uid, f"{count} images by hand")
    return count


def move(node: Node, settings: Settings, study_uid: str, series_uid: str) -> int:
    """How many images the archive sent to our listener (C-MOVE), where the running service treats them.

    Raises InputError where the archive speaks DICOMweb or there is no [listener], UnreachableError where it sent less
    than all of the series or nothing.
    """
    if not isinstance(node, DimseDestination):
        raise InputError("this archive speaks DICOMweb. Use `medseg archive fetch`.")
    if settings.listener is None:
        raise InputError("there is no [listener] in medseg.toml that the archive could send to. Add one.")
    count = move_series(node, study_uid, series_uid, settings.listener.ae_title, settings.dimse)
    if not count:
        raise InputError(f"{node.name} has no images of that series. Ask it with `medseg archive find`.")
    _note(settings, study_uid, f"{count} images to the listener, by hand")
    return count


def _note(settings: Settings, study_uid: str, what: str) -> None:
    """A line in the audit log of the service, where one has run here."""
    places = Places.of(settings)
    if places.state.is_dir():
        AuditLog(places.state).add(getpass.getuser(), "fetch", short_name(study_uid), what)
