"""Take in scans that someone handed over: files, or an archive of them, sorted into what can be opened and what cannot.

INTO/NAME/
  1_axial/ 2_thin/   the images of a DICOM series each
  scan.nii.gz        any other image, as it came
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from medseg.core.atomic import clear_disk_errors, whole_folder
from medseg.core.errors import InputError, MedsegError
from medseg.exchange import archive
from medseg.exchange.dicom.contents import NO_DICOM, SeriesFiles, contents_of
from medseg.exchange.read import read_scan
from medseg.workflows.progress import Progress, silent

MOST_REASONS = 5
"""Reasons that an error lists when nothing could be used."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The folder of what can be opened, relative names of it, and why the rest cannot be."""

    folder: Path
    scans: tuple[str, ...]
    refused: tuple[str, ...]


def take_in_scans(arrived: Path, into: Path, name: str, progress: Progress = silent) -> TakenIn:
    """The scans among the files in `arrived`, each read whole once, moved into a new folder below `into`.

    `progress` hears how many files were looked at, then how many images were read; what it raises ends the work.
    Archives are unpacked, as far as a scan goes. Raises InputError where none of the files is a scan that can be shown,
    or an archive is damaged or a bomb; then nothing is kept.
    """
    with (
        _reserved(into, folder_name(stem_of(Path(name)))) as target,
        whole_folder(target) as unfinished,
        ExitStack() as archives,
    ):
        scans: list[str] = []
        refused: list[str] = []
        for source in (arrived, *_unpacked(arrived, archives)):
            _sort(source, unfinished, scans, refused, progress)
        if not scans:
            reasons = " ".join(refused[:MOST_REASONS]) or "No file arrived."
            raise InputError(f"nothing that was sent can be shown. {reasons}")
    return TakenIn(target, tuple(scans), tuple(refused))


def folder_name(text: str) -> str:
    """The text as a folder's name: no slashes, nothing hidden, not too long."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:80] or "scan"


def stem_of(path: Path) -> str:
    """The name of a scan's file or folder without what says its format."""
    return re.sub(r"(\.(nii|nrrd|mha|mhd|zip|tar|tgz|dcm|gz))+$", "", path.name, flags=re.IGNORECASE)


@contextmanager
def _reserved(into: Path, name: str) -> Iterator[Path]:
    """A new empty folder of that name, or of the next that is free, which nobody else gets; gone where the block fails.

    Raises InputError where it cannot be made.
    """
    with clear_disk_errors(into / name):
        into.mkdir(parents=True, exist_ok=True)
        folder = next(path for path in _numbered(into, name) if _made(path))
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _unused(into: Path, name: str) -> Path:
    return next(path for path in _numbered(into, name) if not path.exists())


def _numbered(into: Path, name: str) -> Iterator[Path]:
    yield into / name
    yield from (into / f"{name}_{number}" for number in count(2))


def _unpacked(arrived: Path, archives: ExitStack) -> list[Path]:
    """Folders with the contents of the archives that arrived; the archives themselves are removed."""
    folders = []
    for path in sorted(arrived.rglob("*")):
        if path.is_file() and archive.is_archive(path):
            folders.append(archives.enter_context(archive.unpacked(path)))
            path.unlink()
    return folders


def _sort(source: Path, target: Path, scans: list[str], refused: list[str], progress: Progress) -> None:
    contents = contents_of(source, partial(progress, "sorting"))
    refused += [f"{path.name}: {reason}." for path, reason in contents.damaged]
    refused += [f"{path.name}: {reason}." for path, reason in contents.passed_over if reason != NO_DICOM]
    others = [path for path, reason in contents.passed_over if reason == NO_DICOM]
    total, done = sum(len(series.images) for series in contents.series) + len(others), 0
    for series in contents.series:
        progress("reading", done, total, series.label)
        _take_series(series, target, scans, refused)
        done += len(series.images)
    for path in others:
        progress("reading", done, total, path.name)
        _take_file(path, target, scans, refused)
        done += 1
    progress("reading", done, total)


def _take_series(series: SeriesFiles, target: Path, scans: list[str], refused: list[str]) -> None:
    name = _unused(target, folder_name(f"{series.number}_{series.description or series.modality}")).name
    folder = target / name
    folder.mkdir()
    for number, image in enumerate(series.images):
        shutil.copyfile(image.path, folder / f"{number:05}.dcm")
    if _is_readable(folder, series.label, refused):
        scans.append(name)
    else:
        shutil.rmtree(folder)


def _take_file(path: Path, target: Path, scans: list[str], refused: list[str]) -> None:
    copy = _unused(target, folder_name(path.name))
    shutil.copyfile(path, copy)
    if _is_readable(copy, path.name, refused):
        scans.append(copy.name)
    else:
        copy.unlink()


def _is_readable(path: Path, called: str, refused: list[str]) -> bool:
    try:
        read_scan(path)
    except MedsegError as error:
        refused.append(f"{called}: {error}".replace(str(path), called))
        return False
    return True
