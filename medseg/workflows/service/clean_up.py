"""clean_up: results that are old enough go, and the oldest go early where the disk runs full."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from medseg.core.atomic import discard_folder
from medseg.core.report import Report
from medseg.jobs.job import SETTLED, JobRecord
from medseg.jobs.queue import Queue
from medseg.review.audit import AuditLog
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.review.records import Correction
from medseg.settings.model import Retention
from medseg.workflows.results.job_folder import RESULT, RESULT_REPORT
from medseg.workflows.service.places import SHORT, Places
from medseg.workflows.service.write_log import Event, service_log

_DAY_S = 86400.0


def clean_up(places: Places, retention: Retention, queue: Queue) -> int:
    """Remove folders of settled jobs that have been kept long enough, or must go for space; how many went.

    What waits or runs stays. Of jobs that are done all is in the archive; what failed can be fetched again. A result
    that a reader corrected stays until no other is left to make space with: models learn from its scan and correction.
    Raises StoreError where the readers' records cannot be read.
    """
    reviews = _Reviews(places.work)
    removed = 0
    kept: list[_Kept] = []
    for record, folder in _settled(places, queue):
        is_done = record.state == "done"
        one = _Kept(record.job.id, folder, is_done, time.time() - (record.settled_s or time.time()))
        most_s = _DAY_S * (retention.days if is_done else retention.failed_days)
        if one.age_s > most_s and reviews.unused_s(folder) > most_s and not reviews.is_corrected(folder):
            removed += _remove(queue, one, "its time is over")
        else:
            kept.append(one)
    if _has_space(places, retention):
        return removed
    for one in sorted(kept, key=lambda one: (reviews.is_corrected(one.folder), not one.is_done, -one.age_s)):
        removed += _remove(queue, one, "space is needed")
        if _has_space(places, retention):
            break
    return removed


@dataclass(frozen=True, slots=True)
class _Kept:
    """The folder of a settled job."""

    job_id: str
    folder: Path
    is_done: bool
    age_s: float


class _Reviews:
    """What readers did in the viewer with the results of jobs."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._corrections = CorrectionStore(work / REVIEW_FOLDER)
        self._log = AuditLog(work / REVIEW_FOLDER)

    def is_corrected(self, folder: Path) -> bool:
        """Whether a correction was saved of a job's scan, by whichever reader, and under whichever task."""
        try:
            report = Report.model_validate_json((folder / RESULT_REPORT).read_bytes())
        except (OSError, ValidationError):
            return False
        scan = report.source_sha256
        tasks = [task for recorded, task in self._corrections.scans() if recorded == scan]
        records = (record for task in tasks for record in self._corrections.history(scan, task))
        return any(isinstance(record, Correction) for record in records)

    def unused_s(self, folder: Path) -> float:
        """Seconds since somebody last looked at a job's result or drew on it; infinite where nobody ever did."""
        acts = self._log.newest(1, (folder / RESULT).relative_to(self._work).as_posix())
        return (datetime.now(UTC) - acts[0].made).total_seconds() if acts else math.inf


def _has_space(places: Places, retention: Retention) -> bool:
    return shutil.disk_usage(places.work).free / 1e9 >= retention.least_free_gb


def _settled(places: Places, queue: Queue) -> Iterator[tuple[JobRecord, Path]]:
    """The settled jobs that have a folder."""
    there = {folder.name for folder in places.work.iterdir() if folder.is_dir()} if places.work.is_dir() else set()
    if not there:
        return
    for record in queue.records(*SETTLED):
        folder = places.work_of(record.job.id)
        if folder.name in there:
            yield record, folder


def _remove(queue: Queue, kept: _Kept, reason: str) -> int:
    """Remove a job's folder whole: a part of its images must not be taken for them; 0 where it is tried again."""
    record = queue.record(kept.job_id)
    if record is not None and record.state not in SETTLED:
        return 0
    try:
        discard_folder(kept.folder)
    except OSError as error:
        service_log(Event.REMOVED, logging.WARNING, job=kept.job_id[:SHORT], reason=f"it stays: {error.strerror}")
        return 0
    service_log(Event.REMOVED, job=kept.job_id[:SHORT], reason=reason)
    return 1
