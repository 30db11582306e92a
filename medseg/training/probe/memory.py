"""The most memory that a piece of work held: on a GPU by CUDA's own counters, else of this process, where Linux tells.

Of a process, what it allocated counts; program code and prepared cases mapped from disk do not, since the system can
drop and reread them. The system keeps no peak of that, so a thread looks every few milliseconds.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

import torch

INTERVAL_S = 0.005

_STATM = Path("/proc/self/statm")


class MemoryWatch:
    """Watches from its making on, until it is forgotten."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._changing = threading.Lock()  # a look that began before a restart must not end after it
        self._peak_bytes = allocated_bytes()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif self._peak_bytes is not None:
            threading.Thread(target=_look, args=(weakref.ref(self),), daemon=True).start()

    @property
    def peak_mb(self) -> float | None:
        """The peak so far in MB; None where the system does not tell."""
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_reserved(self._device)) / 1e6
        return None if self._peak_bytes is None else self._peak_bytes / 1e6

    def restart(self) -> None:
        """Begin anew with what is held now."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        with self._changing:
            self._peak_bytes = allocated_bytes()

    def look(self) -> None:
        """Take note of what is held now."""
        with self._changing:
            now = allocated_bytes()
            if now is not None and self._peak_bytes is not None:
                self._peak_bytes = max(self._peak_bytes, now)


def allocated_bytes() -> int | None:
    """What this process holds that no file stands behind; None where the system does not tell."""
    try:
        _, resident, of_files, *_ = _STATM.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(of_files)) * os.sysconf("SC_PAGE_SIZE")


def _look(watch: weakref.ref[MemoryWatch]) -> None:
    waiting = threading.Event()
    while (watched := watch()) is not None:
        watched.look()
        del watched  # or the watch would keep itself alive
        waiting.wait(INTERVAL_S)
