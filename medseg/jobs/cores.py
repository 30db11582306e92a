"""How many workers and threads: never more, multiplied, than there are cores to run them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError

_CONTAINER_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class CoreBudget:
    """Worker processes, and the threads that each may use."""

    workers: int
    threads: int


def share_cores(cores: int, workers: int | None = None, threads: int | None = None) -> CoreBudget:
    """The budget for so many cores: what is not asked for follows from the rest, one worker with all threads first.

    One worker holds one model, and its threads share the memory of one scan; more workers cost memory each and pay
    only where scans are small. Raises InputError when more is asked for than there are cores.
    """
    if cores < 1 or (workers is not None and workers < 1) or (threads is not None and threads < 1):
        raise InputError("a batch needs at least one core, one worker and one thread")
    if workers is None:
        workers = 1 if threads is None else max(1, cores // threads)
    if threads is None:
        threads = max(1, cores // workers)
    if workers * threads > cores:
        raise InputError(
            f"{workers} workers with {threads} threads each want {workers * threads} cores, and there are {cores}. "
            f"Ask for at most {max(1, cores // threads)} workers, or fewer threads."
        )
    return CoreBudget(workers, threads)


def usable_cores(quota_file: Path = _CONTAINER_QUOTA) -> int:
    """The cores that this process may use: those the system gives it, less where its container has a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or "max": no quota
        return cores
