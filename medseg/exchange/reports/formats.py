"""WRITERS: every format a result can leave in. One Result in, the same numbers out of each.

A writer writes one file and reads it back before it appears. To add a format: one function here or in its own file, and
one line in the list.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.measurement_report import write_measurement_report
from medseg.exchange.dicom.writing.parametric_map import PROBABILITY, write_parametric_map
from medseg.exchange.dicom.writing.pictures import write_pdf_document, write_pictures
from medseg.exchange.dicom.writing.regions import Regions, regions_of_findings
from medseg.exchange.dicom.writing.segmentation import write_segmentation
from medseg.exchange.dicom.writing.source import Made
from medseg.exchange.dicom.writing.structure_set import write_structures
from medseg.exchange.read import read_label_map
from medseg.exchange.reports.findings_csv import write_findings_csv
from medseg.exchange.reports.key_images import key_images
from medseg.exchange.reports.pdf import finding_name, write_report_pdf
from medseg.exchange.reports.radiomics import write_radiomics_csv
from medseg.exchange.write import write_label_map


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One segmented scan as a writer needs it.

    `numbers` (i, j, k) holds 1 where the report's first finding is, 2 where the second is, and so on. `images` are the
    DICOM files that the scan was read from, none where it was no DICOM. `probability` is a number from 0 to 1 a voxel.
    """

    report: Report
    volume: Volume
    label_map: LabelMap
    numbers: NDArray[np.unsignedinteger[Any]]
    images: tuple[Path, ...] = ()
    probability: Volume | None = None
    regions: Regions = field(init=False)
    made: Made = field(init=False)
    """What a DICOM object says of its making."""

    def __post_init__(self) -> None:
        self.label_map.geometry.require_same(self.volume.geometry, "the mask and the scan of the report")
        regions = regions_of_findings(self.label_map, self.report.findings, self.numbers)
        object.__setattr__(self, "regions", regions)
        review = self.report.review
        corrected_by, when = (review.corrected_by, review.corrected) if review else (None, None)
        made = Made(self.report.model, self.images, when or self.report.created, corrected_by)
        object.__setattr__(self, "made", made)


@dataclass(frozen=True, slots=True)
class Writer:
    """One format: the file it makes, how, the formats it refers to, and whether it needs the DICOM images.

    `write` takes the result and the folder in which its file, and those it refers to, lie.
    """

    file: str
    write: Callable[[Result, Path], None]
    needs: tuple[str, ...] = ()
    is_dicom: bool = True


def write_formats(result: Result, formats: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """The files of these formats in a folder, and of those that they refer to; each whole, in order of the list.

    Raises InputError for an unknown format, a DICOM format of a scan that was no DICOM, and where a file that was
    written does not read back as it should.
    """
    wanted = with_needed(formats, has_findings=bool(result.regions.regions))
    require_formats(wanted, is_dicom=bool(result.images))
    for name in wanted:
        WRITERS[name].write(result, folder)
    return tuple(folder / WRITERS[name].file for name in wanted)


def require_formats(formats: Sequence[str], *, is_dicom: bool) -> None:
    """Raise InputError for a format that there is not, or one that a scan of this kind cannot leave in."""
    for name in formats:
        if name not in WRITERS:
            raise InputError(f"there is no format {name!r}; choose of {', '.join(WRITERS)}")
    impossible = [name for name in formats if WRITERS[name].is_dicom]
    if impossible and not is_dicom:
        others = ", ".join(name for name, writer in WRITERS.items() if not writer.is_dicom)
        raise InputError(
            f"{', '.join(impossible)} refer{'s' if len(impossible) == 1 else ''} to the patient, study and images of a "
            f"DICOM scan, and this scan is none. Segment the DICOM series, or choose of {others}."
        )


def with_needed(formats: Sequence[str], *, has_findings: bool) -> tuple[str, ...]:
    """The formats and those they refer to, each once, in an order in which each finds what it refers to.

    Of an empty mask there is no segmentation, and the structured report says so without one.
    """
    needed = {name for wanted in formats if wanted in WRITERS for name in WRITERS[wanted].needs if has_findings}
    ordered = [name for name in WRITERS if name in needed or name in formats]
    return (*ordered, *(name for name in formats if name not in WRITERS))


def _write_json(result: Result, folder: Path) -> None:
    path = folder / WRITERS["json"].file
    with whole_file(path) as unfinished:
        unfinished.write_text(result.report.model_dump_json(indent=1), encoding="utf-8")
        if Report.model_validate(json.loads(unfinished.read_text(encoding="utf-8"))) != result.report:
            raise InputError(f"{path.name} was read back and is not the report. It was not delivered; this is a bug.")


def _write_csv(result: Result, folder: Path) -> None:
    path = folder / WRITERS["csv"].file
    write_findings_csv(result.report, path)
    with path.open(newline="", encoding="utf-8") as file:
        read = [float(row["value"]) for row in csv.DictReader(file)]
    meant = [float(f"{m.value:.6g}") for finding in result.report.findings for m in finding.measurements]
    if read != meant:
        path.unlink()
        raise InputError(f"{path.name} was read back and holds other numbers. It was not delivered; this is a bug.")


def _write_radiomics(result: Result, folder: Path) -> None:
    write_radiomics_csv(result.report, result.volume, result.numbers, folder / WRITERS["radiomics"].file)


def _mask_writer(name: str) -> Callable[[Result, Path], None]:
    def write(result: Result, folder: Path) -> None:
        path = folder / WRITERS[name].file
        write_label_map(result.label_map, path)
        back = read_label_map(path, result.label_map.schema).reoriented("RAS")
        mine = result.label_map.reoriented("RAS")
        if back.geometry.difference(mine.geometry) is not None or not np.array_equal(back.array, mine.array):
            path.unlink()
            raise InputError(f"{path.name} was read back and is not the mask. It was not delivered; this is a bug.")

    return write


def _write_pdf(result: Result, folder: Path) -> None:
    write_report_pdf(result.report, result.volume, result.label_map, folder / WRITERS["pdf"].file)


def _write_dicom_pdf(result: Result, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="medseg-report-") as name:
        page = Path(name) / "report.pdf"
        write_report_pdf(result.report, result.volume, result.label_map, page)
        pdf = page.read_bytes()
    write_pdf_document(pdf, result.report.task.title, folder / WRITERS["dicom-pdf"].file, result.made)


def _write_dicom_seg(result: Result, folder: Path) -> None:
    write_segmentation(result.label_map, folder / WRITERS["dicom-seg"].file, result.made, None, result.regions)


def _write_dicom_sr(result: Result, folder: Path) -> None:
    segmentation = folder / WRITERS["dicom-seg"].file if result.regions.regions else None
    write_measurement_report(
        result.report, result.regions, folder / WRITERS["dicom-sr"].file, result.made, segmentation
    )


def _write_rtstruct(result: Result, folder: Path) -> None:
    write_structures(result.regions, folder / WRITERS["rtstruct"].file, result.made)


def _write_dicom_map(result: Result, folder: Path) -> None:
    if result.probability is None:
        raise InputError(
            "dicom-map needs the probability of each voxel, and none was kept. Segment with --probabilities, or give a "
            "map with --probability FILE."
        )
    write_parametric_map(result.probability, PROBABILITY, folder / WRITERS["dicom-map"].file, result.made)


def _write_dicom_pictures(result: Result, folder: Path) -> None:
    words = [
        f"{finding_name(finding)}: {'; '.join(f'{m.name} {m.value:.9g} {m.unit}' for m in finding.measurements)}"
        for finding in result.report.findings
    ]
    pictures = key_images(result.report, result.volume, result.label_map)
    path = folder / WRITERS["dicom-pictures"].file
    write_pictures(pictures, words or ["Nothing was found."], path, result.made)


WRITERS: Mapping[str, Writer] = {
    "json": Writer("report.json", _write_json, is_dicom=False),
    "csv": Writer("findings.csv", _write_csv, is_dicom=False),
    "nifti": Writer("segmentation.nii.gz", _mask_writer("nifti"), is_dicom=False),
    "nrrd": Writer("segmentation.nrrd", _mask_writer("nrrd"), is_dicom=False),
    "pdf": Writer("report.pdf", _write_pdf, is_dicom=False),
    "radiomics": Writer("radiomics.csv", _write_radiomics, is_dicom=False),
    "dicom-seg": Writer("segmentation.dcm", _write_dicom_seg),
    "dicom-sr": Writer("measurements.dcm", _write_dicom_sr, needs=("dicom-seg",)),
    "rtstruct": Writer("structures.dcm", _write_rtstruct),
    "dicom-map": Writer("probability.dcm", _write_dicom_map),
    "dicom-pdf": Writer("report.dcm", _write_dicom_pdf),
    "dicom-pictures": Writer("pictures.dcm", _write_dicom_pictures),
}
"""The list of formats, in the order in which they are written."""
