"""Spool: where received images wait, each whole or not there; what a kill at any moment leaves is known and mended.

    incoming/                 files that are being received, in no state to be read
    series/KEY/NAME.dcm       the images of a series that is still arriving; names are hashes, never a sender's words
    series/KEY/.open-A        association A has stored here and goes on
    series/KEY/.broken-A      association A ended without a release, or an image of it could not be kept
    complete/KEY-N/           a whole series, for whoever segments it
    incomplete/KEY-N/         a series that did not become whole, with reason.txt
    taken/KEY.json            what was taken of a series, by which images that are sent again are known

The listener writes, another process reads and takes away (`received.py`); both only rename, so that neither sees half.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medseg.exchange.dicom.network.dimse.config import SpoolLimits
from medseg.exchange.dicom.uids import name_from

OPEN, BROKEN = ".open-", ".broken-"
_COUNT_AGAIN_S = 5.0
"""How old the known size of the spool may be: another process takes series away."""


@dataclass(frozen=True, slots=True)
class SpooledImage:
    """One received image: the UIDs that say where it belongs."""

    study_uid: str
    series_uid: str
    instance_uid: str

    @property
    def key(self) -> str:
        """The name of its series in the spool."""
        return series_key(self.study_uid, self.series_uid)

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{name_from(self.instance_uid)}.dcm"


def series_key(study_uid: str, series_uid: str) -> str:
    """The name by which a series is known in the spool and in logs; it tells nothing of the patient."""
    return name_from(study_uid, series_uid)


class Spool:
    """The listener's side of the spool: one process writes it."""

    def __init__(self, folder: Path, limits: SpoolLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.series = folder / "series"
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._used_bytes = 0
        self._counted_s: float | None = None

    def begin(self) -> None:
        """Make the folders, and mend what a killed listener left: half files go, open associations count as broken."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # images: for this user alone
        shutil.rmtree(self.incoming, ignore_errors=True)
        for folder in (self.incoming, self.series):
            folder.mkdir(parents=True, exist_ok=True)
        for mark in self.series.glob(f"*/{OPEN}*"):
            mark.replace(mark.with_name(mark.name.replace(OPEN, BROKEN, 1)))

    def discard_forgotten(self, silence_s: float) -> None:
        """Remove received files that nothing was written to for so long: messages that pynetdicom took and dropped."""
        for file in self.incoming.iterdir():
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > silence_s:
                    file.unlink()

    def has_room(self, size: int) -> bool:
        """Whether a file of that many bytes, which already lies in `incoming`, may be kept."""
        with self._lock:
            now = self._clock()
            if self._counted_s is None or now - self._counted_s > _COUNT_AGAIN_S:
                self._used_bytes, self._counted_s = size_of(self.folder, but=self.incoming), now
            fits = self._used_bytes + size <= self._limits.most_mb << 20
        return fits and shutil.disk_usage(self.folder).free >= self._limits.least_free_mb << 20

    def keep(self, received: Path, image: SpooledImage, association: str) -> bool:
        """Move a received file to its series, safe from a power cut; False where the same image was there before.

        Raises OSError where the disk refuses.
        """
        size = received.stat().st_size
        _flush(received)
        while True:
            folder = self.series / image.key
            folder.mkdir(exist_ok=True)
            try:
                (folder / f"{OPEN}{association}").touch()
                is_new = not (folder / image.name).exists()
                received.replace(folder / image.name)
                _flush(folder)
            except FileNotFoundError:
                if received.exists():
                    continue  # the series was taken away at this very moment: it begins anew
                raise
            break
        with self._lock:
            self._used_bytes += size
        return is_new

    def close(self, association: str, keys: set[str], broken: set[str]) -> None:
        """Note that an association has ended; `broken` are those of its series of which something may be missing.

        A series whose images all came, in an association that was released, mends what earlier ones left broken.
        """
        for key in keys | broken:
            folder = self.series / key
            opened = folder / f"{OPEN}{association}"
            if key in broken:
                folder.mkdir(exist_ok=True)
                (folder / f"{BROKEN}{association}").touch()
            else:
                for mark in folder.glob(f"{BROKEN}*"):
                    mark.unlink(missing_ok=True)
            opened.unlink(missing_ok=True)


def size_of(folder: Path, but: Path | None = None) -> int:
    """Bytes of all files below a folder, without those below `but`; files that vanish meanwhile count nothing."""
    total = 0
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(root, name) != but]
        for name in files:
            try:
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118 - a hundred thousand files
            except OSError:
                continue
    return total


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
