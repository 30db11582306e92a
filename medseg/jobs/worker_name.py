"""Names of workers, by which the process of a claim is known: whether it lives, is gone, or is another machine's."""

from __future__ import annotations

import socket
from pathlib import Path


def worker_name(pid: int) -> str:
    """The name of this machine's process of that number; it tells a later process of the same number apart."""
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def is_gone(worker: str) -> bool:
    """Whether a worker of this machine is dead for certain; False for those of other machines."""
    host, _, pid = worker.rpartition(":")[0].rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and worker_name(int(pid)) != worker


def is_alive(worker: str) -> bool:
    """Whether a worker of this machine runs for certain; False for those of other machines."""
    rest, _, started = worker.rpartition(":")
    host, _, pid = rest.rpartition(":")
    return bool(started) and host == socket.gethostname() and pid.isdigit() and worker_name(int(pid)) == worker


def _started(pid: int) -> str:
    """When the process began, in ticks since the machine did; empty where the system does not tell or it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
