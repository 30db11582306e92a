"""The desk: the studies of one folder, opened when asked for and kept ready for the screen."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.task import Window
from medseg.imaging.slices import ScreenVolume, for_screen, mask_for_screen, percentile_window
from medseg.workflows.open_study import MASK_FILE, REPORT_FILE, OpenedStudy, StudyEntry, list_studies, open_study

STUDIES_KEPT = 2
"""Opened studies held in memory: the one being read and the one before it. A large CT takes about half a gigabyte."""

_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True, eq=False)
class StudyOnScreen:
    """An opened study with its voxels in display order; `mask_gzip` is the mask's labels (k, j, i), gzipped."""

    opened: OpenedStudy
    screen: ScreenVolume
    window: Window
    mask_gzip: bytes | None
    mask_sha256: str | None
    bytes_per_label: int
    version: str


class Desk:
    """The studies under one folder. Safe to use from several threads; a study is opened once, whoever asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._open: OrderedDict[str, StudyOnScreen] = OrderedDict()

    def entries(self) -> tuple[StudyEntry, ...]:
        """The worklist as the folder is now."""
        return list_studies(self.folder)

    def entry(self, study: str) -> StudyEntry:
        """The entry of that id. Raises InputError where the folder has none."""
        for entry in self.entries():
            if entry.id == study:
                return entry
        raise InputError("this study is not, or no longer, in the folder that is open; choose another in the worklist")

    def open(self, study: str) -> StudyOnScreen:
        """The study ready for the screen, read again when its files changed. Raises InputError where it cannot be."""
        with self._lock:
            lock = self._locks.setdefault(study, threading.Lock())
        with lock:
            entry = self.entry(study)
            version = _version(entry)
            with self._lock:
                kept = self._open.get(study)
                if kept is not None and kept.version == version:
                    self._open.move_to_end(study)
                    return kept
            made = _prepare(open_study(entry), version)
            with self._lock:
                self._open[study] = made
                self._open.move_to_end(study)
                while len(self._open) > STUDIES_KEPT:
                    self._open.popitem(last=False)
            return made

    def opened(self, study: str) -> StudyOnScreen:
        """The study as it was last opened, without a look at its files, so that one reading is of one piece."""
        with self._lock:
            kept = self._open.get(study)
        return kept if kept is not None else self.open(study)


@lru_cache(maxsize=4)
def desk_of(folder: Path) -> Desk:
    """The one desk of a folder in this process: pages and routes share what is open."""
    return Desk(folder)


def mask_sha256(labels: NDArray[np.unsignedinteger[Any]]) -> str:
    """Hash of a mask's labels (k, j, i) in display order, whatever their number of bytes."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<u2").data).hexdigest()


def _prepare(opened: OpenedStudy, version: str) -> StudyOnScreen:
    task = opened.report.task if opened.report is not None else None
    window = task.window if task is not None and task.window is not None else _first_window(opened)
    labels = None if opened.label_map is None else mask_for_screen(opened.label_map)
    return StudyOnScreen(
        opened=opened,
        screen=for_screen(opened.volume),
        window=window,
        mask_gzip=None if labels is None else gzip.compress(labels.tobytes(), _GZIP_LEVEL, mtime=0),
        mask_sha256=None if labels is None else mask_sha256(labels),
        bytes_per_label=1 if labels is None else labels.dtype.itemsize,
        version=version,
    )


def _first_window(opened: OpenedStudy) -> Window:
    if opened.volume.unit == "HU":
        return Window(centre=40.0, width=400.0)
    return percentile_window(opened.volume)


def _version(entry: StudyEntry) -> str:
    """A text that changes when the files of a study do."""
    stamps = []
    for file in (entry.path, entry.path / REPORT_FILE, entry.path / MASK_FILE):
        if file.exists():
            status = file.stat()
            stamps.append(f"{status.st_mtime_ns}-{status.st_size}")
    return hashlib.sha256(" ".join(stamps).encode()).hexdigest()[:16]
