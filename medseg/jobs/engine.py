"""Engine: whoever works off a queue. The local one runs processes on this machine; others may span a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from pydantic import JsonValue

from medseg.core.errors import MedsegError
from medseg.jobs.job import Job, JobState


class PostponedError(MedsegError):
    """What a run raises where the job cannot be done now, through no fault of its own: it waits, no failure counts."""


class HopelessError(MedsegError):
    """What a run raises where trying again would change nothing: the job is set aside at once."""


Run = Callable[[Job], JsonValue]
"""Does a job and returns its result, as JSON. What it raises is the reason of a failure."""

StartWorker = Callable[[int], Run]
"""Called once in each worker with the number of threads it may use; loads what all its jobs share, such as a model."""

OnStatus = Callable[[dict[JobState, int]], None]
"""Called now and then with how many jobs are in each state."""


class Engine(Protocol):
    """Works off jobs. Jobs that were submitted survive the engine; another one may go on with them."""

    def submit(self, jobs: Iterable[Job]) -> int:
        """Add jobs; how many were new."""
        ...

    def status(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        ...

    def cancel(self, job_id: str) -> bool:
        """Take back a job that waits; whether it could be."""
        ...

    def run(self, on_status: OnStatus | None = None) -> dict[JobState, int]:
        """Work until every job is settled or `stop` is called; how many ended in each state."""
        ...

    def stop(self) -> None:
        """Begin nothing new, and let `run` return once the jobs that run are through."""
        ...
