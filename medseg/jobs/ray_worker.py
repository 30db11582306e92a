"""What runs on a cluster's nodes: a worker that holds what its jobs share, and says how each job ended."""

from __future__ import annotations

import os
import pickle
import socket
from dataclasses import dataclass

from pydantic import JsonValue

from medseg.core.errors import MedsegError
from medseg.jobs.engine import Run
from medseg.jobs.job import Job
from medseg.jobs.worker import THREAD_VARIABLES, Outcome, outcome_of


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker is ready: on which machine, and Ray's number of the node."""

    host: str
    node: str


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """A worker cannot be made ready, and no other could."""

    reason: str


class RayWorker:
    """One process of a Ray actor; the engine gives it one job at a time. It never touches the queue."""

    def __init__(self, start: bytes, threads: int) -> None:
        self._start = start
        self._threads = threads
        self._run: Run | None = None

    def load(self) -> Loaded | NotLoaded:
        """Load what all jobs share; where that was, or why it could not be."""
        import ray

        # Libraries read these when they are imported, which unpacking `start` does.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self._threads)))
        try:
            self._run = pickle.loads(self._start)(self._threads)  # noqa: S301 - written by our own engine
        except MedsegError as error:
            return NotLoaded(str(error))
        return Loaded(socket.gethostname(), ray.get_runtime_context().get_node_id())

    def ping(self) -> None:
        """Answer, once what was asked before is done."""

    def run(self, workflow: str, arguments: dict[str, JsonValue]) -> Outcome:
        """How the job ended; what it raises is its failure, never the worker's."""
        if self._run is None:
            raise RuntimeError("the worker was not loaded")
        return outcome_of(self._run, Job(workflow=workflow, arguments=arguments))
