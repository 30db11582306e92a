"""QueueEngine: what every engine does that works off a queue: it looks after its workers until all jobs are settled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from medseg.jobs.engine import OnStatus
from medseg.jobs.job import Job, JobState
from medseg.jobs.queue import Queue
from medseg.jobs.worker_name import is_gone


class QueueEngine(ABC):
    """Works off a queue; see `Engine`. Where the workers run, and how they are kept, its kinds say."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._is_stopping = False
        self._deaths_while_loading = 0

    def submit(self, jobs: Iterable[Job]) -> int:
        return self._queue.submit(jobs)

    def status(self) -> dict[JobState, int]:
        return self._queue.counts()

    def cancel(self, job_id: str) -> bool:
        return self._queue.cancel(job_id)

    def stop(self) -> None:
        self._is_stopping = True

    def close(self) -> None:
        """Close the queue's file; the jobs stay."""
        self._queue.close()

    def run(self, on_status: OnStatus | None = None) -> dict[JobState, int]:
        """Work until every job is settled, or `stop` or Ctrl-C: then the jobs that run are finished first.

        A second Ctrl-C ends the workers at once; their jobs wait for the next run. Raises InputError when a worker
        cannot be loaded.
        """
        self._is_stopping = False
        self._deaths_while_loading = 0
        self._queue.release(is_gone)
        try:
            while True:
                try:
                    if not self._keep_workers():
                        break
                    self._look(on_status)
                except KeyboardInterrupt:
                    if self._is_stopping:
                        raise
                    self._is_stopping = True
        finally:
            self._end_workers()
        counts = self._queue.counts()
        if on_status:
            on_status(counts)
        return counts

    @abstractmethod
    def _keep_workers(self) -> bool:
        """Start the workers that are missing, end them when it is time; whether there is anything to wait for."""

    @abstractmethod
    def _look(self, on_status: OnStatus | None) -> None:
        """Look once at the workers, and tell how far the work is."""

    @abstractmethod
    def _end_workers(self) -> None:
        """End all workers; what they had begun waits for the next run."""
