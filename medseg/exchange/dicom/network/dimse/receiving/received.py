"""Which received series are whole: by the archive's count where it is asked, else by silence and the reader's check.

A quiet time alone is not completeness: a sender may pause, or break off. So a series is whole when nothing more came
for `quiet_s`, no association is open on it, none that was broken off is left unmended, it has as many images as the
archive says, and its slices have no gap. One that does not become whole within `patience_s` is set aside, with the
reason. Nothing is lost by a kill: all that is known stands in the spool's folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import read_dataset
from medseg.exchange.dicom.network.dimse.receiving.spool import BROKEN, OPEN

REASON = "reason.txt"

_CHECKED = "checked"
"""Where a series lies for the moment between leaving the arrivals and being taken."""

_HOUR_S = 3600.0

Count = Callable[[str, str], int | None]
"""How many images the archive has of a study's series; None where it does not say."""


@dataclass(frozen=True, slots=True)
class ReceivedSeries:
    """A series that was taken out of the arrivals: whole where `reason` is empty, else set aside for that reason."""

    key: str
    folder: Path
    images: int
    study_uid: str
    series_uid: str
    modality: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: for more images after the last one, and for a series to become whole."""

    quiet_s: float = 30.0
    patience_s: float = 900.0


@dataclass(slots=True)
class Sweep:
    """What one look at the spool found."""

    complete: list[ReceivedSeries] = field(default_factory=list)
    incomplete: list[ReceivedSeries] = field(default_factory=list)
    waiting: int = 0
    sent_again: int = 0


class ReceivedFolder:
    """The reader's side of the spool: takes whole series out of it; one process at a time.

    `count` asks an archive; `gap` says why the images in a folder make no volume, empty where they do.
    """

    def __init__(
        self,
        spool: Path,
        gap: Callable[[Path], str],
        patience: Patience | None = None,
        count: Count | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._gap = gap
        self._patience = patience or Patience()
        self._count = count
        self._clock = clock
        self._gaps: dict[str, tuple[float, str]] = {}
        self._discarded_s: float | None = None

    def sweep(self) -> Sweep:
        """Take what is whole or will not become it; what was done before and is sent again goes without a trace."""
        found = Sweep()
        for left in (self._spool / _CHECKED).glob("*"):
            self._put_back(left)
        for folder in sorted((self._spool / "series").glob("*")):
            if self._was_taken(folder):
                found.sent_again += 1
                continue
            there = _names(folder)
            reason = self._missing(folder)
            is_over = not reason or self._silent_s(folder) > self._patience.patience_s
            taken = self._take(folder, there, reason) if is_over else None
            if taken is None:
                found.waiting += 1
            else:
                (found.incomplete if reason else found.complete).append(taken)
        return found

    def complete(self) -> tuple[ReceivedSeries, ...]:
        """Whole series that were taken and are not yet done with, those of before a restart too."""
        return tuple(_described(folder) for folder in sorted((self._spool / "complete").glob("*")))

    def incomplete(self) -> tuple[ReceivedSeries, ...]:
        """Series that were set aside, with the reasons."""
        return tuple(_described(folder) for folder in sorted((self._spool / "incomplete").glob("*")))

    def release(self, key: str) -> int:
        """Take series that were set aside as whole after all; how many there were."""
        chosen = [one for one in self.incomplete() if one.key == key]
        for one in chosen:  # moved first: nothing that is set aside is ever without its reason
            (_moved(one.folder, self._spool / "complete", key) / REASON).unlink(missing_ok=True)
        return len(chosen)

    def done(self, series: ReceivedSeries) -> None:
        """Remove a series that is done with. What it consisted of stays known, so that it is not done twice."""
        shutil.rmtree(series.folder, ignore_errors=True)

    def discard_older(self, seconds: float) -> tuple[str, ...]:
        """Remove what was set aside so long ago, and forget what was taken then; the keys of what was set aside.

        Looks at most once an hour. An image of a forgotten series that comes again begins a series anew.
        """
        now = self._clock()
        if self._discarded_s is not None and now - self._discarded_s < _HOUR_S:
            return ()
        self._discarded_s = now
        for record in (self._spool / "taken").glob("*.json"):
            if self._has_age(record, seconds):
                record.unlink(missing_ok=True)
        old = [one for one in self.incomplete() if self._has_age(one.folder / REASON, seconds)]
        for one in old:
            shutil.rmtree(one.folder, ignore_errors=True)
        return tuple(one.key for one in old)

    def _has_age(self, file: Path, seconds: float) -> bool:
        """Whether a file is older than that; False where somebody has just moved or replaced it."""
        try:
            return self._clock() - file.stat().st_mtime > seconds
        except FileNotFoundError:
            return False

    def _missing(self, folder: Path) -> str:
        """Why a series is not whole (yet); empty where it is."""
        images = _images(folder)
        if not images:
            return "no image of it could be kept: the disk was full, or they could not be read"
        if any(folder.glob(f"{OPEN}*")):
            return "its sender stopped in the middle, without closing the association"
        if any(folder.glob(f"{BROKEN}*")):
            return f"its sender broke off after {len(images)} images. Send the series again."
        if self._silent_s(folder) < self._patience.quiet_s:
            return f"images came within the last {self._patience.quiet_s:g} s"
        series = _described(folder)
        expected = None if self._count is None else self._count(series.study_uid, series.series_uid)
        if expected is not None and expected != len(images):
            return f"it has {len(images)} images, the archive has {expected}. Send the series again."
        if not set(self._taken(folder.name)) <= {path.name for path in images}:
            return "these images belong to a series that was taken before. Send the whole series again."
        return self._gap_of(folder)

    def _gap_of(self, folder: Path) -> str:
        """What `gap` says, asked once as long as nothing more comes."""
        changed_s = _last_change_s(folder)
        if self._gaps.get(folder.name, (None, ""))[0] != changed_s:
            self._gaps[folder.name] = (changed_s, self._gap(folder))
        return self._gaps[folder.name][1]

    def _silent_s(self, folder: Path) -> float:
        """Seconds since something came; a clock that was set back counts as silence."""
        return abs(self._clock() - _last_change_s(folder))

    def _take(self, folder: Path, there: frozenset[str], reason: str) -> ReceivedSeries | None:
        """Take a series out of the arrivals; None where more of it came than was `there` when it was looked at."""
        checked = self._out_of_arrivals(folder, there)
        if checked is None:
            return None
        if reason:
            (checked / REASON).write_text(reason)
        moved = _moved(checked, self._spool / ("incomplete" if reason else "complete"), folder.name)
        self._gaps.pop(folder.name, None)
        for mark in (*moved.glob(f"{OPEN}*"), *moved.glob(f"{BROKEN}*")):
            mark.unlink(missing_ok=True)
        if not reason:
            self._remember(moved, folder.name)
        return _described(moved)

    def _out_of_arrivals(self, folder: Path, there: frozenset[str]) -> Path | None:
        """The folder of a series where the listener adds nothing to it; None where more than was `there` came."""
        if _names(folder) != there:
            return None
        checked = _moved(folder, self._spool / _CHECKED, folder.name)
        if _names(checked) == there:
            return checked
        self._put_back(checked)  # it came in that very moment
        return None

    def _put_back(self, checked: Path) -> None:
        """Let a series that was being taken go on arriving."""
        folder = self._spool / "series" / checked.name.rpartition("-")[0]
        folder.mkdir(exist_ok=True)  # where the listener has not begun it anew
        for file in checked.iterdir():
            if (folder / file.name).exists():
                file.unlink()  # it was sent again
            else:
                file.rename(folder / file.name)
        checked.rmdir()

    def _was_taken(self, folder: Path) -> bool:
        """Whether all these images were taken before, byte for byte, and nothing more comes; then they are removed."""
        there = _names(folder)
        is_open = any(folder.glob(f"{OPEN}*")) or self._silent_s(folder) < self._patience.quiet_s
        taken = self._taken(folder.name)
        if is_open or not taken:
            return False
        if any(taken.get(path.name) != _sha256(path) for path in _images(folder)):
            return False
        checked = self._out_of_arrivals(folder, there)
        if checked is None:
            return False
        shutil.rmtree(checked, ignore_errors=True)
        return True

    def _taken(self, key: str) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads((self._spool / "taken" / f"{key}.json").read_text())
        except FileNotFoundError:
            return {}
        return known

    def _remember(self, folder: Path, key: str) -> None:
        with whole_file(self._spool / "taken" / f"{key}.json") as unfinished:
            unfinished.write_text(json.dumps({path.name: _sha256(path) for path in _images(folder)}))


def gap_of(folder: Path) -> str:
    """Why the images in a folder make no volume, by their headers alone; empty where every series in it makes one."""
    from medseg.exchange.dicom.scan import inspect

    volumes = [volume for series in inspect(folder).series for volume in series.volumes]
    refused = [volume.reason for volume in volumes if volume.outcome == "refused"]
    return "" if volumes and not refused else "; ".join(refused) or "it holds no image"


def _described(folder: Path) -> ReceivedSeries:
    images = _images(folder)
    try:
        with lenient():
            header = read_dataset(images[0])
            uids = [text(header, keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality")]
    except (InputError, IndexError):
        uids = ["", "", ""]
    reason = folder / REASON
    said = reason.read_text() if reason.exists() else ""
    return ReceivedSeries(folder.name.partition("-")[0], folder, len(images), uids[0], uids[1], uids[2], said)


def _images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def _names(folder: Path) -> frozenset[str]:
    """The images in a folder, and the marks of associations that are open on it."""
    return frozenset(path.name for path in folder.iterdir() if path.suffix == ".dcm" or path.name.startswith(OPEN))


def _moved(folder: Path, parent: Path, key: str) -> Path:
    """The folder at its new place, under the first free number."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while (parent / f"{key}-{number}").exists():
        number += 1
    return folder.rename(parent / f"{key}-{number}")


def _last_change_s(folder: Path) -> float:
    times = [folder.stat().st_mtime]
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # a mark that the listener has just removed
            times.append(path.stat().st_mtime)
    return max(times)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
