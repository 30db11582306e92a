"""The desk: the studies of one folder, opened when asked for and kept ready for the screen, with their reviews."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import OrderedDict
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.viewer.arrivals import Arrivals
from apps.viewer.second_reading import is_second_reading, read_study
from apps.viewer.study_on_screen import (
    StudyKey,
    StudyOnScreen,
    first_window,
    put_on_screen,
    shown_labels,
    thinning,
    with_findings,
)
from apps.viewer.work import Work
from medseg.core.atomic import discard_all_unfinished
from medseg.core.errors import InputError
from medseg.core.findings import Mark
from medseg.core.label_map import LabelMap
from medseg.core.presence import present
from medseg.core.report import Report
from medseg.imaging.pictures.slices import (
    for_screen,
)
from medseg.review.agreement import readings
from medseg.review.audit import AuditLog
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.review.drafts import DraftStore
from medseg.review.marks import MarkStore
from medseg.review.records import Correction, Record, mask_sha256, review_status
from medseg.review.worklist import Candidate
from medseg.settings.model import Archive, Settings, WebDestination
from medseg.workflows.results.open_study import (
    MASK_FILE,
    REPORT_FILE,
    VESSEL_REPORT,
    StudyEntry,
    as_read_blind,
    as_reviewed,
    list_studies,
    open_study,
)
from medseg.workflows.results.open_vessels import OpenedVessels, open_vessels
from medseg.workflows.results.report_study import ReportOptions
from medseg.workflows.reviewing.plan_reading import candidate_of, plan_reading

STUDIES_KEPT = 2
"""Opened studies held in memory: the one being read and the one before it. A large CT takes about half a gigabyte."""

WORK_FOLDER = ".medseg-requests"
"""Where the queue of requested segmentations is kept."""

PROBABILITY_FILES = "probabilit*.nii.gz"
"""Maps of probability that may lie beside a result's mask, on its grid: one, or one for each label."""

A_DAY_S = 24 * 3600.0
"""How long a half-written file of a review lies untouched until it counts as left by a kill: no writer takes as long.
Other programs than viewers write reviews, too, so that being the only viewer does not say that nobody is writing."""


class Desk:
    """The studies under one folder. Safe to use from several threads; a study is opened once, whoever asks."""

    def __init__(self, folder: Path, models: Path | None = None, settings: Settings | None = None) -> None:
        self.folder = folder
        self.archives = web_archives(settings)
        self.is_collection = folder.is_dir() and not (folder / REPORT_FILE).is_file()
        home = folder if self.is_collection else folder.parent
        review_folder = home / REVIEW_FOLDER
        self.reviews = CorrectionStore(review_folder)
        self.drafts = DraftStore(review_folder)
        self.marks = MarkStore(review_folder)
        self.log = AuditLog(review_folder)
        self.arriving = Arrivals()
        self.work = Work(home / WORK_FOLDER, home / "segmented", models)
        self._serving = ExitStack()
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._vessels: dict[tuple[str, int], OpenedVessels] = {}
        self._open: OrderedDict[StudyKey, StudyOnScreen] = OrderedDict()
        self._judged: dict[str, tuple[str, Candidate]] = {}

    @property
    def arrivals(self) -> Path:
        """Where uploads are kept until they are whole. Raises InputError where one result is open, not a folder."""
        return self._of_collection(".medseg-arrivals")

    @property
    def uploads(self) -> Path:
        """Where scans lie that were uploaded. Raises InputError where one result is open, not a folder."""
        return self._of_collection("uploads")

    def _of_collection(self, name: str) -> Path:
        if not self.is_collection:
            raise InputError("the viewer was opened on one result; open it on a folder of studies to add to them")
        return self.folder / name

    def probabilities_of(self, entry: StudyEntry) -> tuple[Path, ...]:
        """The maps of probability beside a result, in order of their names; none where there are none."""
        return tuple(sorted(entry.path.glob(PROBABILITY_FILES))) if entry.path.is_dir() else ()

    def report_options(self, entry: StudyEntry) -> ReportOptions:
        """How a result is reported that leaves from a page: as reviewed, with its probability where there is one."""
        return ReportOptions(probability=next(iter(self.probabilities_of(entry)), None))

    def archive(self, name: str) -> WebDestination | Archive:
        """The archive of that name. Raises InputError where the settings have none."""
        if name not in self.archives:
            raise InputError(f"there is no archive {name!r} in the settings that the viewer was started with")
        return self.archives[name]

    def others_of(self, study: StudyOnScreen) -> tuple[StudyEntry, ...]:
        """Other results on the same scan with the same labels, such as those of another model."""
        report = study.opened.report
        if report is None:
            return ()
        return tuple(
            entry
            for entry in self.entries()
            if entry.report is not None
            and entry.id != study.opened.entry.id
            and entry.report.source_sha256 == report.source_sha256
            and entry.report.task.labels == report.task.labels
        )

    def reading_labels(self, study: StudyOnScreen, mask: str) -> NDArray[np.unsignedinteger[Any]]:
        """The labels (k, j, i) of a reader's mask (by its hash) of a study, as they are shown.

        Raises InputError where no reader of the study drew it, StoreError where it was lost.
        """
        report = study.opened.report
        drawn = [one for one in readings(study.opened.records) if one.mask_sha256 == mask]
        if report is None or not drawn:
            raise InputError("no reader of this study drew such a mask; reload the page")
        return shown_labels(self.reviews.mask(drawn[0], report.task.label_schema))

    def others_marks(self, study: StudyOnScreen, reader: str) -> tuple[tuple[str, Mark], ...]:
        """What others measured in a study, after their names; none in a second reading."""
        if study.is_second_reading:
            return ()
        return tuple(one for one in self.marks.of_scan(study.opened.source_sha256) if one[0] != reader)

    def earlier_labels(self, study: StudyOnScreen, mask: str) -> NDArray[np.unsignedinteger[Any]] | None:
        """The labels (k, j, i) that a study was or is shown with, by the hash of the mask; None where it never was.

        Raises StoreError where a correction was lost.
        """
        report, first = study.opened.report, study.as_segmented.label_map
        if report is None or first is None:
            return None
        if mask_sha256(first) == mask:
            return shown_labels(first)
        for one in study.opened.records:
            if isinstance(one, Correction) and one.mask_sha256 == mask:
                return shown_labels(self.reviews.mask(one, report.task.label_schema))
        return None

    def begin(self) -> None:
        """Take up what an earlier server left: requests go on, uploads that never ended are removed."""
        if self.is_collection:
            presence = self._serving.enter_context(present(self.reviews.folder / "viewer.lock"))
            with presence.alone() as is_alone:  # another server of this folder may be taking something in
                if is_alone:
                    shutil.rmtree(self.arrivals, ignore_errors=True)
                    discard_all_unfinished(self.uploads)
                    _discard_empty(self.uploads)
        for kind in ("drafts", "marks", "masks"):
            discard_all_unfinished(self.reviews.folder / kind, untouched_s=A_DAY_S)
        self.work.wake()

    def end(self) -> None:
        """Let go of the folder, so that another server may be alone in it; the end of the process does so, too."""
        self._serving.close()

    def entries(self) -> tuple[StudyEntry, ...]:
        """The worklist as the folder is now."""
        return list_studies(self.folder)

    def entry(self, study: str) -> StudyEntry:
        """The entry of that id. Raises InputError where the folder has none."""
        for entry in self.entries():
            if entry.id == study:
                return entry
        raise InputError("this study is not, or no longer, in the folder that is open; choose another in the worklist")

    def records(self, entry: StudyEntry) -> tuple[Record, ...]:
        """What was recorded of a study's review, oldest first."""
        if entry.report is None:
            return ()
        return self.reviews.history(entry.report.source_sha256, entry.report.task.name, entry.report.model.sha256)

    def reading_order(self) -> list[str]:
        """The ids of the studies that nobody has decided on, the likeliest failure of the model first.

        Each result is judged once, and again when its files change.
        """
        ids = {entry.name: entry.id for entry in self.entries()}
        return [ids[one.study] for one in plan_reading(self.folder, judge=self._judge) if one.study in ids]

    def _judge(self, entry: StudyEntry, report: Report) -> Candidate:
        files = _files(entry)
        known = self._judged.get(entry.id)
        if known is None or known[0] != files:
            known = files, candidate_of(entry, report)
            self._judged[entry.id] = known
        return known[1]

    def next_undecided(self, study: str) -> str | None:
        """The study after this one, around the end of the worklist, that is neither accepted nor rejected."""
        entries = self.entries()
        at = next((n for n, entry in enumerate(entries) if entry.id == study), -1)
        for entry in (*entries[at + 1 :], *entries[: max(at, 0)]):
            if entry.report is not None and review_status(self.records(entry)) in ("new", "in review"):
                return entry.id
        return None

    def open(self, study: str, reader: str = "") -> StudyOnScreen:
        """The study ready for the screen, with its newest mask; read again when its files changed.

        The id of a second reading opens what this reader may see of it. Raises InputError where it cannot be opened,
        StoreError where its corrected mask was lost.
        """
        if is_second_reading(study):
            return self._open_blind(study, reader)
        with self._lock:
            lock = self._locks.setdefault(study, threading.Lock())
        with lock:
            entry = self.entry(study)
            files = _files(entry)
            with self._lock:
                kept = self._open.get((study, ""))
            if kept is None or kept.files != files:
                as_segmented = open_study(entry)
                window, volume = first_window(as_segmented), as_segmented.volume
                screen = for_screen(volume, thinning(volume.geometry.shape))
            else:
                as_segmented, window, screen = kept.as_segmented, kept.window, kept.screen
                if self.records(entry) == kept.opened.records:
                    return self._keep(with_findings(kept))
            opened = as_reviewed(as_segmented, self.reviews)
            return self._keep(put_on_screen((study, ""), opened, as_segmented, screen, window, files))

    def _open_blind(self, study: str, reader: str) -> StudyOnScreen:
        first = self.open(read_study(study))
        opened = as_read_blind(first.as_segmented, self.reviews, reader)
        with self._lock:
            kept = self._open.get((study, reader))
        if kept is not None and kept.files == first.files and kept.opened.records == opened.records:
            return self._keep(with_findings(kept))
        key = study, reader
        return self._keep(put_on_screen(key, opened, first.as_segmented, first.screen, first.window, first.files))

    def vessels(self, study: str) -> OpenedVessels:
        """A result of `medseg vessels`, the last one kept. Raises InputError where it cannot be opened."""
        entry = self.entry(study)
        if entry.kind != "vessels":
            raise InputError("this study is no result of `medseg vessels`; open it in the reading room")
        written_ns = (entry.path / VESSEL_REPORT).stat().st_mtime_ns
        with self._lock:
            kept = self._vessels.get((study, written_ns))
        if kept is None:
            kept = open_vessels(entry.path)
            with self._lock:
                self._vessels = {(study, written_ns): kept}
        return kept

    def corrected(self, study: StudyOnScreen, label_map: LabelMap, correction: Correction, mask_gzip: bytes) -> None:
        """Put a mask that was just saved on the screen; its findings are measured when the study is next opened."""
        records = (*study.opened.records, correction)
        opened = replace(study.opened, label_map=label_map, records=records, correction=correction)
        newer = replace(
            study, opened=opened, mask_gzip=mask_gzip, mask_sha256=correction.mask_sha256, has_findings=False
        )
        self._keep(newer)

    def opened(self, study: str, reader: str = "") -> StudyOnScreen:
        """The study as it was last opened, without a look at its files, so that one reading is of one piece."""
        key = (study, reader if is_second_reading(study) else "")
        with self._lock:
            kept = self._open.get(key)
        return kept if kept is not None else self.open(study, reader)

    def _keep(self, on_screen: StudyOnScreen) -> StudyOnScreen:
        with self._lock:
            self._open[on_screen.key] = on_screen
            self._open.move_to_end(on_screen.key)
            while len(self._open) > STUDIES_KEPT:
                self._open.popitem(last=False)
        return on_screen


def open_desk(folder: Path, models: Path | None = None, settings: Settings | None = None) -> Desk:
    """The desk of a folder, from now on the one that `desk_of` gives."""
    _DESKS[folder] = Desk(folder, models, settings)
    return _DESKS[folder]


def desk_of(folder: Path) -> Desk:
    """The one desk of a folder in this process: pages and routes share what is open."""
    return _DESKS[folder] if folder in _DESKS else open_desk(folder)


_DESKS: dict[Path, Desk] = {}


def web_archives(settings: Settings | None) -> dict[str, WebDestination | Archive]:
    """The archives by name that the settings name and that speak DICOMweb."""
    if settings is None:
        return {}
    named: dict[str, WebDestination | Archive] = {
        one.name: one for one in settings.destinations if isinstance(one, WebDestination)
    }
    return named if settings.archive is None else {"archive": settings.archive, **named}


def _files(entry: StudyEntry) -> str:
    """A text that changes when the files of a study do."""
    stamps = []
    for file in (entry.path, entry.path / REPORT_FILE, entry.path / MASK_FILE):
        with suppress(FileNotFoundError, NotADirectoryError):
            status = file.stat()
            stamps.append(f"{status.st_mtime_ns}-{status.st_size}")
    return hashlib.sha256(" ".join(stamps).encode()).hexdigest()[:16]


def _discard_empty(uploads: Path) -> None:
    """Remove the empty folders of scans that never came in whole."""
    for folder in uploads.glob("*"):
        with suppress(OSError):  # it holds something, or is a file
            folder.rmdir()
