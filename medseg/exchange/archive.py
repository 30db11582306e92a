"""Zip and tar archives, unpacked into a temporary folder under caps on size, ratio and count.

Names in an archive are never used as paths: files are written under a counter and the harmless part of their name.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from medseg.core.errors import InputError

MOST_FILES = 100_000
MOST_BYTES = 8 << 30
MOST_RATIO = 250
"""Images expand by 2 to 20; an archive that expands by more than this is a bomb ..."""
RATIO_COUNTS_FROM_BYTES = 64 << 20
"""... unless all of it is small: a made image of constant voxels may expand a thousand times and hurts nobody."""

_CHUNK_BYTES = 1 << 20
_ENCRYPTED_FLAG = 0x1
_UNIX_LINK, _UNIX_KIND_MASK = 0o120000, 0o170000


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    member: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    """Whether the file is a zip or a tar (plain or compressed) by its content; one that is cut off at once is none."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except (EOFError, zlib.error):  # a compressed file that ends too early, which tarfile lets through
        return False


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the files of an archive, removed when the block ends.

    Raises InputError for an archive that is damaged, encrypted, too large, or holds links or names outside itself.
    """
    with tempfile.TemporaryDirectory(prefix="medseg-archive-") as name:
        folder = Path(name)
        try:
            if zipfile.is_zipfile(path):
                _unpack_zip(path, folder)
            else:
                _unpack_tar(path, folder)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path} is damaged: {error}. Copy or download the archive again.") from error
        yield folder


def _unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = []
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & _ENCRYPTED_FLAG:
                raise InputError(f"{path} is encrypted. Unpack it with its password and give the folder.")
            if (info.external_attr >> 16) & _UNIX_KIND_MASK == _UNIX_LINK:
                raise InputError(f"{path} holds the link {info.filename!r}; archives with links are not unpacked")
            entries.append(_Entry(info.filename, info.file_size, info))
        budget = _Budget(path)
        for number, entry in enumerate(_checked(entries, path)):
            with archive.open(entry.name if isinstance(entry.member, tarfile.TarInfo) else entry.member) as source:
                budget.copy(source, folder / _safe_name(number, entry.name))


def _unpack_tar(path: Path, folder: Path) -> None:
    budget = _Budget(path)
    number = 0
    with tarfile.open(path, mode="r:*") as archive:
        for member in archive:  # one at a time: a bomb must not be read through for its list of names
            if member.isdir():
                continue
            if not member.isreg():
                raise InputError(
                    f"{path} holds {member.name!r}, which is a link or a device; archives with links are not unpacked"
                )
            if not _checked([_Entry(member.name, member.size, member)], path):
                continue
            source = archive.extractfile(member)
            if source is not None:
                budget.copy(source, folder / _safe_name(number, member.name))
                number += 1


def _checked(entries: list[_Entry], path: Path) -> list[_Entry]:
    """The entries worth unpacking, after their names and promised sizes have been checked."""
    for entry in entries:
        parts = PurePosixPath(entry.name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or re.match(r"^[A-Za-z]:", entry.name):
            raise InputError(
                f"{path} holds the name {entry.name!r}, which points outside the archive; it is not unpacked"
            )
    promised = sum(entry.size for entry in entries)
    if promised > MOST_BYTES:
        raise InputError(
            f"{path} would unpack to {promised / 2**30:.1f} GiB; at most {MOST_BYTES / 2**30:.0f} GiB are unpacked. "
            "Unpack it by hand and give the folder."
        )
    return [entry for entry in entries if not _is_junk(entry.name)]


class _Budget:
    """What may still be unpacked; counts real bytes, since the sizes an archive promises may lie."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed_bytes = max(1, path.stat().st_size)
        self._bytes = 0
        self._files = 0

    def copy(self, source: IO[bytes], target: Path) -> None:
        self._files += 1
        if self._files > MOST_FILES:
            raise InputError(f"{self._path} holds more than {MOST_FILES} files. Give the folder of one series.")
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                self._bytes += len(chunk)
                self._require_sane()
                file.write(chunk)

    def _require_sane(self) -> None:
        if self._bytes > MOST_BYTES:
            raise InputError(f"{self._path} unpacks to more than {MOST_BYTES / 2**30:.0f} GiB and was stopped")
        if self._bytes > RATIO_COUNTS_FROM_BYTES and self._bytes > MOST_RATIO * self._packed_bytes:
            raise InputError(
                f"{self._path} unpacks to more than {MOST_RATIO} times its size and was stopped: no scan does that. "
                "If you trust it, unpack it by hand and give the folder."
            )


def _is_junk(name: str) -> bool:
    """Whether an entry is what desktops add to archives (resource forks, thumbnails)."""
    parts = PurePosixPath(name).parts
    return not parts or "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in ("Thumbs.db", "desktop.ini")


def _safe_name(number: int, name: str) -> str:
    harmless = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(name.replace("\\", "/")).name)[-60:]
    return f"{number:06d}-{harmless}"
