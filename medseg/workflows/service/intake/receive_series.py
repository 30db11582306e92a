"""Receiver: takes whole series out of the listener's spool and queues them. The body of a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError, MedsegError
from medseg.exchange.dicom.contents import contents_of
from medseg.exchange.dicom.identifiers import identifying_words, without_identifiers
from medseg.exchange.dicom.network.dimse.receiving.received import (
    Count,
    Patience,
    ReceivedFolder,
    ReceivedSeries,
    gap_of,
)
from medseg.exchange.dicom.network.web.answers import ArchivedSeries
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.described import lack_of
from medseg.exchange.dicom.scan import inspect
from medseg.jobs.queue import Queue
from medseg.jobs.worker import die_with_parent
from medseg.settings.model import Listener, Settings
from medseg.workflows.results.job_folder import IMAGES
from medseg.workflows.service.intake.carry_out_plan import carry_out
from medseg.workflows.service.intake.choose_series import Offer, PassedSeries, Plan, choose, reason_against
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import SHORT, Places
from medseg.workflows.service.write_log import Event, log_to, service_log

_LOOK_S = 1.0
_DAY_S = 86400.0
SPOOL = "listener"
"""The note in the ledger of how the spool is."""


@dataclass(slots=True)
class Receiver:
    """Looks at the spool once and again. Belongs to one thread."""

    settings: Settings
    places: Places
    ledger: Ledger
    queue: Queue
    received: ReceivedFolder

    def look(self) -> int:
        """Queue what has become whole; how many jobs were new."""
        self.received.sweep()
        for key in self.received.discard_older(self.settings.retention.failed_days * _DAY_S):
            service_log(Event.REMOVED, job=key[:SHORT], reason="its time is over")
        new = 0
        for series in self.received.complete():
            try:
                new += self._take(series)
            except InputError as error:
                words = identifying_words(series.folder.glob("*.dcm"))
                reason = without_identifiers(str(error).replace(str(series.folder), "the series"), words)
                self.ledger.note_series(series.study_uid, series.series_uid, "", "held", reason)
        return new

    def _take(self, series: ReceivedSeries) -> int:
        """Give each job its images, queue it, and let the series go; done again from the start after a kill."""
        offer, study_description = offer_of(series)
        plan = Plan()
        reasons = []
        for route in self.settings.routes:
            reason = reason_against(offer.series, study_description, route.match)
            if reason:
                reasons.append(f"{route.name}: {reason}")
                continue
            released = {one.series_uid for one in self.ledger.series("released") if one.route == route.name}
            chosen = choose([offer], route, study_description, released)
            plan.jobs += chosen.jobs
            plan.passed += chosen.passed
        if not plan.jobs and not plan.passed:
            plan.passed.append(PassedSeries(offer.uid, "", "passed over", "; ".join(reasons) or "there is no route"))
        for planned in plan.jobs:
            record = self.queue.record(planned.job.id)
            if record is None or record.state != "done":
                _linked(series.folder, self.places.work_of(planned.job.id) / IMAGES)
        new = carry_out(plan, series.study_uid, self.ledger, self.queue)
        self.received.done(series)
        return new


def offer_of(series: ReceivedSeries) -> tuple[Offer, str]:
    """A received series as a route judges it, and the description of its study."""
    (images, *_) = contents_of(series.folder).series
    (found, *_) = inspect(series.folder).series
    first = images.images[0]
    count = sum(image.frame_count for image in images.images)
    listed = ArchivedSeries(
        study_uid=series.study_uid,
        series_uid=found.uid,
        modality=found.modality,
        number=found.number,
        description=found.description,
        body_part=found.body_part,
        manufacturer=first.said("Manufacturer"),
        station=first.said("StationName"),
        instance_count=len(images.images),
    )
    uids = tuple(image.said("SOPInstanceUID") for image in images.images)
    return Offer(listed, found, uids, count), found.study_description


def receive(settings: Settings, beat: Callable[[], None]) -> None:
    """Look at the spool every second until SIGTERM; `beat` is called each time. The body of the process."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    log_to(settings.log)
    if settings.listener is None:
        return
    places = Places.of(settings)
    ledger = Ledger(places.ledger_file)
    with places.queue() as queue:
        receiver = Receiver(settings, places, ledger, queue, received_folder(settings.listener, settings))
        was = ""
        while not stop.wait(_LOOK_S):
            beat()
            told = _looked(receiver, settings.listener.spool)
            if told != was:
                service_log(Event.SPOOL, reason=told or "it is well")
                was = told
            ledger.note(SPOOL, told)


def received_folder(config: Listener, settings: Settings) -> ReceivedFolder:
    """The spool as its reader sees it."""
    patience = Patience(config.quiet_s, config.patience_s)
    count = _counted_by(settings) if config.counts_by_archive else None
    return ReceivedFolder(config.spool, _gap_or_lack, patience, count)


def _looked(receiver: Receiver, spool: Path) -> str:
    """Look once; why that failed, empty where it did not."""
    try:
        receiver.look()
    except MedsegError as error:
        words = identifying_words((spool / "complete").rglob("*.dcm"))
        return without_identifiers(str(error), words)
    except OSError as error:  # the disk; its words name files
        return f"the spool cannot be used ({error.strerror})"
    return ""


def _gap_or_lack(folder: Path) -> str:
    """Why the images in a folder are no whole series, by their places, numbers and header; empty where they are."""
    reason = gap_of(folder)
    if reason:
        return reason
    images = [image for series in contents_of(folder).series for image in series.images]
    count = sum(image.frame_count for image in images)
    numbers = [image.said("InstanceNumber") for image in images]
    return lack_of(numbers, images[0].said("ImagesInAcquisition"), count)


def _counted_by(settings: Settings) -> Count | None:
    """What asks the archive how many images a series has."""
    archive = settings.archive
    if archive is None:
        return None

    def count(study_uid: str, series_uid: str) -> int | None:
        with WebArchive(archive) as asked:
            return next((one.instance_count for one in asked.series(study_uid) if one.series_uid == series_uid), None)

    return count


def _linked(source: Path, target: Path) -> None:
    """A folder of the same files: the same bytes where both lie on one disk, else copies; whole or not at all."""
    with whole_folder(target) as unfinished:
        for number, file in enumerate(sorted(source.glob("*.dcm")), start=1):
            place = unfinished / f"{number:05d}.dcm"
            try:
                os.link(file, place)
            except OSError:
                shutil.copyfile(file, place)
