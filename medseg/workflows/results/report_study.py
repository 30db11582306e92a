"""Bring a finished result into other formats: for the archive, the planning system, the spreadsheet, the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.quantification.by_hand import measure_by_hand
from medseg.analysis.quantification.lesions import find_instances
from medseg.analysis.quantification.measure import measure_findings
from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError
from medseg.core.findings import HandMeasurement
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.exchange.dicom.files import is_dicom
from medseg.exchange.probabilities import label_for_map, read_probability
from medseg.exchange.read import read_scan
from medseg.exchange.read_again import may_be_dicom, read_again, unpacked_source
from medseg.exchange.reports.formats import WRITERS, Result, require_formats, write_formats
from medseg.exchange.scan import Scan
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.review.marks import MarkStore
from medseg.review.records import mask_sha256
from medseg.review.standing import standing
from medseg.workflows.results.open_study import DEEPEST, StudyEntry, in_unit_of_task, list_studies, mask_on, source_of

FORMATS = tuple(WRITERS)
"""Every format, in order."""

MAP = "dicom-map"
"""The format that needs a probability."""

IN_EVERY_RESULT = ("json", "csv", "nifti")
"""Formats that `medseg segment` writes anyway."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is reported: the reviewed mask where a reader has accepted one, or the model's own.

    `probability` is a file with the probability (0 to 1) of each voxel of the scan, `label` the label whose kept
    probability is meant, `reviews` the folder of the readers' records where it is not beside the result.
    """

    uses_model_mask: bool = False
    probability: Path | None = None
    label: str | None = None
    reviews: Path | None = None


def report_study(
    folder: Path,
    formats: Sequence[str],
    output: Path | None = None,
    options: ReportOptions | None = None,
    scan: Scan | None = None,
) -> tuple[Path, ...]:
    """The files written for the result in `folder`, into `output` or beside the result itself.

    The scan is read again from where the report says that it lies, unless it is given, as it was when it was segmented.

    A mask that a reader has corrected and accepted is reported in place of the model's, measured anew, and every object
    says whose it is. What readers measured by hand on the scan is reported too. Into `output` the files appear together
    or not at all; it must be new or empty. Raises InputError where the result or its scan is not what it was, a format
    cannot be written of it, or what was written does not read back as it should, StoreError where the corrected mask is
    lost.
    """
    require_formats(formats, is_dicom=True)
    entry, report = _entry(folder)
    source = source_of(entry, report)
    require_writable(formats, source)
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is no new or empty folder. Choose another.")
    with unpacked_source(source) as place:
        known = scan or read_again(report, place)
        result = _result(entry, report, known, options or ReportOptions(), wants_map=MAP in formats)
        if output is None:
            return write_formats(result, _beside(formats, result.report), folder)
        with whole_folder(output) as unfinished:
            written = write_formats(result, formats, unfinished)
        return tuple(output / path.name for path in written)


def require_writable(formats: Sequence[str], source: Path) -> None:
    """Raise InputError where a scan at `source` cannot leave in one of the formats, before anything is computed."""
    require_formats(formats, is_dicom=may_be_dicom(source))


def require_map(formats: Sequence[str], task: Task, label: str | None) -> None:
    """Raise InputError where a probability map is wanted and it is not clear of which label of the task."""
    if MAP in formats:
        label_for_map(task.labels, label)


def _beside(formats: Sequence[str], report: Report) -> list[str]:
    """The formats to write beside the result: what `medseg segment` wrote there stays as it is."""
    there = [name for name in formats if name in IN_EVERY_RESULT]
    if there and report.review is not None and report.review.corrected_by is not None:
        raise InputError(
            f"{', '.join(there)} of the corrected mask would replace what the model gave. Name another folder with "
            "--output, or take the model's own with --model-mask."
        )
    return [name for name in formats if name not in IN_EVERY_RESULT]


def _entry(folder: Path) -> tuple[StudyEntry, Report]:
    entry = list_studies(folder)[0] if folder.is_dir() and any(folder.iterdir()) else None
    if entry is None or entry.path != folder or entry.kind != "result":
        raise InputError(f"{folder} is no result folder; give one that `medseg segment --output` wrote")
    if entry.report is None:
        raise InputError(entry.problem or f"{folder} has no report")
    return entry, entry.report


def _result(entry: StudyEntry, report: Report, scan: Scan, options: ReportOptions, *, wants_map: bool) -> Result:
    """The scan, the mask that stands and its report as one, checked to belong together."""
    if scan.sha256 != report.source_sha256:
        raise InputError(
            f"the scan {report.source} is not the one that was segmented: its voxels or its grid changed since. "
            "Segment it again."
        )
    volume = in_unit_of_task(scan.volume, report)
    label_map, doubt = mask_on(volume, entry, report)
    if label_map is None:
        raise InputError(f"{entry.path.name} cannot be reported: {doubt}")
    probability = _probability(entry, report, volume, options) if wants_map else None
    finding_numbers(label_map, report)
    reviews = _reviews(entry.path, report, options)
    label_map, report = _reviewed(label_map, report, volume, reviews, options)
    report = report.model_copy(update={"by_hand": _by_hand(report, volume, reviews)})
    files = scan.series.files
    return Result(
        report=report,
        volume=volume,
        label_map=label_map,
        numbers=finding_numbers(label_map, report),
        images=files if scan.series.series_uid and all(is_dicom(file) for file in files) else (),
        probability=probability,
    )


def _reviews(folder: Path, report: Report, options: ReportOptions) -> CorrectionStore:
    """The records of readers: those named, else the nearest above the result that know the scan, as the viewer does.

    Raises InputError where a folder was named that holds none.
    """
    if options.reviews is not None:
        store = CorrectionStore(options.reviews)
        if not _knows(store, report):
            raise InputError(f"{options.reviews} holds no record of a reader on this scan and task")
        return store
    above = [CorrectionStore(parent / REVIEW_FOLDER) for parent in folder.resolve().parents[:DEEPEST]]
    return next((store for store in above if _knows(store, report)), above[0])


def _knows(store: CorrectionStore, report: Report) -> bool:
    """Whether a reader recorded something of the report's scan there, or measured on it."""
    of_scan = MarkStore(store.folder).of_scan
    return bool(store.history(report.source_sha256, report.task.name) or of_scan(report.source_sha256))


def _by_hand(report: Report, volume: Volume, reviews: CorrectionStore) -> tuple[HandMeasurement, ...]:
    """What readers measured on the scan themselves, in order of their names."""
    marks = MarkStore(reviews.folder).of_scan(report.source_sha256)
    drawn = (measure_by_hand(mark, reader, volume) for reader, mark in marks)
    return tuple(one for one in drawn if one is not None)


def _reviewed(
    label_map: LabelMap, report: Report, volume: Volume, reviews: CorrectionStore, options: ReportOptions
) -> tuple[LabelMap, Report]:
    """The mask that stands and the report of it: the model's own, or a reader's with its findings measured anew."""
    records = reviews.history(report.source_sha256, report.task.name, report.model.sha256)
    if not records:
        return label_map, report
    stands = standing(records, mask_sha256(label_map), prefers_model=options.uses_model_mask)
    report = report.model_copy(update={"review": stands.review, "warnings": (*report.warnings, *stands.notes)})
    if stands.correction is None:
        return label_map, report
    corrected = reviews.mask(stands.correction, report.task.label_schema)
    label_map = LabelMap(corrected.array, volume.geometry, corrected.schema)
    findings = measure_findings(label_map, report.task, volume, laterality=report.series.laterality)
    return label_map, report.model_copy(update={"findings": findings})


def finding_numbers(label_map: LabelMap, report: Report) -> NDArray[np.uint16]:
    """Where the report's first finding is (1), the second (2) and so on, (i, j, k).

    Raises InputError where the mask does not hold the report's findings.
    """
    instances = find_instances(label_map, report.task)
    mine = [(instance.label.index, instance.number) for instance in instances]
    theirs = [(finding.label.index, finding.instance) for finding in report.findings]
    if mine != theirs:
        raise InputError(
            f"the mask holds {len(mine)} findings and the report {len(theirs)}, or others: they do not belong "
            "together. Segment the scan again."
        )
    numbers = np.zeros(label_map.array.shape, dtype=np.uint16)
    for number, instance in enumerate(instances, start=1):
        numbers[instance.component.box][instance.component.mask] = number
    return numbers


def _probability(entry: StudyEntry, report: Report, volume: Volume, options: ReportOptions) -> Volume | None:
    """The probability of each voxel: of the file named, else as it was kept beside the mask; None where it was not."""
    if options.probability is not None:
        read = read_scan(options.probability).volume
        read.geometry.require_same(volume.geometry, f"the probability {options.probability.name} and the scan")
        return Volume(_without_rounding(read.array), volume.geometry)
    kept = read_probability(entry.path, report.task, options.label)
    if kept is None:
        return None
    kept.geometry.require_same(volume.geometry, "the kept probability and the scan")
    return kept.volume


def _without_rounding(array: NDArray[Any]) -> NDArray[Any]:
    """The numbers, those a hair outside 0 to 1 brought back: a byte times a header's scale may come out so."""
    inside = np.clip(array, 0, 1)
    return inside if np.abs(inside - array).max() < 1e-6 else array
