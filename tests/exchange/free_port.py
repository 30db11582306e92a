"""Ports for servers that are told theirs: none that another test, or the system on its own, gives away meanwhile."""

import itertools
import os
import socket

_FIRST, _SHARE = 20_000, 1_000
"""Below 32768, where Linux begins to give ports away; each process of a test run has a share of its own, and two
runs on one machine hardly begin at the same number."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw11").removeprefix("gw")) % 12
_numbers = (_FIRST + _worker * _SHARE + (os.getpid() + count) % _SHARE for count in itertools.count())


def free_port() -> int:
    """A port on loopback that nobody listens on, and that is not given away again for long."""
    for port in itertools.islice(_numbers, _SHARE):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("every port of this process's share is taken")
