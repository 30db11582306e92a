"""Processes that write into one folder know of each other, so that what killed ones left is removed by nobody too soon.

Each holds a shared lock of one file for as long as it is at work. The system lets go of it when the process ends, even
by kill -9, so that no lock outlives its holder. Who gets the lock alone knows that nobody else is at work.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medseg.core.atomic import clear_disk_errors


class Presence:
    """That this process is at work in a folder; others that ask whether they are alone there learn of it."""

    def __init__(self, lock: IO[str]) -> None:
        self._lock = lock

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """For the block: whether nobody else is at work here. While it is True, nobody can begin.

        False too where the file system knows no locks: it cannot be told then.
        """
        is_alone = _locked(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_alone:  # the attempt may have cost the shared lock (flock(2))
            _locked(self._lock, fcntl.LOCK_SH)
        try:
            yield is_alone
        finally:
            _locked(self._lock, fcntl.LOCK_SH)


@contextmanager
def present(path: Path) -> Iterator[Presence]:
    """Be at work, for the block, in the folder whose lock is the file `path`, which stays; waits while one is alone.

    Raises InputError where the file cannot be written.
    """
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a", encoding="utf-8")
    with lock:
        _locked(lock, fcntl.LOCK_SH)
        yield Presence(lock)


def _locked(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how)
    except OSError:
        return False
    return True
