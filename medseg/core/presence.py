"""Processes that write into one folder know of each other, so that none removes or replaces what another is writing.

Several may be at work there (`present`), only one at a time (`held`), or only one at all (`only_one`). Each holds the
lock of a file for as long as it is at work. The system lets go of it when the process ends, even by kill -9, so that no
lock outlives its holder.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from medseg.core.atomic import clear_disk_errors
from medseg.core.errors import InputError


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
    with _opened(path) as lock:
        _locked(lock, fcntl.LOCK_SH)
        yield Presence(lock)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only one at work, for the block, in what the file `path`, which stays, is the lock of; waits for others.

    Raises InputError where the file cannot be written.
    """
    with _opened(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def only_one(path: Path, taken: str, mend: str) -> Iterator[None]:
    """Be the only one at work, for the block, in the folder of the file `path`.

    The file is removed at the end, and its folder where that is new and nothing was put there. Raises InputError where
    another is at work: that it is `taken`, by which process, and how to `mend` that; or the file cannot be written.
    Nobody is refused where the file system knows no locks.
    """
    is_new = not path.parent.exists()
    with _taken(path, taken, mend) as lock:
        try:
            with clear_disk_errors(path):
                path.write_text(f"process {os.getpid()} of {socket.gethostname()}", encoding="utf-8")
            yield
        finally:
            if _is_at(lock, path):
                path.unlink()
            if is_new:
                with suppress(OSError):  # it holds something
                    path.parent.rmdir()


def _taken(path: Path, taken: str, mend: str) -> IO[str]:
    """The file, opened, its lock held by nobody else."""
    while True:
        lock = _opened(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with lock:
                holder = lock.read()
            raise InputError(f"{taken}{f' ({holder})' if holder else ''}. {mend}") from None
        except OSError:
            return lock
        if _is_at(lock, path):
            return lock
        lock.close()  # the last holder has removed it meanwhile


def _opened(path: Path) -> IO[str]:
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="utf-8")
        lock.seek(0)
    return lock


def _is_at(lock: IO[str], path: Path) -> bool:
    """Whether the file is still the one at the path: a lock of one that was removed keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except OSError:
        return False


def _locked(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how)
    except OSError:
        return False
    return True
