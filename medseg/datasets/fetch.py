"""The files of a data set from where its publisher keeps them, checked, into a data root."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import httpx

from medseg.core.atomic import clear_disk_errors
from medseg.core.errors import InputError
from medseg.datasets.download import Expected, Sleep, download
from medseg.datasets.layouts import file_sha256
from medseg.datasets.manifest import UNKNOWN, Archive, DataFile, Manifest
from medseg.datasets.unpack import unpack

OnFileBytes = Callable[[str, int, int | None], None]
"""Called with the name of the file, the bytes that are there, and its whole size, None where it is not known."""


def fetch(
    manifest: Manifest, client: httpx.Client, *, on_bytes: OnFileBytes | None = None, sleep: Sleep = time.sleep
) -> int:
    """Download what of the data set is not in place yet; how many files or archives were fetched.

    Files that are there with the right checksum are left alone. What broke off goes on where it stopped. Raises
    InputError when the manifest names no address for a direct download, or one of the downloads fails.
    """
    source = manifest.facts.source
    if source.files_url and manifest.rows:
        return _fetch_files(manifest, source.files_url, client, on_bytes, sleep)
    if source.archives:
        return _fetch_archives(manifest, client, on_bytes, sleep)
    where = f" Its page is {source.address}." if source.address else ""
    raise InputError(
        f"medseg cannot download {manifest.facts.name}: no address for a direct download is known. "
        f"{source.how_to_obtain or 'Get it by hand.'}{where} It belongs in {manifest.data_folder}."
    )


def _fetch_files(
    manifest: Manifest, files_url: str, client: httpx.Client, on_bytes: OnFileBytes | None, sleep: Sleep
) -> int:
    fetched = 0
    for file in _files(manifest):
        path = manifest.path(file)
        if path.is_file() and file.sha256 in (UNKNOWN, file_sha256(path)):
            continue
        expected = Expected(None if file.sha256 == UNKNOWN else file.sha256)
        _download(files_url + quote(file.path), path, client, expected, on_bytes, sleep)
        fetched += 1
    return fetched


def _fetch_archives(manifest: Manifest, client: httpx.Client, on_bytes: OnFileBytes | None, sleep: Sleep) -> int:
    """Fetch and unpack the archives; with one, the data folder is its content, with several, each has a folder."""
    archives = manifest.facts.source.archives
    folder = manifest.data_folder
    fetched = 0
    for archive in archives:
        name = _file_name(archive)
        target = folder if len(archives) == 1 else folder / name.split(".")[0]
        if target.is_dir() and any(target.iterdir()):
            continue
        packed = folder.with_name(f"{folder.name}.download") / name
        expected = Expected(None if archive.sha256 == UNKNOWN else archive.sha256, archive.md5)
        _download(archive.url, packed, client, expected, on_bytes, sleep)
        unpack(packed, target)
        with clear_disk_errors(packed):
            packed.unlink()
            if not any(packed.parent.iterdir()):
                packed.parent.rmdir()
        fetched += 1
    return fetched


def _download(
    url: str, path: Path, client: httpx.Client, expected: Expected, on_bytes: OnFileBytes | None, sleep: Sleep
) -> None:
    def told(there: int, total: int | None) -> None:
        if on_bytes:
            on_bytes(path.name, there, total)

    download(url, path, client, expected=expected, on_bytes=told, sleep=sleep)


def _files(manifest: Manifest) -> list[DataFile]:
    return [file for row in manifest.rows for file in row.files]


def _file_name(archive: Archive) -> str:
    name = PurePosixPath(httpx.URL(archive.url).path).name
    if not name:
        raise InputError(f"the address {archive.url} ends in no file name")
    return name
