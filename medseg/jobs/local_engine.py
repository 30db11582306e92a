"""LocalEngine: worker processes on this machine, started anew when they die, stopped without losing work."""

from __future__ import annotations

import os
import pickle
import signal
import time
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
from medseg.jobs.worker import FAILED, READY, WorkerOrders, work
from medseg.jobs.worker_name import is_gone, worker_name

_POLL_S = 0.2
"""How often the engine looks at its workers and tells how far it is."""

_WATCH_S = 1.0
"""How often it looks at their memory and time."""

_DEATHS_WHILE_LOADING = 3
"""Workers that die one after the other before they are loaded: more would die of the same."""


class LocalEngineConfig(BaseModel):
    """Processes on this machine; without numbers, one worker with all cores.

    A worker whose memory grows above `memory_gb`, or whose job takes longer than `most_minutes`, is killed, and its job
    fails. Workers that `stay` wait for more when all jobs are settled; then `run` ends only when it is stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    memory_gb: float | None = Field(default=None, gt=0)
    most_minutes: float | None = Field(default=None, gt=0)
    stay: bool = False

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
    kill_reason: str = ""
    job_id: str = ""
    job_since_s: float = 0.0


class LocalEngine(QueueEngine):
    """Works off a queue with processes on this machine; see `Engine`."""

    def __init__(self, queue: Path, start: StartWorker, config: LocalEngineConfig, limits: Limits) -> None:
        self.budget = share_cores(usable_cores(), config.workers, config.threads)
        super().__init__(Queue(queue, limits))
        self._config = config
        self._orders = WorkerOrders(queue, limits, self.budget.threads, pickle.dumps(start), config.stay)
        self._workers: list[_Worker] = []
        self._watched_s = 0.0

    def _keep_workers(self) -> bool:
        """Start what is missing, tell workers to stop when it is time; whether there is anything to wait for."""
        if self._is_stopping:
            for worker in self._workers:
                _signal(worker, signal.SIGTERM)
            return bool(self._workers)
        wanted = self.budget.workers
        if not self._config.stay:
            counts = self._queue.counts()
            wanted = min(wanted, counts["waiting"] + counts["running"])
        while len(self._workers) < wanted:
            self._workers.append(self._started())
        return bool(self._workers)

    @property
    def ready_workers(self) -> int:
        """How many workers are loaded and alive."""
        return sum(worker.is_ready for worker in self._workers)

    def kill(self) -> None:
        """End all workers at once; what they had begun waits for the next run."""
        self._end_workers()

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
        self._watch()
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

    def _watch(self) -> None:
        """Kill workers that have outgrown their memory or their time."""
        config, now = self._config, time.monotonic()
        if (config.memory_gb is None and config.most_minutes is None) or now - self._watched_s < _WATCH_S:
            return
        self._watched_s = now
        running = {record.worker: record for record in self._queue.records("running")}
        for worker in self._workers:
            record = running.get(worker.name)
            job_id = f"{record.job.id} {record.starts}" if record else ""
            if job_id != worker.job_id:
                worker.job_id, worker.job_since_s = job_id, now
            if config.memory_gb is not None and _memory_gb(worker) > config.memory_gb:
                worker.kill_reason = f"used more than the {config.memory_gb:g} GB of memory that it may"
            if config.most_minutes is not None and job_id and now - worker.job_since_s > 60 * config.most_minutes:
                worker.kill_reason = f"took longer than the {config.most_minutes:g} minutes that it may"
            if worker.kill_reason:
                _signal(worker, signal.SIGKILL)

    def _bury(self, worker: _Worker) -> None:
        """Take note of a dead worker: its job fails, unless it ended by itself."""
        code = worker.process.exitcode or 0
        worker.hears.close()
        worker.process.close()
        if code == 0:
            return
        manner = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        if worker.kill_reason:
            manner, hint = worker.kill_reason, ""
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


def _memory_gb(worker: _Worker) -> float:
    """Resident memory of a worker; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def _signal(worker: _Worker, number: int) -> None:
    if worker.process.pid and worker.process.exitcode is None:
        os.kill(worker.process.pid, number)
