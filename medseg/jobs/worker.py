"""A worker process: claims jobs, runs them one after the other, and ends when all are settled or it is told to."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from medseg.core.errors import InputError, MedsegError
from medseg.jobs.engine import HopelessError, PostponedError, Run
from medseg.jobs.job import Claim, Job
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.worker_name import worker_name

READY, FAILED = "ready", "failed"
"""What a worker tells its engine once: that it is loaded, or the reason why it cannot be."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LONGEST_WAIT_S = 0.5
"""A worker without work looks again after this time at the latest: another may have failed a job meanwhile."""


@dataclass(frozen=True, slots=True)
class WorkerOrders:
    """All that a worker needs to begin. `start` is a pickled StartWorker: it is unpacked after the threads are set."""

    queue: Path
    limits: Limits
    threads: int
    start: bytes
    stays: bool = False
    """Whether the worker waits for more when all jobs are settled."""


def work(orders: WorkerOrders, to_engine: Connection) -> None:
    """Run jobs until all are settled, SIGTERM comes, or the engine dies. The body of a worker process."""
    stop = _Stop()
    die_with_parent()
    # Libraries read these when they are imported, which unpacking `start` does.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(orders.threads)))
    try:
        run: Run = pickle.loads(orders.start)(orders.threads)  # noqa: S301 - written by our own engine
    except MedsegError as error:
        to_engine.send((FAILED, str(error)))
        return
    to_engine.send((READY, ""))
    name = worker_name(os.getpid())
    is_warm = False
    with Queue(orders.queue, orders.limits) as queue:
        while not stop.is_set:
            claim = queue.claim(name)
            if claim is not None:
                _run_one(queue, claim, run)
                if not is_warm:
                    _leave_uncollected()
                    is_warm = True
                continue
            due_s = queue.due_in_s()
            if due_s is None and not orders.stays:
                return
            time.sleep(_LONGEST_WAIT_S if due_s is None else min(max(due_s, 0.01), _LONGEST_WAIT_S))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job returned, or the reason why it was not done, and what becomes of it then."""

    result: JsonValue = None
    reason: str | None = None
    then: Literal["try again", "set aside", "wait"] = "try again"


def outcome_of(run: Run, job: Job) -> Outcome:
    """Run a job. What it raises is its failure, never the worker's."""
    try:
        return Outcome(run(job))
    except PostponedError as error:
        return Outcome(reason=str(error), then="wait")
    except HopelessError as error:
        return Outcome(reason=str(error), then="set aside")
    except MedsegError as error:
        return Outcome(reason=str(error))
    except MemoryError:
        return Outcome(reason="the memory did not suffice (MemoryError)")
    except Exception as error:  # noqa: BLE001 - whatever a job raises is recorded, and the others go on
        return Outcome(reason=f"{type(error).__name__}: {error}")


def record(queue: Queue, claim: Claim, outcome: Outcome) -> bool:
    """Write into the queue how a claimed job ended; False when the claim was lost."""
    if outcome.reason is None:
        return queue.finish(claim, outcome.result)
    if outcome.then == "wait":
        return queue.postpone(claim, outcome.reason)
    return queue.fail(claim, outcome.reason, is_final=outcome.then == "set aside")


def _run_one(queue: Queue, claim: Claim, run: Run) -> None:
    """Run a claimed job and record how it ended."""
    with _heartbeats(queue, claim):
        outcome = outcome_of(run, claim.job)
    record(queue, claim, outcome)


def _leave_uncollected() -> None:
    """Take what is loaded out of the garbage collector's sight; each of its full rounds walks all of it.

    With torch and a model these take 0.5 s, every other series.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _heartbeats(queue: Queue, claim: Claim) -> Iterator[None]:
    """Renew the claim four times a lease, in a thread of its own, while the block runs."""
    done = threading.Event()

    def beat() -> None:
        # A connection belongs to its thread; most jobs end before the first beat, and then none is opened.
        while not done.wait(queue.limits.lease_s / 4):
            with suppress(InputError), Queue(queue.path, queue.limits) as own:
                own.heartbeat(claim)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()


class _Stop:
    """Set by SIGTERM. Ctrl-C reaches every process of a terminal; a worker leaves it to its engine."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, lambda *_: self._set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _set(self) -> None:
        self.is_set = True


def die_with_parent() -> None:
    """End this process at once when the one that started it is gone, killed or not, so that it works for nobody."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
