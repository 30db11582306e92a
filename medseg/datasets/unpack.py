"""An archive as a folder, whole or not at all, and never outside it."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError

_CHUNK_BYTES = 1 << 20
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""What Python raises for an archive that is cut off, damaged, encrypted, or packed in a way it does not know."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may unpack to.

    The largest public sets have some ten thousand files and 150 GB; an archive made to fill the disk knows no limit.
    """

    files: int = 200_000
    bytes: int = 500_000_000_000


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of an archive."""

    name: str
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Make `folder` of the files in a zip or tar; a single folder that holds everything is left out of their paths.

    Raises InputError, and leaves nothing behind, when the archive is damaged, a member would land outside the folder
    or is a link or a device, two members have the same place, or it unpacks to more than the limits.
    """
    with whole_folder(folder) as unfinished:
        try:
            _write_members(archive, unfinished, limits or Limits())
        except (*_BROKEN, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's; a decompressor's OSError, as bz2 raises, has no number
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
            raise InputError(f"{archive} is damaged or not an archive: {reason}. Download it again.") from error
        _lift_single_folder(unfinished)


def _write_members(archive: Path, folder: Path, limits: Limits) -> None:
    written = 0
    for count, member in enumerate(_members(archive), start=1):
        parts = _safe_parts(member.name, archive)
        if parts[0] == "__MACOSX" or parts[-1].startswith("._"):
            continue  # what a Mac adds to archives: twins of the files that hold no data
        if count > limits.files:
            raise InputError(f"{archive} holds more than {limits.files} files. It is not unpacked.")
        target = folder.joinpath(*parts)
        if target.exists():
            raise InputError(f"{archive} holds {member.name} twice. It is not unpacked.")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        if source is None:
            raise InputError(f"{archive} holds {member.name} without content. It is not unpacked.")
        with source, target.open("xb") as file:
            # Sizes that an archive declares may lie; only the bytes that come out are counted.
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > limits.bytes:
                    raise InputError(f"{archive} unpacks to more than {limits.bytes} bytes. It is not unpacked.")
                file.write(chunk)


def _members(archive: Path) -> Iterator[_Member]:
    """The files of the archive in its order; folders are made as files need them. Refuses links and devices."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if info.external_attr >> 28 == 0o12:  # the upper half holds the Unix mode; 0o12 marks a symbolic link
                    raise InputError(f"{archive} holds the link {info.filename}. It is not unpacked.")
                if not info.is_dir():
                    yield _Member(info.filename, partial(packed.open, info))
    else:
        with tarfile.open(archive) as packed_tar:
            for entry in packed_tar:
                if not (entry.isfile() or entry.isdir()):
                    raise InputError(f"{archive} holds {entry.name}, a link or a device. It is not unpacked.")
                if entry.isfile():
                    yield _Member(entry.name, partial(packed_tar.extractfile, entry))
            _require_end(packed_tar)


def _require_end(packed: tarfile.TarFile) -> None:
    """Raise ReadError when a tar stops without its end mark, or its compressed bytes do not fit their checksum.

    Python takes either for the end of the archive, and files would be missing or altered without a word.
    """
    stream = packed.fileobj
    if stream is None or stream.tell() == packed.offset:  # nothing was left to read where the end mark belongs
        raise tarfile.ReadError("it is cut off between two files")
    while stream.read(_CHUNK_BYTES):
        pass  # a decompressor compares its checksum when the last byte is read


def _safe_parts(name: str, archive: Path) -> tuple[str, ...]:
    """The parts of a member's path. Raises InputError for one that leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise InputError(f"{archive} holds a member that would land outside its folder: {name!r}. It is not unpacked.")
    return path.parts


def _lift_single_folder(folder: Path) -> None:
    """Take the files of a single top folder out of it, so that the data begins where the manifest says."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    top = entries[0].rename(folder / ".medseg-top")  # out of the way of a file inside that has the same name
    for entry in top.iterdir():
        entry.rename(folder / entry.name)
    top.rmdir()
