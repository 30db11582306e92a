"""The most memory that this process held since a moment, where the system tells (Linux)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak_memory() -> None:
    """Begin to measure anew; nothing where the system does not offer it."""
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")  # 5 resets the high-water mark (man 5 proc_pid_clear_refs)


def peak_memory_mb() -> float | None:
    """The peak of resident memory in MB since `reset_peak_memory`; None where the system does not tell."""
    return _told("VmHWM:")


def resident_memory_mb() -> float | None:
    """The memory in MB that is resident now; None where the system does not tell."""
    return _told("VmRSS:")


def _told(field: str) -> float | None:
    with suppress(OSError, ValueError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None
