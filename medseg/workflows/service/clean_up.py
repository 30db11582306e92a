"""clean_up: results that are old enough go, and the oldest go early where the disk runs full."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from medseg.core.atomic import discard_folder
from medseg.jobs.job import SETTLED, JobRecord
from medseg.jobs.queue import Queue
from medseg.settings.model import Retention
from medseg.workflows.service.places import SHORT, Places
from medseg.workflows.service.write_log import Event, service_log

_DAY_S = 86400.0


def clean_up(places: Places, retention: Retention, queue: Queue) -> int:
    """Remove folders of settled jobs that have been kept long enough, or must go for space; how many went.

    What waits or runs stays. Of jobs that are done all is in the archive; what failed can be fetched again.
    """
    now = time.time()
    removed = 0
    kept: list[tuple[float, bool, str, Path]] = []
    for record, folder in _settled(places, queue):
        age_s = now - (record.settled_s or now)
        days = retention.days if record.state == "done" else retention.failed_days
        if age_s > days * _DAY_S:
            removed += _remove(queue, folder, record.job.id, "its time is over")
        else:
            kept.append((age_s, record.state == "done", record.job.id, folder))
    for _, _, job_id, folder in sorted(kept, key=lambda one: (not one[1], -one[0])):
        if shutil.disk_usage(places.work).free / 1e9 >= retention.least_free_gb:
            break
        removed += _remove(queue, folder, job_id, "space is needed")
    return removed


def _settled(places: Places, queue: Queue) -> Iterator[tuple[JobRecord, Path]]:
    """The settled jobs that have a folder."""
    there = {folder.name for folder in places.work.iterdir() if folder.is_dir()} if places.work.is_dir() else set()
    if not there:
        return
    for record in queue.records(*SETTLED):
        folder = places.work_of(record.job.id)
        if folder.name in there:
            yield record, folder


def _remove(queue: Queue, folder: Path, job_id: str, reason: str) -> int:
    """Remove a job's folder whole: a part of its images must not be taken for them; 0 where it is tried again."""
    record = queue.record(job_id)
    if record is not None and record.state not in SETTLED:
        return 0
    discard_folder(folder)
    service_log(Event.REMOVED, job=job_id[:SHORT], reason=reason)
    return 1
