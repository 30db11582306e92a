"""LocalEngine: worker processes on this machine, started anew when they die, stopped without losing work."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.errors import InputError
from medseg.jobs.cores import share_cores, usable_cores
from medseg.jobs.engine import OnStatus, StartWorker
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.queue_engine import QueueEngine
from medseg.jobs.worker import FAILED, READY, WorkerOrders, is_gone, work, worker_name

_POLL_S = 0.2
"""How often the engine looks at its workers and tells how far it is."""

_DEATHS_WHILE_LOADING = 3
"""Workers that die one after the other before they are loaded: more would die of the same."""


class LocalEngineConfig(BaseModel):
    """Processes on this machine; without numbers, one worker with all cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)

    def build(self, queue: Path, start: StartWorker, limits: Limits | None = None) -> LocalEngine:
        """The engine for a queue. Raises InputError when workers x threads exceed the cores."""
        return LocalEngine(queue, start, self, limits or Limits())


@dataclass(slots=True)
class _Worker:
    """A worker process as its engine sees it."""

    process: SpawnProcess
    hears: Connection
    name: str
    is_ready: bool = False


class LocalEngine(QueueEngine):
    """Works off a queue with processes on this machine; see `Engine`."""

    def __init__(self, queue: Path, start: StartWorker, config: LocalEngineConfig, limits: Limits) -> None:
        self.budget = share_cores(usable_cores(), config.workers, config.threads)
        super().__init__(Queue(queue, limits))
        self._orders = WorkerOrders(queue, limits, self.budget.threads, pickle.dumps(start))
        self._workers: list[_Worker] = []

    def _keep_workers(self) -> bool:
        """Start what is missing, tell workers to stop when it is time; whether there is anything to wait for."""
        if self._is_stopping:
            for worker in self._workers:
                _signal(worker, signal.SIGTERM)
            return bool(self._workers)
        counts = self._queue.counts()
        open_jobs = counts["waiting"] + counts["running"]
        while len(self._workers) < min(self.budget.workers, open_jobs):
            self._workers.append(self._started())
        return bool(self._workers)

    def _started(self) -> _Worker:
        # spawn, not fork: a forked copy of a process with threads (torch, itk) may hang in a lock nobody holds.
        context = get_context("spawn")
        hears, tells = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(self._orders, tells), daemon=True)
        process.start()
        tells.close()
        return _Worker(process, hears, worker_name(process.pid or 0))

    def _look(self, on_status: OnStatus | None) -> None:
        """Wait for something to happen, at most for a moment, and take note of it."""
        sentinels = [worker.process.sentinel for worker in self._workers]
        wait([*sentinels, *(worker.hears for worker in self._workers if not worker.is_ready)], timeout=_POLL_S)
        for worker in list(self._workers):
            self._listen(worker)
            if worker.process.exitcode is not None:
                self._workers.remove(worker)
                self._bury(worker)
        if not self._queue.path.exists():
            raise InputError(f"the queue {self._queue.path} was removed while its jobs ran. Start the batch again.")
        if on_status:
            on_status(self._queue.counts())

    def _listen(self, worker: _Worker) -> None:
        if worker.is_ready or not worker.hears.poll():
            return
        try:
            said, reason = worker.hears.recv()
        except (EOFError, OSError):
            return  # it died in the middle of the word
        if said == FAILED:
            raise InputError(reason)
        worker.is_ready = said == READY
        self._deaths_while_loading = 0

    def _bury(self, worker: _Worker) -> None:
        """Take note of a dead worker: its job fails, unless it ended by itself."""
        code = worker.process.exitcode or 0
        worker.hears.close()
        worker.process.close()
        if code == 0:
            return
        manner = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        self._queue.lose_worker(worker.name, f"its worker process {manner}{hint}")
        if worker.is_ready or self._is_stopping:
            return
        self._deaths_while_loading += 1
        if self._deaths_while_loading >= _DEATHS_WHILE_LOADING:
            raise InputError(
                f"{_DEATHS_WHILE_LOADING} workers died while they were being loaded; the last {manner}{hint}. "
                "Use fewer workers, or a machine with more memory."
            )

    def _end_workers(self) -> None:
        """Kill what still runs, after an error or a second Ctrl-C; what was begun waits for the next run."""
        for worker in self._workers:
            _signal(worker, signal.SIGKILL)
            worker.process.join()
            worker.hears.close()
            worker.process.close()
        self._workers.clear()
        self._queue.release(is_gone)


def _signal(worker: _Worker, number: int) -> None:
    if worker.process.pid and worker.process.exitcode is None:
        os.kill(worker.process.pid, number)
