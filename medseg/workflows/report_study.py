"""Bring a finished result into other formats: for the archive, the planning system, the spreadsheet, the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.quantification.lesions import find_instances
from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.exchange.dicom.files import is_dicom
from medseg.exchange.read import read_scan
from medseg.exchange.read_again import may_be_dicom, read_again, unpacked_source
from medseg.exchange.reports.formats import WRITERS, Result, require_formats, write_formats
from medseg.review.corrections import CorrectionStore
from medseg.workflows.open_study import (
    OpenedStudy,
    StudyEntry,
    as_reviewed,
    in_unit_of_task,
    list_studies,
    mask_on,
    source_of,
)

FORMATS = tuple(WRITERS)
"""Every format, in order."""

IN_EVERY_RESULT = ("json", "csv", "nifti")
"""Formats that `medseg segment` writes anyway."""


def report_study(
    folder: Path,
    formats: Sequence[str],
    output: Path | None = None,
    *,
    probability: Path | None = None,
    reviews: CorrectionStore | None = None,
) -> tuple[Path, ...]:
    """The files written for the result in `folder`, into `output` or beside the result itself.

    Into `output` they appear together or not at all; it must be new or empty. `probability` is a file with the
    probability (0 to 1) of each voxel of the scan. With `reviews` the mask is the newest correction in that store,
    its findings are measured on it, and the report names who made it. Raises InputError where the result or its scan
    is not what it was, a format cannot be written of it, or what was written does not read back as it should.
    """
    require_formats(formats, is_dicom=True)
    entry, report = _entry(folder)
    source = source_of(entry, report)
    require_writable(formats, source)
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is no new or empty folder. Choose another.")
    with unpacked_source(source) as place:
        result = _result(entry, report, place, probability, reviews)
        if output is None:
            return write_formats(result, [name for name in formats if name not in IN_EVERY_RESULT], folder)
        with whole_folder(output) as unfinished:
            written = write_formats(result, formats, unfinished)
        return tuple(output / path.name for path in written)


def require_writable(formats: Sequence[str], source: Path) -> None:
    """Raise InputError where a scan at `source` cannot leave in one of the formats, before anything is computed."""
    require_formats(formats, is_dicom=may_be_dicom(source))


def _entry(folder: Path) -> tuple[StudyEntry, Report]:
    entry = list_studies(folder)[0] if folder.is_dir() and any(folder.iterdir()) else None
    if entry is None or entry.path != folder or entry.kind != "result":
        raise InputError(f"{folder} is no result folder; give one that `medseg segment --output` wrote")
    if entry.report is None:
        raise InputError(entry.problem or f"{folder} has no report")
    return entry, entry.report


def _result(
    entry: StudyEntry, report: Report, place: Path, probability: Path | None, reviews: CorrectionStore | None
) -> Result:
    """The scan at `place`, the newest mask and the report as one, checked to belong together."""
    scan = read_again(report, place)
    if scan.sha256 != report.source_sha256:
        raise InputError(
            f"the scan {report.source} is not the one that was segmented: its voxels or its grid changed since. "
            "Segment it again."
        )
    volume = in_unit_of_task(scan.volume, report)
    label_map, doubt = mask_on(volume, entry, report)
    if label_map is None:
        raise InputError(f"{entry.path.name} cannot be reported: {doubt}")
    files = scan.series.files
    if reviews is not None:
        report, label_map = _corrected(entry, report, volume, label_map, reviews)
    return Result(
        report=report,
        volume=volume,
        label_map=label_map,
        numbers=finding_numbers(label_map, report),
        images=files if scan.series.series_uid and all(is_dicom(file) for file in files) else (),
        probability=None if probability is None else _probability(probability, volume),
    )


def _corrected(
    entry: StudyEntry, report: Report, volume: Volume, label_map: LabelMap, reviews: CorrectionStore
) -> tuple[Report, LabelMap]:
    """Report and mask as the newest correction has them, as they are where there is none."""
    opened = OpenedStudy(entry, volume, report.series, report.source_sha256, label_map, report, ())
    reviewed = as_reviewed(opened, reviews)
    if reviewed.correction is None or reviewed.report is None or reviewed.label_map is None:
        return report, label_map
    by = reviewed.correction
    note = f"the mask was corrected by {by.reader} on {by.made:%Y-%m-%d %H:%M} UTC ({by.changed_voxels} voxels)"
    return reviewed.report.model_copy(update={"warnings": (*report.warnings, note)}), reviewed.label_map


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


def _probability(path: Path, volume: Volume) -> Volume:
    read = read_scan(path).volume
    read.geometry.require_same(volume.geometry, f"the probability {path.name} and the scan")
    return Volume(read.array, volume.geometry)
