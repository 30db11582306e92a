"""RayEngine: workers on the nodes of a Ray cluster. The queue stays on the engine's machine and stays the truth.

The engine claims jobs, hands each worker one at a time and records how it ended; nodes never open the queue, which
would need a network drive that locks. What jobs read and write must lie where every node sees it under one path.

    a job fails              it counts as a failure, as with any engine
    a worker's process dies  a failure of its job (it may have taken all memory); another worker is started
    a node is lost           no failure: its job waits again, and goes to another node
    the engine is killed     Ray ends its workers; the next run frees its jobs and goes on
"""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medseg.core.errors import InputError
from medseg.jobs import ray_cluster
from medseg.jobs.engine import OnStatus, StartWorker
from medseg.jobs.job import Claim, JobState
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.queue_engine import QueueEngine
from medseg.jobs.ray_worker import Loaded, NotLoaded, RayWorker
from medseg.jobs.worker import Outcome, record
from medseg.jobs.worker_name import is_gone, worker_name

_POLL_S = 0.2
"""How often the engine looks at its workers and tells how far it is."""

_NODES_S = 2.0
"""How often it looks which nodes there are."""

_PATIENCE_S = 60.0
"""How long it waits for a sign of a worker that can be reached no more; Ray takes up to 20 s to notice a node's end."""

_NO_ROOM_S = 300.0
"""How long it waits for nodes where none has room: those of a cluster that is being started come one by one."""

_DEATHS_WHILE_LOADING = 3
"""Workers that die one after the other before they are loaded: more would die of the same."""


class RayEngineConfig(BaseModel):
    """A Ray cluster at HOST:PORT, or one begun on this machine where there is no address.

    Without numbers there is one worker for each GPU, or for as many cores as the smallest node has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ray"] = "ray"
    address: str | None = None
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    """GPUs of each worker; 1 where the cluster has any, if not given."""

    def build(self, queue: Path, start: StartWorker, limits: Limits | None = None) -> RayEngine:
        """The engine for a queue. Raises InputError where the cluster cannot be reached or has no room for a worker."""
        return RayEngine(queue, start, self, limits or Limits())


@dataclass(slots=True, eq=False)
class _Worker:
    """An actor as its engine sees it: `awaits` is what it will answer next, `claim` the job that it has."""

    actor: Any
    awaits: Any
    node: str | None = None
    host: str = ""
    claim: Claim | None = None
    lost_s: float | None = None


class RayEngine(QueueEngine):
    """Works off a queue with the workers of a Ray cluster; see `Engine`."""

    def __init__(self, queue: Path, start: StartWorker, config: RayEngineConfig, limits: Limits) -> None:
        ray_cluster.connect(config.address)
        try:
            self._nodes = ray_cluster.alive_nodes()
            cores = [int(has["CPU"]) for has in self._nodes.values() if has.get("CPU", 0) >= 1]
            self.threads = config.threads or min(cores, default=1)
            has_gpus = any(has.get("GPU", 0) >= 1 for has in self._nodes.values())
            self.gpus = int(has_gpus) if config.gpus is None else config.gpus
            if config.threads is None and self.gpus:
                self.threads = _cores_per_gpu(self._nodes)
            self._most_workers = config.workers
            self._require_room()
            super().__init__(Queue(queue, limits))
        except BaseException:
            ray_cluster.disconnect()
            raise
        self._name = worker_name(os.getpid())
        self._start = pickle.dumps(start)
        self._workers: list[_Worker] = []
        self._lost: list[_Worker] = []
        self._looked_s = self._beat_s = self._had_room_s = time.monotonic()

    @property
    def places(self) -> int:
        """Workers that may run at once on the nodes that are alive."""
        room = ray_cluster.places(self._nodes, self.threads, self.gpus)
        return room if self._most_workers is None else min(room, self._most_workers)

    def close(self) -> None:
        """Leave the cluster and close the queue's file; the jobs stay."""
        super().close()
        ray_cluster.disconnect()

    def run(self, on_status: OnStatus | None = None) -> dict[JobState, int]:
        self._had_room_s = time.monotonic()
        return super().run(on_status)

    def _keep_workers(self) -> bool:
        """Start the workers that are missing; whether there is anything to wait for."""
        busy = [worker for worker in (*self._workers, *self._lost) if worker.claim is not None]
        if self._is_stopping:
            return bool(busy)
        counts = self._queue.counts()
        open_jobs = counts["waiting"] + counts["running"]
        while len(self._workers) < min(self.places, open_jobs):
            self._workers.append(self._started())
        return open_jobs > 0

    def _started(self) -> _Worker:
        import ray

        # A worker that dies is replaced by the engine, which knows of its job; Ray must not run anything twice.
        options = {"num_cpus": self.threads, "num_gpus": self.gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = ray.remote(RayWorker).options(**options).remote(self._start, self.threads)
        return _Worker(actor, actor.load.remote())

    def _look(self, on_status: OnStatus | None) -> None:
        """Hand out jobs, wait for something to happen, at most for a moment, and take note of it."""
        import ray

        for worker in self._workers:
            if worker.awaits is None and not self._is_stopping:
                self._hand_out(worker)
        awaited = {worker.awaits: worker for worker in self._workers if worker.awaits is not None}
        if awaited:
            answered, _ = ray.wait(list(awaited), num_returns=1, timeout=_POLL_S)
            for answer in answered:
                self._hear(awaited[answer])
        else:
            time.sleep(_POLL_S)
        self._keep_in_touch()
        if not self._queue.path.exists():
            raise InputError(f"the queue {self._queue.path} was removed while its jobs ran. Start the batch again.")
        if on_status:
            on_status(self._queue.counts())

    def _hand_out(self, worker: _Worker) -> None:
        """Give an idle worker a job, if one is due: never more than the one it works on."""
        worker.claim = self._queue.claim(self._name)
        if worker.claim is not None:
            job = worker.claim.job
            worker.awaits = worker.actor.run.remote(job.workflow, job.arguments)

    def _hear(self, worker: _Worker) -> None:
        """Take a worker's answer: that it is loaded, or how its job ended."""
        import ray
        from ray.exceptions import ActorUnavailableError, RayError

        try:
            answer = ray.get(worker.awaits)
        except ActorUnavailableError:
            self._lose(worker)
        except RayError as error:
            self._workers.remove(worker)
            self._bury(worker, _reason(error))
        else:
            self._note(worker, answer)

    def _note(self, worker: _Worker, answer: Loaded | NotLoaded | Outcome) -> None:
        worker.awaits = None
        match answer:
            case NotLoaded(reason):
                raise InputError(reason)
            case Loaded(host, node):
                worker.host, worker.node = host, node
                self._deaths_while_loading = 0
            case Outcome():
                claim, worker.claim = worker.claim, None
                if claim is not None:
                    record(self._queue, claim, answer)

    def _lose(self, worker: _Worker) -> None:
        """A worker cannot be reached: give it no more, and ask what became of it."""
        self._workers.remove(worker)
        worker.awaits, worker.lost_s = worker.actor.ping.remote(), time.monotonic()
        self._lost.append(worker)

    def _ask_after(self, worker: _Worker) -> None:
        """Learn whether a lost worker died, with its node or alone, or was only out of reach: then it is ended."""
        import ray
        from ray.exceptions import ActorUnavailableError, RayError

        is_over = time.monotonic() - (worker.lost_s or 0) > _PATIENCE_S
        answered, _ = ray.wait([worker.awaits], timeout=0)
        if not answered and not is_over:
            return
        try:
            ray.get(answered)
        except ActorUnavailableError:
            if not is_over:
                worker.awaits = worker.actor.ping.remote()
                return
        except RayError as error:
            self._lost.remove(worker)
            self._bury(worker, _reason(error))
            return
        ray.kill(worker.actor)  # what it answered was lost; the job is done again
        self._lost.remove(worker)
        if worker.claim is not None:
            self._queue.give_back(worker.claim)

    def _keep_in_touch(self) -> None:
        """Renew the claims four times a lease, look which nodes there are, and settle what became of lost workers."""
        now = time.monotonic()
        if now - self._beat_s > self._queue.limits.lease_s / 4:
            self._beat_s = now
            for worker in (*self._workers, *self._lost):
                if worker.claim is not None:
                    self._queue.heartbeat(worker.claim)
        if now - self._looked_s > _NODES_S:
            self._looked_s = now
            self._nodes = ray_cluster.alive_nodes()
        for worker in list(self._lost):
            self._ask_after(worker)
        if self.places or self._workers:
            self._had_room_s = now
        elif now - self._had_room_s > _NO_ROOM_S:
            raise InputError(
                f"for {_NO_ROOM_S:g} s no node of the Ray cluster has had room for a worker of {self.threads} threads "
                f"and {self.gpus} GPUs. Start the batch again when there are some: it goes on where it stopped."
            )

    def _bury(self, worker: _Worker, manner: str) -> None:
        """Take note of a dead worker: its job fails, unless its whole node is gone; then the job waits again."""
        self._nodes = ray_cluster.alive_nodes()
        if worker.claim is not None:
            if worker.node not in self._nodes:
                self._queue.give_back(worker.claim)
            else:
                self._queue.fail(worker.claim, f"its worker on {worker.host} {manner}")
        if worker.node is not None or self._is_stopping:
            return
        self._deaths_while_loading += 1
        if self._deaths_while_loading >= _DEATHS_WHILE_LOADING:
            raise InputError(
                f"{_DEATHS_WHILE_LOADING} workers died while they were being loaded; the last {manner}. Is the same "
                "medseg installed on every node, and does each have the memory for the model?"
            )

    def _end_workers(self) -> None:
        """End the workers; what was begun and not finished waits for the next run."""
        import ray

        for worker in self._workers:
            ray.kill(worker.actor)
        self._workers.clear()
        self._lost.clear()
        if self._queue.path.exists():
            self._queue.release(lambda name: name == self._name or is_gone(name))

    def _require_room(self) -> None:
        """Refuse workers that are larger than any node; where there is no node with cores yet, some may come."""
        largest = max((int(has.get("CPU", 0)) for has in self._nodes.values()), default=0)
        if largest and self.places < 1:
            raise InputError(
                f"no node of the Ray cluster has room for a worker of {self.threads} threads and {self.gpus} GPUs; the "
                f"largest has {largest} cores. Ask for fewer."
            )


def _cores_per_gpu(nodes: dict[str, dict[str, float]]) -> int:
    """The cores that each GPU's worker may use where every GPU of every node has one."""
    shares = [int(has.get("CPU", 1) // has["GPU"]) for has in nodes.values() if has.get("GPU", 0) >= 1]
    return max(1, min(shares, default=1))


def _reason(error: Exception) -> str:
    return f"died ({str(error).strip().splitlines()[0]})"
