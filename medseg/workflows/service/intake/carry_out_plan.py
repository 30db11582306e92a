"""carry_out: queue what a plan holds, and write down what it passes over."""

from __future__ import annotations

from medseg.jobs.queue import Queue
from medseg.workflows.service.intake.choose_series import SUPERSEDED, Plan
from medseg.workflows.service.ledger import Ledger, short_name
from medseg.workflows.service.places import SHORT
from medseg.workflows.service.write_log import Event, service_log


def carry_out(plan: Plan, study_uid: str, ledger: Ledger, queue: Queue) -> int:
    """Queue the jobs of a plan and note what it passes over; how many jobs were new."""
    new = 0
    for passed in plan.passed:
        ledger.note_series(study_uid, passed.series_uid, passed.route, passed.standing, passed.reason)
    for planned in plan.jobs:
        record = queue.record(planned.job.id)
        if record is not None and record.result == SUPERSEDED:  # the images are those of this job after all
            queue.forget([planned.job.id])
        if queue.submit([planned.job], planned.priority):
            new += 1
            service_log(Event.QUEUED, study=short_name(study_uid), job=planned.job.id[:SHORT], route=planned.route)
        ledger.forget_series(planned.series_uid, planned.route)
    return new
