"""How the service stands, and what a person can do about it: status, retry, quarantine."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from medseg.core.errors import InputError
from medseg.exchange.dicom.identifiers import identifying_words, without_identifiers
from medseg.exchange.dicom.network.dimse.receiving.received import ReceivedSeries
from medseg.jobs.job import JobRecord, JobState
from medseg.review.audit import Act, AuditLog
from medseg.settings.model import Settings
from medseg.workflows.service.intake.receive_series import received_folder
from medseg.workflows.service.intake.watch_archive import ARCHIVE
from medseg.workflows.service.ledger import Ledger, NotedSeries
from medseg.workflows.service.places import SHORT, Places

_HEALTH_S = 3.0


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One series on one route: its name in logs, how it stands, why, and, for those who may know, its UIDs."""

    name: str
    state: str
    route: str
    reason: str
    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How many jobs are in each state, what is not well, and the series behind it.

    `health` is what the running service says, empty where it is well; None where none answers. `to_mend` is what keeps
    an archive or a destination from being used until a person mends it, such as a password.
    """

    counts: dict[JobState, int]
    health: str | None
    archive: str
    to_mend: tuple[str, ...]
    rows: tuple[StatusRow, ...]


def read_status(settings: Settings) -> ServiceStatus:
    """How the service stands. Raises InputError where none has run on these folders."""
    places = _places(settings)
    ledger = Ledger(places.ledger_file)
    with places.queue() as queue:
        rows = [_row_of_job(record) for record in queue.records()]
        counts = queue.counts()
    rows += _held_rows(settings, ledger)
    rows += [_row_of_series(one) for one in ledger.series("passed over")]
    note = ledger.notes().get(ARCHIVE)
    archive = "it was not asked yet" if note is None else note.text or "it answers"
    archives = [*(["archive"] if settings.archive else []), *(one.name for one in settings.destinations)]
    return ServiceStatus(
        counts=counts,
        health=_health(places),
        archive=archive if settings.archive else "none is watched",
        to_mend=ledger.to_mend(archives),
        rows=tuple(rows),
    )


def quarantined(settings: Settings) -> tuple[StatusRow, ...]:
    """Jobs that failed and series that are held. Raises InputError where no service has run on these folders."""
    places = _places(settings)
    with places.queue() as queue:
        rows = [_row_of_job(record) for record in queue.records("quarantined")]
    return (*rows, *_held_rows(settings, Ledger(places.ledger_file)))


def retry(settings: Settings, name: str | None = None) -> int:
    """Try failed jobs again, all of them or those whose name begins so; how many there were."""
    places = _places(settings)
    with places.queue() as queue:
        chosen = [one.job.id for one in queue.records("quarantined", "cancelled") if one.job.id.startswith(name or "")]
        count = sum(queue.retry(job_id) for job_id in chosen)
    _audit(places, "retry", [job_id[:SHORT] for job_id in chosen])
    return count


def release(settings: Settings, name: str | None = None) -> int:
    """Let what is held be processed as it is, and failed jobs be tried again, all or those of the name; how many."""
    places = _places(settings)
    ledger = Ledger(places.ledger_file)
    held = _held_rows(settings, ledger)
    count = retry(settings, name) + ledger.release(name)
    if settings.listener is not None:
        received = received_folder(settings.listener, settings)
        keys = {one.key for one in received.incomplete() if name in (None, one.key[:SHORT])}
        count += sum(received.release(key) for key in keys)
    _audit(places, "release", [row.name for row in held if name in (None, row.name)])
    return count


def _places(settings: Settings) -> Places:
    places = Places.of(settings)
    if not places.queue_file.is_file():
        raise InputError(
            f"no service has run on {places.state} yet. Start one with medseg serve, or name its --config."
        )
    return places


def _held_rows(settings: Settings, ledger: Ledger) -> list[StatusRow]:
    rows = [_row_of_series(one) for one in ledger.series("held")]
    if settings.listener is not None:
        rows += [_row_of_received(one) for one in received_folder(settings.listener, settings).incomplete()]
    return rows


def _row_of_job(record: JobRecord) -> StatusRow:
    arguments = record.job.arguments
    study, series, route = (str(arguments.get(name, "")) for name in ("study", "series", "route"))
    return StatusRow(record.job.id[:SHORT], record.state, route, record.reason or "", study, series)


def _row_of_series(one: NotedSeries) -> StatusRow:
    return StatusRow(one.name, one.standing, one.route, one.reason, one.study_uid, one.series_uid)


def _row_of_received(one: ReceivedSeries) -> StatusRow:
    reason = without_identifiers(one.reason, identifying_words(one.folder.glob("*.dcm")))
    return StatusRow(one.key[:SHORT], "held", "", reason, one.study_uid, one.series_uid)


def _health(places: Places) -> str | None:
    """What the running service says of itself: empty where it is well, None where none answers."""
    try:
        url = json.loads(places.running_file.read_text(encoding="utf-8"))["health"]
        told = httpx.get(url, timeout=_HEALTH_S, trust_env=False).json()
        return "; ".join(f"{name}: {problem}" for name, problem in told["problems"].items())
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        return None


def _audit(places: Places, act: Act, names: Iterable[str]) -> None:
    log = AuditLog(places.state)
    for name in names:
        log.add(getpass.getuser(), act, name)
