"""Watcher: asks the archive for studies, and queues what the routes are for. The body of a process of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from medseg.core.errors import InputError, MedsegError, NoEntryError, UnreachableError
from medseg.exchange.dicom.identifiers import without_identifiers
from medseg.exchange.dicom.network.web.answers import ArchivedStudy
from medseg.exchange.dicom.network.web.archive import StudyFilter, WebArchive
from medseg.jobs.queue import Queue
from medseg.jobs.worker import die_with_parent
from medseg.settings.model import Archive, Settings
from medseg.workflows.service.intake.carry_out_plan import carry_out
from medseg.workflows.service.intake.plan_study import plan_study
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places
from medseg.workflows.service.write_log import Event, log_to, service_log

ARCHIVE = "archive"
"""The note in the ledger of how the archive is."""


@dataclass(slots=True)
class Watcher:
    """Looks at the archive once and again. Belongs to one thread."""

    settings: Settings
    config: Archive
    ledger: Ledger
    queue: Queue
    beat: Callable[[], None] = lambda: None
    """Called at each study, to show that the watcher does not hang."""

    def look(self, archive: WebArchive) -> int:
        """Ask for studies once, and queue what is new and settled; how many jobs were new.

        Raises UnreachableError or InputError where the archive cannot be asked; one study's trouble is noted, and the
        others go on.
        """
        new = 0
        for study in archive.studies(StudyFilter(first_date=self._first_date())):
            self.beat()
            try:
                new += self._consider(archive, study)
            except UnreachableError:
                raise
            except InputError as error:
                reason = without_identifiers(str(error))
                self.ledger.note_series(study.study_uid, study.study_uid, "", "held", reason)
        return new

    def _consider(self, archive: WebArchive, study: ArchivedStudy) -> int:
        signature = _signature(archive, study)
        unchanged_s, is_settled = self.ledger.seen(study.study_uid, signature)
        if is_settled or unchanged_s < self.config.settle_s:
            return 0
        plan = plan_study(archive, study, self.settings.routes, self.config, self.ledger)
        if plan is None:
            return 0
        new = carry_out(plan, study.study_uid, self.ledger, self.queue)
        self.ledger.settle(study.study_uid, signature)
        return new

    def _first_date(self) -> str:
        """The first day that is asked for; in the archive's part of the world it may still be the day before."""
        days = self.config.look_back_days
        return (datetime.now(UTC) - timedelta(days=days + 1)).strftime("%Y%m%d") if days else ""


def watch(settings: Settings, beat: Callable[[], None]) -> None:
    """Look at the archive every `poll_s` until SIGTERM; `beat` is called now and then. The body of the process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    log_to(settings.log)
    places = Places.of(settings)
    ledger = Ledger(places.ledger_file)
    if settings.archive is None:
        return
    with places.queue() as queue:
        watcher = Watcher(settings, settings.archive, ledger, queue, beat)
        was = ""
        while not stop.is_set():
            beat()
            told = _looked(watcher, settings.archive)
            if told != was:
                service_log(Event.ARCHIVE, reason=told or "it answers")
                was = told
            stop.wait(settings.archive.poll_s)


def _looked(watcher: Watcher, config: Archive) -> str:
    """Look once; why that failed, empty where it did not. What time alone does not mend is noted as such."""
    told, to_mend = "", ""
    try:
        with WebArchive(config) as archive:
            watcher.look(archive)
    except MedsegError as error:
        told = without_identifiers(str(error))
        may_pass = isinstance(error, UnreachableError) and not isinstance(error, NoEntryError)
        to_mend = "" if may_pass else told
    watcher.ledger.note(ARCHIVE, told)
    watcher.ledger.note_to_mend(ARCHIVE, "asking", to_mend)
    return told


def _signature(archive: WebArchive, study: ArchivedStudy) -> str:
    """What changes when a study grows: its counts, by the study's word or its series'."""
    if study.series_count is not None and study.instance_count is not None:
        return f"{study.series_count}/{study.instance_count}"
    series = archive.series(study.study_uid)
    counts = [
        len(archive.instances(one.study_uid, one.series_uid)) if one.instance_count is None else one.instance_count
        for one in series
    ]
    return f"{len(series)}/{sum(counts)}"
