"""A file from the network, whole or not at all, that goes on after an interruption.

The bytes gather in a hidden file beside the target. What a later run finds there it asks the server to continue, and
only if the server says that the file has not changed since (If-Range with its ETag or date, RFC 9110 section 13.1.5);
a server that cannot continue is read from the start. The target appears when all bytes are there and the checksum fits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from medseg.core.atomic import clear_disk_errors, unfinished_path, whole_file
from medseg.core.errors import InputError

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole file, None where the server does not say."""

Sleep = Callable[[float], None]

TIMEOUT_S = 60.0
"""How long a server may stay silent; medical archives on slow disks answer late, but not later than this."""

_PAUSES_S = (1.0, 4.0)
"""Waits before the second and third attempt at a file that broke off."""

_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must hash to; None where nobody has published it."""

    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes of a file that are there, and what the server called the version that they belong to."""

    path: Path
    note: Path

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self, url: str) -> str | None:
        """The server's name of the version that was begun, None where these bytes cannot be continued from `url`."""
        if not self.path.is_file() or not self.note.is_file():
            return None
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None
        version = noted.get("version") if isinstance(noted, dict) and noted.get("url") == url else None
        return version if isinstance(version, str) else None

    def begin(self, url: str, version: str | None) -> None:
        """Empty the part and note the version; the old bytes go first, so that no kill joins two versions."""
        self.path.unlink(missing_ok=True)
        with whole_file(self.note) as unfinished:
            unfinished.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


class _BrokenOffError(Exception):
    """A download that may go better at the next attempt; its text says what happened."""


def download(
    url: str,
    target: Path,
    client: httpx.Client,
    *,
    expected: Expected | None = None,
    on_bytes: OnBytes | None = None,
    sleep: Sleep = time.sleep,
) -> None:
    """Write what `url` holds to `target`, whole and with the expected checksum, or not at all.

    Raises InputError when the address does not answer or refuses, the download breaks off three times, the checksum
    is another, or the disk is full. After a break the bytes stay for the next run; after a wrong checksum they go.
    """
    part = _Part(unfinished_path(target), unfinished_path(target).with_suffix(".json"))
    with clear_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for pause in (*_PAUSES_S, None):
            try:
                _attempt(url, part, client, on_bytes)
                break
            except _BrokenOffError as error:
                if pause is None:
                    raise InputError(
                        f"the download of {url} broke off after {_megabytes(part.size())}: {error}. "
                        "Run the same command again: it goes on from there."
                    ) from error
                sleep(pause)
        _require_expected(part, url, expected or Expected())
        with part.path.open("rb") as file:
            os.fsync(file.fileno())
        part.path.replace(target)
        part.note.unlink(missing_ok=True)


def _attempt(url: str, part: _Part, client: httpx.Client, on_bytes: OnBytes | None) -> None:
    """Fetch what is still missing. Raises _BrokenOffError when that is worth another attempt."""
    # A compressed transfer would make byte positions mean something else than positions in the file.
    headers = {"Accept-Encoding": "identity"}
    version = part.version(url)
    if version and part.size():
        headers |= {"Range": f"bytes={part.size()}-", "If-Range": version}
    try:
        with client.stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as answer:
            if answer.status_code == 416:
                _accept_whole_part(answer, part)
                return
            _require_success(answer, url)
            _receive(answer, url, part, on_bytes)
    except httpx.UnsupportedProtocol as error:
        raise InputError(f"{url} is no address to download from: {error}") from error
    except httpx.ConnectError as error:
        raise InputError(
            f"{httpx.URL(url).host} cannot be reached ({error}). Check the address and the network connection."
        ) from error
    except httpx.TransportError as error:
        raise _BrokenOffError(f"{error or type(error).__name__}") from error


def _accept_whole_part(answer: httpx.Response, part: _Part) -> None:
    """Take "range not satisfiable" for success when the part already has every byte; else the part is useless."""
    total = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    if total is None or int(total[1]) != part.size():
        part.discard()
        raise _BrokenOffError("the server's file is not the one that was begun")


def _require_success(answer: httpx.Response, url: str) -> None:
    status = answer.status_code
    if status in (200, 206):
        return
    said = f"{status} {answer.reason_phrase}".strip()
    if status in _PASSING_STATUS:
        raise _BrokenOffError(f"the server answered {said}")
    if status in (404, 410):
        raise InputError(
            f"there is no file at {url} ({said}). Its publisher may have moved it: look at the source page."
        )
    if status in (401, 403):
        raise InputError(f"{url} may not be downloaded without an account ({said}). Download it by hand.")
    raise InputError(f"{url} cannot be downloaded: the server answered {said}")


def _receive(answer: httpx.Response, url: str, part: _Part, on_bytes: OnBytes | None) -> None:
    """Append or write what the answer holds. Raises _BrokenOffError when it holds less than it promised."""
    continues = answer.status_code == 206
    if continues and _first_byte(answer) != part.size():
        part.discard()
        raise _BrokenOffError("the server continued at another byte than was asked")
    if not continues:
        part.begin(url, _version(answer))
    there = part.size()
    total = _total_bytes(answer, there)
    if total is not None:
        _require_space(part.path, total - there)
    with part.path.open("ab") as file:
        for chunk in answer.iter_raw():  # as they come: a collected chunk would be lost when the connection breaks
            file.write(chunk)
            there += len(chunk)
            if on_bytes:
                on_bytes(there, total)
    if total is not None and part.size() > total:  # two runs have written to it at once
        part.discard()
    if total is not None and part.size() != total:
        raise _BrokenOffError(f"{part.size()} of {total} bytes are there")


def _version(answer: httpx.Response) -> str | None:
    """The server's name of this version of the file that If-Range may carry: a strong ETag, else its date."""
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _first_byte(answer: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total_bytes(answer: httpx.Response, there: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return there + int(length) if length.isdigit() else None


def _require_space(path: Path, bytes_to_come: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if bytes_to_come > free:
        raise InputError(
            f"the disk is too full: {_megabytes(bytes_to_come)} are still to come and {_megabytes(free)} are free "
            f"at {path.parent}. Free some space, or choose another folder."
        )


def _require_expected(part: _Part, url: str, expected: Expected) -> None:
    for kind, wanted in (("sha256", expected.sha256), ("md5", expected.md5)):
        if wanted is None:
            continue
        with part.path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != wanted:
            part.discard()
            raise InputError(
                f"what {url} holds is not the file of the manifest: its {kind} is {found}, {wanted} is expected. "
                "Nothing was kept. Try again; if it stays so, the publisher has changed the file."
            )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
