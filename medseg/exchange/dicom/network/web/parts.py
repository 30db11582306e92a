"""The multipart/related bodies of DICOMweb (PS3.18 8.6), read and written without holding an object in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from medseg.core.errors import InputError

BOUNDARY = "medseg-0b5f2f6a9d1c4e7f"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'

_HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
_CHUNK_BYTES = 1 << 20
_LONGEST_HEAD = 16 << 10
_END_OF_HEAD = b"\r\n\r\n"


class FileBody:
    """A DICOM file as the body of a request: its length is known, its bytes are read as they are sent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return len(_HEAD) + self._path.stat().st_size + len(_TAIL)

    def __iter__(self) -> Iterator[bytes]:
        yield _HEAD
        with self._path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                yield piece
        yield _TAIL


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a multipart content type names; None where the body is no multipart."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    if kind.lower() != "multipart/related":
        return None
    named = [value for name, _, value in (part.partition("=") for part in parameters) if name.lower() == "boundary"]
    if not named or not named[0].strip('"'):
        raise InputError("the archive sent several parts without saying what parts them")
    return named[0].strip('"').encode()


def save_parts(
    pieces: Iterable[bytes], boundary: bytes | None, folder: Path, most_parts: int, most_bytes: int
) -> Iterator[Path]:
    """Write each part of a body to a file of its own, 00001.dcm and so on; the paths, each once it is whole.

    A body without a boundary is one object. Raises InputError above `most_parts` or `most_bytes` in all, and where the
    body ends in the middle of a part.
    """
    splitter = _Splitter(boundary)
    received = number = 0
    file = None
    try:
        for piece in pieces:
            received += len(piece)
            if received > most_bytes:
                raise InputError(f"there are more than {most_bytes / 1e6:.0f} MB, which is what is allowed")
            for data, is_end in splitter.feed(piece):
                if file is None:
                    number += 1
                    if number > most_parts:
                        raise InputError(f"there are more than {most_parts} objects, which is what was listed")
                    file = (folder / f"{number:05d}.dcm").open("wb")
                file.write(data)
                if is_end:
                    file.close()
                    yield Path(file.name)
                    file = None
        if boundary is None and file is not None:
            file.close()
            yield Path(file.name)
        elif file is not None or not splitter.is_over:
            raise InputError("the archive sent a body that was cut off")
    finally:
        if file is not None and not file.closed:
            file.close()
            Path(file.name).unlink()


class _Splitter:
    """Takes a multipart body in pieces of any size, and gives the bytes of its parts, and where each ends."""

    def __init__(self, boundary: bytes | None) -> None:
        self._delimiter = None if boundary is None else b"\r\n--" + boundary
        self._held = bytearray(b"\r\n")  # so that the first delimiter begins like the others
        self._is_in_head = self._is_in_part = False
        self.is_over = False

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bool]]:
        """What is certain after one more piece: bytes of a part, and whether it ends with them."""
        if self._delimiter is None:
            yield piece, False
            return
        self._held += piece
        while not self.is_over and (self._head_ended() if self._is_in_head else True):
            at = self._held.find(self._delimiter)
            if at < 0:
                certain = max(0, len(self._held) - len(self._delimiter) + 1)
                if self._is_in_part and certain:
                    yield bytes(self._held[:certain]), False
                    del self._held[:certain]
                return
            if self._is_in_part:
                yield bytes(self._held[:at]), True
            del self._held[: at + len(self._delimiter)]
            self._is_in_head, self._is_in_part = True, False

    def _head_ended(self) -> bool:
        """Whether the head of a part is over and its bytes begin, or the body is."""
        if self._held.startswith(b"--"):
            self.is_over = True
            return False
        ends = self._held.find(_END_OF_HEAD)
        if ends < 0:
            if len(self._held) > _LONGEST_HEAD:
                raise InputError("the archive sent a part whose head has no end")
            return False
        del self._held[: ends + len(_END_OF_HEAD)]
        self._is_in_head, self._is_in_part = False, True
        return True
