"""Files and folders that appear whole or not at all: written beside their place, then renamed into it.

A kill at any moment leaves either the old content or the new, never half of it. A full disk or a folder that may not
be written becomes an InputError with a sentence.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.core.errors import InputError

_TEMPORARY_PREFIX = ".medseg-unfinished-"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path with the same suffixes beside `path`; it takes the place of `path` when the block ends well.

    Raises InputError when the folder cannot be written or the disk is full.
    """
    with _clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY_PREFIX, suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush_to_disk(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it becomes `path`, replacing an older one, when the block ends well.

    Raises InputError when the parent cannot be written or the disk is full.
    """
    with _clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=path.parent))
        try:
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _flush_to_disk(file)
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                retired = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=path.parent))
                path.replace(retired / path.name)
                temporary.replace(path)
                shutil.rmtree(retired)
            else:
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Whether a file or folder is what a killed writer left behind; readers skip these."""
    return path.name.startswith(_TEMPORARY_PREFIX)


@contextmanager
def _clear_disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"the disk is full: {path} was not written. Free some space and try again.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"{path} may not be written ({error.strerror}). Choose another output folder.") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise InputError(f"{path} cannot be written: a file stands where its folder should be.") from error
        raise


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
