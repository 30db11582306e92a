"""The memory of a process and of all that it began, as this system tells it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

INTERVAL_S = 1.0
"""Asking for the share of a large process takes the kernel some milliseconds."""


def processes_below(root: int) -> list[int]:
    """A process, its children, and theirs."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def memory_mb(pid: int) -> float:
    """What of a process lies in memory, shared pages by its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


class PeakMemory:
    """The most that all processes below this one held together while the block ran, looked at every second."""

    def __enter__(self) -> PeakMemory:
        self.mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL_S):
            self.mb = max(self.mb, sum(memory_mb(pid) for pid in processes_below(os.getpid())[1:]))
