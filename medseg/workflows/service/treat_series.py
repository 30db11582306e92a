"""Worker: what is done with a series: fetch, segment, write, store, each step whole or not at all.

A step whose outcome lies in the job's folder is not done again, and results have UIDs that follow from what they were
made of and are noted before they are sent. So a job may be cut off anywhere, begin anew, and ends the same.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue, ValidationError

from medseg.core.atomic import clear_disk_errors, discard_all_unfinished
from medseg.core.errors import InputError, MedsegError, UnreachableError
from medseg.core.report import Report
from medseg.exchange.dicom.identifiers import identifying_words, without_identifiers
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.reports.formats import WRITERS
from medseg.exchange.scan import Scan
from medseg.jobs.engine import HopelessError, PostponedError
from medseg.jobs.job import Job
from medseg.models.inference.ensemble import Model
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.store import find_model, load_model
from medseg.review.audit import AuditLog
from medseg.settings.model import Settings
from medseg.settings.routes import Route
from medseg.workflows.peak_memory import peak_memory_mb, reset_peak_memory
from medseg.workflows.results.job_folder import IMAGES, OBJECTS, RESULT
from medseg.workflows.results.report_study import MAP, report_study
from medseg.workflows.segmenting.segment_study import REPORT, read_channels, segment_scans
from medseg.workflows.service.deliver_results import Delivery
from medseg.workflows.service.intake.choose_series import SUPERSEDED, images_hash
from medseg.workflows.service.ledger import Ledger, short_name
from medseg.workflows.service.places import SHORT, Places
from medseg.workflows.service.write_log import Event, service_log, trace_of

USER = "medseg serve"
"""Who acts, in the audit log."""

_ARRIVING = ".arriving"
"""Images that are not yet known to be those of the job; hidden, so that no worklist shows them."""

_MOST_MODELS = 2
"""Models that a worker keeps loaded."""

_EMPTY_MASK = ("dicom-seg", "rtstruct")
"""Formats that do not exist of nothing; the report says that nothing was found."""


@dataclass(slots=True)
class Worker:
    """Treats series, a job at a time; holds the models that it used last."""

    settings: Settings
    places: Places
    ledger: Ledger
    audit: AuditLog
    models: OrderedDict[str, tuple[Model, NetworkSegmenter]] = field(default_factory=OrderedDict)

    def __call__(self, job: Job) -> JsonValue:
        folder = self.places.work_of(job.id)
        with self._cleared(job, folder):
            self._require_space()
            with _held(folder):
                return _Treatment(self, job, folder).done()

    def model_of(self, route: Route) -> tuple[Model, NetworkSegmenter]:
        """The route's model, loaded. Raises StoreError where it is missing or altered."""
        place = str(find_model(route.model))
        if place not in self.models:
            bundle = load_model(place)
            self.models[place] = (bundle, NetworkSegmenter.on(bundle, self.settings.jobs.device))
        self.models.move_to_end(place)
        while len(self.models) > _MOST_MODELS:
            self.models.popitem(last=False)
        return self.models[place]

    def _require_space(self) -> None:
        least_gb = self.settings.retention.least_free_gb
        free_gb = shutil.disk_usage(self.places.work).free / 1e9
        if free_gb < least_gb:
            raise PostponedError(
                f"the disk of {self.places.work} has {free_gb:.1f} GB free, below retention.least_free_gb "
                f"({least_gb:g}). Free some space."
            )

    @contextmanager
    def _cleared(self, job: Job, folder: Path) -> Iterator[None]:
        """Turn what goes wrong into what the queue does then, in words that name nobody."""
        try:
            yield
        except (UnreachableError, PostponedError) as error:
            raise PostponedError(self._told(Event.POSTPONED, job, folder, str(error))) from None
        except MedsegError as error:
            if _is_full(error):
                raise PostponedError(self._told(Event.POSTPONED, job, folder, str(error))) from None
            raise HopelessError(self._told(Event.FAILED, job, folder, str(error))) from None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - told by kind and place, since its words may name a patient
            reason = f"an error in medseg, please report it: {trace_of(error)}"
            raise _BrokenError(self._told(Event.FAILED, job, folder, reason)) from None

    def _told(self, event: Event, job: Job, folder: Path, reason: str) -> str:
        words = identifying_words(sorted((folder / IMAGES).glob("*.dcm")))
        reason = without_identifiers(reason.replace(str(folder), "the series"), words)
        service_log(event, logging.WARNING, job=job.id[:SHORT], route=str(job.arguments["route"]), reason=reason)
        return reason


class _BrokenError(MedsegError):
    """A bug, told without its words; it is tried again, as it may have been a passing one."""


@dataclass(slots=True)
class _Treatment:
    """One job's way through the steps; `seconds` is what each took, `scan` what was segmented, where it was now."""

    worker: Worker
    job: Job
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    scan: Scan | None = None

    def done(self) -> JsonValue:
        """Do what is left to do of it; what the queue remembers."""
        arguments = cast("dict[str, Any]", self.job.arguments)
        settings = self.worker.settings
        route = settings.route(arguments["route"])
        if route is None:
            raise InputError(
                f"the route {arguments['route']} is no longer in medseg.toml. Put it back, or forget the job."
            )
        discard_all_unfinished(self.folder)
        reset_peak_memory()
        with self._timed("fetch", Event.FETCHED):
            if not self._fetch(arguments):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.worker.ledger.unsettle(arguments["study"])
                return SUPERSEDED
        with self._timed("segment", Event.SEGMENTED):
            findings = self._segment(route)
        with self._timed("write"):
            files = self._write(route, has_findings=findings > 0)
        with self._timed("store", Event.STORED):
            delivery = Delivery(settings, self.worker.places, self.worker.ledger, self.job.id)
            delivered = {name: delivery.to(name, files) for name in route.destinations if files}
        counts = {name: one.new for name, one in delivered.items()}
        unconfirmed = [name for name, one in delivered.items() if not one.is_confirmed]
        for name in unconfirmed:
            service_log(Event.UNCONFIRMED, job=self.job.id[:SHORT], destination=name)
        self.worker.audit.add(USER, "store", short_name(arguments["study"]), f"job {self.job.id[:SHORT]} {counts}")
        if not settings.keeps_images:
            shutil.rmtree(self.folder / IMAGES, ignore_errors=True)
        return {
            "findings": findings,
            "objects": len(files),
            "stored": cast("dict[str, JsonValue]", counts),
            "unconfirmed": cast("list[JsonValue]", unconfirmed),
            "seconds": cast("dict[str, JsonValue]", self.seconds),
            "peak_memory_mb": peak_memory_mb(),
        }

    def _fetch(self, arguments: dict[str, Any]) -> bool:
        """Whether the images are here, and those that the job is of."""
        images = self.folder / IMAGES
        if images.is_dir():
            return True
        if self.worker.settings.archive is None:
            raise InputError(
                "its images are no longer here, and there is no archive to fetch them from. Send them again."
            )
        arriving = self.folder / _ARRIVING
        shutil.rmtree(arriving, ignore_errors=True)
        with WebArchive(self.worker.settings.archive) as archive:
            fetched = archive.fetch_series(arguments["study"], arguments["series"], arriving)
        self.worker.audit.add(USER, "fetch", short_name(arguments["study"]), f"job {self.job.id[:SHORT]}")
        if images_hash(one.sop_instance for one in fetched) != arguments["images"]:
            return False
        arriving.rename(images)
        return True

    def _segment(self, route: Route) -> int:
        """The number of findings, once the result folder is there."""
        result = self.folder / RESULT
        if (result / REPORT).is_file():
            return findings_in(result)
        bundle, segmenter = self.worker.model_of(route)
        channels = bundle.spec.task.channels
        if len(channels) != 1:
            raise InputError(
                f"the model of the route {route.name} takes {len(channels)} channels; the service handles models of one"
            )
        sources = {channels[0].name: self.folder / IMAGES}
        scans = read_channels(sources, bundle.spec.task)
        self.scan = scans[channels[0].name]
        keeps = MAP in route.formats
        report = segment_scans(scans, sources, bundle, segmenter, result, keeps_probabilities=keeps)
        return len(report.findings)

    def _write(self, route: Route, *, has_findings: bool) -> tuple[Path, ...]:
        """The DICOM files to be stored, once the folder of formats is there."""
        objects = self.folder / OBJECTS
        formats = [name for name in route.formats if has_findings or name not in _EMPTY_MASK]
        if not objects.is_dir() and formats:
            report_study(self.folder / RESULT, formats, objects, scan=self.scan)
        names = {writer.file for writer in WRITERS.values() if writer.is_dicom}
        return tuple(sorted(file for file in objects.glob("*.dcm") if file.name in names))

    @contextmanager
    def _timed(self, step: str, event: Event | None = None) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - begin, 3)
        if event is not None:
            service_log(event, job=self.job.id[:SHORT], seconds=self.seconds[step])


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a job's folder, made where it is missing. Raises PostponedError while a worker that fell silent is at it."""
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PostponedError("the worker that began with it is still at work on it") from None
        yield
    finally:
        os.close(handle)


def findings_in(result: Path) -> int:
    """How many findings the report of a result folder has. Raises InputError where it is damaged."""
    try:
        return len(Report.model_validate_json((result / REPORT).read_bytes()).findings)
    except (OSError, ValidationError):
        raise InputError("its result is damaged; remove it and try again") from None


def _is_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
