"""What there is to look at in a folder, and one of it opened: the scan, its mask, its report, and what is doubtful.

A folder may hold results of `medseg segment` (each a folder with `report.json` and `segmentation.nii.gz`), plain scan
files, and DICOM series, at any depth down to `DEEPEST`. What is damaged or unfinished is listed with its reason. Of a
job of the service only the result is listed, not its scan and the objects that were sent once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError, MedsegError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.study import Series
from medseg.core.task import first_problem
from medseg.core.volume import Volume
from medseg.exchange.read import read_label_map, read_scan
from medseg.exchange.read_again import read_again
from medseg.exchange.read_channel import UNITS
from medseg.review.agreement import second_reading_problem, second_readings
from medseg.review.corrections import CorrectionStore
from medseg.review.records import Correction, Record, shown_correction
from medseg.workflows.results.job_folder import IMAGES, OBJECTS, RESULT, RESULT_REPORT

REPORT_FILE = "report.json"
MASK_FILE = "segmentation.nii.gz"
VESSEL_REPORT = "vessels.json"

SCAN_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".zip")

DEEPEST = 6
"""Folders below the chosen one in which studies are looked for; patient, study and series make three."""

UNFINISHED = "this is being written, or was never finished. Wait for it; if it stays, segment or fetch the scan again."
"""Of a folder that is not whole: whether somebody is at work on it cannot be told from outside."""

_DICOM_MAGIC_OFFSET = 128
_FILES_LOOKED_AT_FOR_DICOM = 4

StudyKind = Literal["result", "scan", "vessels"]


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """One line of a worklist: a segmented scan, a plain one, or a result of `medseg vessels`.

    `problem` says why it cannot be opened, if it cannot.
    `id` is a hash of the place in the folder: it stays the same between runs and tells nothing about the patient.
    """

    id: str
    path: Path
    name: str
    kind: StudyKind
    report: Report | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OpenedStudy:
    """A study in memory. `label_map` lies on the volume's own grid; None where there is no mask that does.

    `records` is what readers corrected and decided, oldest first; `correction` the one that `label_map` is of, if any.
    """

    entry: StudyEntry
    volume: Volume
    series: Series
    source_sha256: str
    label_map: LabelMap | None
    report: Report | None
    warnings: tuple[str, ...]
    records: tuple[Record, ...] = ()
    correction: Correction | None = None


def list_studies(folder: Path) -> tuple[StudyEntry, ...]:
    """Everything in a folder that can be looked at, results first, each in order of its name.

    The folder may itself be one result or one DICOM series. Raises InputError where it does not exist.
    """
    if not folder.exists():
        raise InputError(f"there is no folder {folder}. Give the folder that `medseg segment --output` wrote.")
    if folder.is_file():
        return (_scan_entry(folder, folder.parent),)
    entries = list(_entries(folder, folder, DEEPEST))
    return tuple(sorted(entries, key=lambda entry: (entry.kind != "result", entry.name)))


def open_study(entry: StudyEntry) -> OpenedStudy:
    """The scan of an entry with its mask and report; what is doubtful is among the warnings.

    A mask that cannot be laid over the scan is left out, with a warning that says why. Raises InputError where the scan
    itself cannot be shown.
    """
    if entry.problem is not None:
        raise InputError(entry.problem)
    if entry.kind == "vessels":
        raise InputError(f"{entry.name} is a result of `medseg vessels`, not a scan with a mask; open it as vessels")
    if entry.report is None:
        scan = read_scan(entry.path)
        return OpenedStudy(entry, scan.volume, scan.series, scan.sha256, None, None, scan.warnings)
    report = entry.report
    source = source_of(entry, report)
    scan = read_again(report, source)
    warnings = [*scan.warnings, *report.warnings]
    if scan.sha256 != report.source_sha256:
        warnings.append(
            f"the scan {source} is not the one that was segmented: its voxels or its grid changed since. "
            "Segment it again before relying on the mask or the findings."
        )
    volume = in_unit_of_task(scan.volume, report)
    label_map, doubt = mask_on(volume, entry, report)
    if doubt is not None:
        warnings.append(doubt)
    return OpenedStudy(entry, volume, report.series, scan.sha256, label_map, report, tuple(dict.fromkeys(warnings)))


def as_reviewed(opened: OpenedStudy, reviews: CorrectionStore) -> OpenedStudy:
    """A study, opened without its reviews, with its corrected mask and the findings measured on that.

    The mask is that of `shown_correction`: no second reading, until it was adjudicated.

    Raises StoreError where the corrected mask is missing or altered: an older one is never shown in its place.
    """
    report = opened.report
    if report is None or opened.label_map is None:
        return opened
    records = reviews.history(opened.source_sha256, report.task.name, report.model.sha256)
    return _with_correction(opened, reviews, records, shown_correction(records))


def as_read_blind(opened: OpenedStudy, reviews: CorrectionStore, reader: str) -> OpenedStudy:
    """A study, opened without its reviews, as a second reader sees it: with the own last second reading, or the model's
    mask where there is none yet. Nothing that others recorded is in it.

    Raises InputError where the study is not for this reader to read a second time, StoreError as `as_reviewed` does.
    """
    report = opened.report
    if report is None or opened.label_map is None:
        raise InputError("there is no mask to read a second time: segment the scan first")
    records = reviews.history(opened.source_sha256, report.task.name, report.model.sha256)
    problem = second_reading_problem(records, reader)
    if problem is not None:
        raise InputError(problem)
    own = [one for one in second_readings(records) if one.reader == reader]
    return _with_correction(opened, reviews, tuple(own), own[-1] if own else None)


def _with_correction(
    opened: OpenedStudy, reviews: CorrectionStore, records: tuple[Record, ...], shown: Correction | None
) -> OpenedStudy:
    if shown is None or opened.report is None:
        return replace(opened, records=records)
    corrected = reviews.mask(shown, opened.report.task.label_schema)
    label_map = LabelMap(corrected.array, opened.volume.geometry, corrected.schema)
    return measured(replace(opened, label_map=label_map, records=records, correction=shown))


def measured(opened: OpenedStudy) -> OpenedStudy:
    """The study with the findings of its report measured anew on the mask it has now."""
    if opened.report is None or opened.label_map is None:
        return opened
    laterality = opened.report.series.laterality
    findings = measure_findings(opened.label_map, opened.report.task, opened.volume, laterality=laterality)
    return replace(opened, report=opened.report.model_copy(update={"findings": findings, "grades": ()}))


def _entries(folder: Path, root: Path, depth: int) -> Iterator[StudyEntry]:
    if (folder / REPORT_FILE).is_file() or (folder / MASK_FILE).is_file():
        yield _result_entry(folder, root)
        if (folder / VESSEL_REPORT).is_file():
            yield _vessel_entry(folder / "vessels", folder, root)
        return
    if (folder / VESSEL_REPORT).is_file():
        yield _vessel_entry(folder, folder, root)
        return
    try:
        everything = sorted(folder.iterdir())
    except FileNotFoundError:  # it was removed, or took its own name, since it was seen
        return
    children = [child for child in everything if not child.name.startswith(".") or is_unfinished(child)]
    files = [child for child in children if child.is_file() and not is_unfinished(child)]
    if _is_job(folder):
        children = [child for child in children if child.name not in (IMAGES, OBJECTS)]
    yield from (_scan_entry(file, root) for file in files if file.name.lower().endswith(SCAN_SUFFIXES))
    if any(_is_dicom(file) for file in files[:_FILES_LOOKED_AT_FOR_DICOM]):
        yield _scan_entry(folder, root)
    for child in children:
        if not child.is_dir():
            continue
        if is_unfinished(child):
            yield _broken(child, root, UNFINISHED)
        elif depth > 0 and not child.is_symlink():
            yield from _entries(child, root, depth - 1)


def _is_job(folder: Path) -> bool:
    """Whether a folder is that of a job of the service which has a result: one of the scan that lies beside it."""
    if not (folder / RESULT_REPORT).is_file():
        return False
    report = _result_entry(folder / RESULT, folder).report
    return report is not None and report.source.parts[-2:] == (folder.name, IMAGES)


def _result_entry(folder: Path, root: Path) -> StudyEntry:
    file = folder / REPORT_FILE
    if not file.is_file():
        return _broken(folder, root, f"{folder.name} has a mask but no {REPORT_FILE}: segment the scan again.")
    if not (folder / MASK_FILE).is_file():
        return _broken(folder, root, f"{folder.name} has a report but no {MASK_FILE}: segment the scan again.")
    try:
        report = Report.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        return _broken(folder, root, f"{file.name} of {folder.name} is damaged: {first_problem(error)}")
    except UnicodeDecodeError:
        return _broken(folder, root, f"{file.name} of {folder.name} is damaged: it is not text")
    except OSError as error:
        return _broken(folder, root, f"{file.name} of {folder.name} cannot be read: {error.strerror}")
    return StudyEntry(_id(folder, root), folder, _name(folder, root), "result", report)


def _vessel_entry(place: Path, folder: Path, root: Path) -> StudyEntry:
    """The vessels that lie in `folder`, listed as if they lay at `place`."""
    return StudyEntry(_id(place, root), folder, _name(place, root), "vessels")


def _scan_entry(path: Path, root: Path) -> StudyEntry:
    return StudyEntry(_id(path, root), path, _name(path, root), "scan")


def _broken(folder: Path, root: Path, problem: str) -> StudyEntry:
    return StudyEntry(_id(folder, root), folder, _name(folder, root), "result", problem=problem)


def _id(path: Path, root: Path) -> str:
    return hashlib.sha256(_name(path, root).encode()).hexdigest()[:16]


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _is_dicom(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            opened.seek(_DICOM_MAGIC_OFFSET)
            return opened.read(4) == b"DICM"
    except OSError:
        return False


def source_of(entry: StudyEntry, report: Report) -> Path:
    """Where the scan of a report lies now: its own path, or that path seen from the result folder."""
    for candidate in (report.source, entry.path / report.source):
        if candidate.exists():
            return candidate
    raise InputError(
        f"the scan that {entry.name} was made from is no longer at {report.source}. "
        "Bring it back to that place, or segment it again from where it is now."
    )


def in_unit_of_task(volume: Volume, report: Report) -> Volume:
    """The volume in the unit it was segmented in, HU or SUV, also where its file says none, as NIfTI never does."""
    wanted = UNITS.get(report.task.channels[0].modality)
    if volume.unit == "arbitrary" and wanted is not None:
        return Volume(volume.array, volume.geometry, wanted)
    return volume


def mask_on(volume: Volume, entry: StudyEntry, report: Report) -> tuple[LabelMap | None, str | None]:
    """The mask if it lies on the volume's grid, or the reason why none is shown."""
    try:
        label_map = read_label_map(entry.path / MASK_FILE, report.task.label_schema)
    except MedsegError as error:
        return None, f"the mask is not shown, because it cannot be read: {error}"
    apart = volume.geometry.difference(label_map.geometry)
    if apart is not None:
        return None, f"the mask is not shown, because it lies on another grid than the scan: {apart}"
    return LabelMap(label_map.array, volume.geometry, label_map.schema), None
