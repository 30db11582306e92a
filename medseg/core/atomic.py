"""Files and folders that appear whole or not at all: written beside their place, then renamed into it.

A kill at any moment leaves either the old content or the new, never half of it. (Where the system cannot make two
folders change places in one step, a kill between two renames can leave a replaced folder under a hidden name.) A full
disk or a folder that may not be written becomes an InputError with a sentence.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from uuid import uuid4

from medseg.core.errors import InputError

UNFINISHED_PREFIX = ".medseg-unfinished-"
"""What a file or folder that is being written is called by; a killed writer leaves it."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path with the same suffixes beside `path`; it takes the place of `path` when the block ends well.

    Raises InputError when the folder cannot be written or the disk is full.
    """
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix keeps the last part of the name, since writers choose a format by it; a name may have 255 bytes.
        temporary = path.parent / f"{UNFINISHED_PREFIX}{uuid4().hex[:12]}-{path.name[-60:]}"
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it becomes `path`, replacing an older one, when the block ends well.

    Raises InputError when the parent cannot be written or the disk is full.
    """
    with clear_disk_errors(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{UNFINISHED_PREFIX}{uuid4().hex[:12]}"
        temporary.mkdir()
        try:
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _flush_to_disk(file)
            if not _took_free_place(temporary, path) and not _exchanged(temporary, path):
                _replace_in_two_steps(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Raise InputError where a file or folder could not be made at `path`; leaves nothing there.

    For asking before long work: what the disk refuses later is told by `whole_file` and `whole_folder`.
    """
    with clear_disk_errors(path):
        existing = path.parent
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=existing)).rmdir()


def require_output_folder(folder: Path, own: str) -> None:
    """Raise InputError where no folder can be made at `folder`, or other files stand there: none is overwritten.

    `own` is the file by which an earlier output of the same kind is known; that may be replaced.
    """
    require_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; the output is a folder. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / own).is_file():
        raise InputError(f"{folder} holds other files and will not be overwritten. Choose a new or an empty folder.")


def unfinished_path(path: Path) -> Path:
    """Where the first part of `path` waits for the rest, so that a download can go on after a kill."""
    return path.with_name(f"{UNFINISHED_PREFIX}{path.name[-200:]}.part")


def discard_unfinished(path: Path) -> None:
    """Remove what killed writers of this very file left beside it. Only where nobody else may be writing it now."""
    for left in path.parent.glob(f"{UNFINISHED_PREFIX}*-{escape(path.name[-60:])}"):
        left.unlink(missing_ok=True)


def discard_all_unfinished(folder: Path, *, untouched_s: float = 0.0) -> None:
    """Remove what killed writers left in a folder, and nobody has touched for `untouched_s`.

    Without a time only where nobody may be writing into it now.
    """
    for left in folder.glob(f"{UNFINISHED_PREFIX}*"):
        if untouched_s > 0 and _touched_since(left, time.time() - untouched_s):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _touched_since(path: Path, then_s: float) -> bool:
    """Whether a file was written to after a time; one that is gone counts as touched."""
    try:
        return path.stat().st_mtime > then_s
    except FileNotFoundError:
        return True


def discard_folder(folder: Path) -> None:
    """Remove a folder; a kill leaves all of it, or only what `discard_all_unfinished` clears from beside it.

    Needs no room on the disk. Raises OSError where it may not be removed.
    """
    retired = folder.parent / f"{UNFINISHED_PREFIX}{uuid4().hex[:12]}"
    with suppress(FileNotFoundError):  # somebody else has removed it
        folder.rename(retired)
    shutil.rmtree(retired, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Whether a file or folder is what a killed writer left behind; readers skip these."""
    return path.name.startswith(UNFINISHED_PREFIX)


@contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while `path` is written into an InputError with a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"the disk is full: {path} was not written. Free some space and try again.") from error
        if error.errno == errno.EFBIG:
            raise InputError(
                f"{path} was not written: it would be larger than the file system or a limit (ulimit -f) allows. "
                "Choose another output folder, or raise the limit."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"{path} may not be written ({error.strerror}). Choose another output folder.") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise InputError(f"{path} cannot be written: a file stands where its folder should be.") from error
        if error.errno == errno.EISDIR:
            raise InputError(f"{path} cannot be written: a folder of that name stands there.") from error
        if error.errno == errno.ENOENT and str(error.filename or "").startswith(str(path.parent)):
            raise InputError(
                f"{path} cannot be written: its folder cannot be made there, or was removed meanwhile. "
                "Choose another output folder."
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{path} cannot be written: its name is longer than the file system allows.") from error
        raise


def _took_free_place(unfinished: Path, path: Path) -> bool:
    """Whether the folder was moved to `path`; False where one stands there, perhaps of another writer this moment."""
    if path.exists():
        return False
    try:
        unfinished.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _exchanged(unfinished: Path, path: Path) -> bool:
    """Whether two folders could change places in one step, so that no kill leaves `path` missing; Linux can."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    current_folder, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux; Python names neither
    return bool(renameat2(current_folder, os.fsencode(unfinished), current_folder, os.fsencode(path), exchange) == 0)


def _replace_in_two_steps(unfinished: Path, path: Path) -> None:
    """Move the old folder aside and the new one in; only a kill between the two leaves it aside."""
    retired = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=path.parent)) / path.name
    path.replace(retired)
    try:
        unfinished.replace(path)
    except OSError:
        retired.replace(path)
        raise
    finally:
        shutil.rmtree(retired.parent, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
