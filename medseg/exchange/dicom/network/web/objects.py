"""One DICOM object over DICOMweb: fetched by WADO-RS (PS3.18 10.4) or sent by STOW-RS (10.5), never held in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.elements import text
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.network.web.answers import Answer, items, said
from medseg.exchange.dicom.network.web.connection import Connection
from medseg.exchange.dicom.network.web.parts import CONTENT_TYPE, FileBody, boundary_of, save_parts

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_OUT_OF_SPACE = 0xA700
_REASONS = {
    0x0110: "it failed while working on it",
    0x0111: "it holds another object of that UID",
    0x0122: "it does not take objects of this kind",
    0x0124: "it does not allow it",
    0xA900: "the object does not match its kind",
    0xC000: "it does not understand the object",
}
"""FailureReason (0008,1197), PS3.18 10.5.3 and PS3.4 B.2.3."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that the archive lists; `was_there` where it needed not be sent."""

    study_uid: str
    series_uid: str
    sop_instance: str
    was_there: bool


def uids_of(file: Path) -> tuple[str, str, str]:
    """Study, series and object of a DICOM file. Raises InputError where one is missing."""
    header = read_dataset(file)
    uids = (text(header, "StudyInstanceUID"), text(header, "SeriesInstanceUID"), text(header, "SOPInstanceUID"))
    if not all(_UID.fullmatch(uid) for uid in uids):
        raise InputError(f"{file.name} lacks a UID of study, series or object, and cannot be stored")
    return uids


def received(connection: Connection, path: str, folder: Path, most_parts: int, most_bytes: int) -> Iterator[Path]:
    """The objects under a path of the service, each a file of a folder as soon as it is whole.

    Asks once, and raises what requests raises. Raises InputError where there are more objects or bytes than allowed.
    """
    url, headers = f"{connection.config.url}{path}", {"Accept": _ACCEPT}
    with connection.session.get(url, headers=headers, stream=True, timeout=connection.config.timeout_s) as response:
        response.raise_for_status()
        boundary = boundary_of(response.headers.get("Content-Type", ""))
        yield from save_parts(connection.stream(response), boundary, folder, most_parts, most_bytes)


class SeriesFolder:
    """Fills a folder with the objects of a series: all at once, and what is missing then one by one."""

    def __init__(
        self, connection: Connection, study_uid: str, series_uid: str, wanted: Sequence[str], folder: Path
    ) -> None:
        if not all(_UID.fullmatch(uid) for uid in (study_uid, series_uid, *wanted)):
            raise InputError("the archive lists an image whose UID is none")
        self._connection = connection
        self._path = f"/studies/{study_uid}/series/{series_uid}"
        self._places = {uid: folder / f"{number:05d}.dcm" for number, uid in enumerate(wanted, start=1)}
        self._folder = folder
        self._left = int(connection.config.most_gb * 1e9)
        self._missing = list(wanted)

    def fill(self, on_object: Callable[[int, int], None] | None = None) -> None:
        """Fetch what is wanted. Raises InputError where it is too much, or the archive sends something else."""
        with suppress(requests.RequestException):
            self._take(self._path, on_object)
        for uid in list(self._missing):
            self._connection.tried("send an image", partial(self._take, f"{self._path}/instances/{uid}", on_object))
            if uid in self._missing:
                raise InputError("the archive sent another image than the one that was asked for")

    def _take(self, path: str, on_object: Callable[[int, int], None] | None) -> None:
        most = self._connection.config.most_instances
        with TemporaryDirectory(dir=self._folder) as arriving:
            for file in received(self._connection, path, Path(arriving), most, self._left):
                uid = text(read_dataset(file), "SOPInstanceUID")
                if uid not in self._missing:
                    file.unlink()
                    continue
                self._left -= file.stat().st_size
                file.replace(self._places[uid])
                self._missing.remove(uid)
                if on_object:
                    on_object(len(self._places) - len(self._missing), len(self._places))


def send_object(connection: Connection, file: Path, study_uid: str) -> None:
    """Send one file to its study. Raises InputError where it is refused, UnreachableError where there is no space."""
    url = f"{connection.config.url}/studies/{study_uid}"
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"}

    def ask() -> requests.Response:
        timeout_s = connection.config.longest_s  # an archive may answer only once it has written all of it
        response = connection.session.post(url, data=FileBody(file), headers=headers, timeout=timeout_s)
        if response.status_code != 409:  # the answer tells more than the status: it names the reason
            response.raise_for_status()
        return response

    response = connection.tried("take an object", ask)
    for code in _failures(response):
        if code & 0xFF00 == _OUT_OF_SPACE:
            raise UnreachableError(f"the archive {connection.config.url} is out of space (0x{code:04X})")
        reason = (
            _REASONS.get(code) or _REASONS.get(code & 0xFF00) or _REASONS.get(code & 0xF000) or "it does not say why"
        )
        raise InputError(
            f"the archive {connection.config.url} refuses {file.name}: {reason} (0x{code:04X}). "
            "Let it accept this kind of object, or send it elsewhere."
        )
    if response.status_code == 409:
        raise InputError(f"the archive {connection.config.url} refuses {file.name} (HTTP 409) and does not say why")


def _failures(response: requests.Response) -> list[int]:
    """The reason of each object that was not stored, by the answer of the archive."""
    try:
        answer: object = response.json()
    except requests.exceptions.JSONDecodeError:
        return []
    found: Answer = answer if isinstance(answer, Mapping) else {}
    codes = [said(item, "FailureReason") for item in items(found, "FailedSOPSequence")]
    return [int(code) if code.isdigit() else 0 for code in codes]
