"""A Ray cluster as an engine sees it: reached or not, and how many workers it has room for; asks before Ray waits."""

from __future__ import annotations

import os
import socket
from typing import Any

from medseg.core.errors import InputError
from medseg.core.extras import require_extra
from medseg.jobs.cores import usable_cores

_ANSWER_S = 5.0
"""How long a cluster's address may take to answer; Ray itself would wait for minutes, then end the process."""

_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How a client of HTTP/2, and so of gRPC, begins (RFC 9113, 3.4): the preface and empty settings."""

_SETTINGS = 4
"""The type of the frame with which the other side answers (RFC 9113, 6.5)."""


def connect(address: str | None) -> None:
    """Connect this process to the cluster at HOST:PORT, or to a new one on this machine alone where None.

    Raises InputError where Ray is missing, nothing answers there, or another version does.
    """
    require_extra("the engine ray", "ray", ["ray"])
    # Ray reads these when it is imported or started: it reports its use to its makers otherwise.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's announcement of a changed default
    # Workers of a Ray begun here run as those of the local engine do; Ray would give them what others leave.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        raise InputError("this process is connected to a Ray cluster already. Run one batch after the other.")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address is None:
        ray.init(address="local", num_cpus=usable_cores(), **quiet)  # "local": never one that runs here already
        return
    if problem := _problem(address):
        raise InputError(
            f"no Ray cluster answers at {address}: {problem}. Start one there with `ray start --head "
            "--disable-usage-stats`, and give its address as HOST:PORT (6379 is Ray's port)."
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (RuntimeError, ConnectionError, TimeoutError) as error:
        raise InputError(f"the Ray cluster at {address} could not be joined: {_first_line(error)}") from error


def disconnect() -> None:
    """Leave the cluster; one that `connect` began ends."""
    import ray

    ray.shutdown()


def alive_nodes() -> dict[str, dict[str, float]]:
    """What each node that is alive has in all, by its number: "CPU", "GPU" and others."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def places(nodes: dict[str, dict[str, float]], threads: int, gpus: int) -> int:
    """How many workers of so many threads and GPUs the nodes have room for, were nothing else running."""
    room = 0
    for has in nodes.values():
        by_cores = int(has.get("CPU", 0)) // threads
        room += min(by_cores, int(has.get("GPU", 0)) // gpus) if gpus else by_cores
    return room


def _problem(address: str) -> str | None:
    """Why no cluster can be behind an address; None where something answers as Ray's head does."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or "/" in host:
        return "that is not HOST:PORT"
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_S) as talk:
            talk.settimeout(_ANSWER_S)
            talk.sendall(_GREETING)
            frame = talk.recv(9)
    except TimeoutError:
        return f"it was silent for {_ANSWER_S:g} s"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    if len(frame) < 4 or frame[3] != _SETTINGS:
        return "what answers there is not Ray"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
