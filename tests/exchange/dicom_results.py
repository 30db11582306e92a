"""A made result for the tests of written objects: a series on any grid, a mask on it, and what was measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from dicom_oracle import CORONAL, PRONE, SAGITTAL, Grid, Storage, made_series, save_all, turned
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medseg.analysis.quantification.lesions import find_instances
from medseg.analysis.quantification.measure import measure_findings
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label
from medseg.core.report import ModelIdentity, Report
from medseg.core.task import Channel, Task
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.regions import Regions, regions_of_findings
from medseg.exchange.dicom.writing.source import Made
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends
from medseg.exchange.write import write_label_map

VALIDATOR = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))
ANATOMY = Code(value="123037004", scheme="SCT", meaning="Anatomical Structure")
ALTERED = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
LEFT = Code(value="7771000", scheme="SCT", meaning="Left")
MODEL = ModelIdentity(name="liver lesions", sha256="ab" * 32, medseg_version="0.1.0")
CREATED = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
TASK = Task(
    name="made",
    title="A made question",
    channels=(Channel(name="CT", modality="CT"),),
    labels=(
        Label(index=1, name="kidney", code=Code(value="64033007", scheme="SCT", meaning="Kidney"), category=ANATOMY,
              colour=(200, 80, 60), modifier=LEFT),
        Label(index=7, name="cyst", code=Code(value="367643001", scheme="SCT", meaning="Cyst"), category=ALTERED,
              colour=(20, 80, 160), kind="lesion"),
        Label(index=300, name="tumour", code=Code(value="108369006", scheme="SCT", meaning="Neoplasm"),
              category=ALTERED, colour=(250, 220, 60), kind="lesion"),
    ),
    measurements=("volume", "diameters", "intensity"),
    min_finding_ml=0.003,
)  # fmt: skip
GRIDS = {
    "axial": Grid(),
    "prone": Grid(directions=PRONE),
    "coronal": Grid(directions=CORONAL),
    "sagittal": Grid(directions=SAGITTAL),
    "oblique 1": Grid(directions=turned(1)),
    "oblique 2": Grid(directions=turned(2)),
    "oblique 5": Grid(directions=turned(5)),
    "tilted": Grid(tilt=0.8),
    "tilted backward, oblique": Grid(tilt=-0.6, directions=turned(7)),
    "one slice": Grid(count=1),
    "thick": Grid(step=7.5, row_spacing=0.5, column_spacing=1.2),
    "far away": Grid(origin=(-412.123, 298.7, 603.9)),
}
"""Twelve ways a series may lie in the patient."""


@dataclass(frozen=True)
class Result:
    """Everything a writer is given."""

    report: Report
    volume: Volume
    label_map: LabelMap
    numbers: NDArray[np.uint16]
    regions: Regions
    made: Made


def images(grid: Grid) -> list[Dataset]:
    """The slices of a grid, with what a hospital's files say of patient and study; HU from -32768 to 32767."""
    slices = made_series(grid, Storage())
    for one in slices:
        one.StudyDate = one.SeriesDate = "20260301"
        one.StudyTime = "120000"
        one.PatientBirthDate = one.PatientSex = one.AccessionNumber = one.ReferringPhysicianName = one.StudyID = ""
        one.Manufacturer = "made"
        one.PositionReferenceIndicator = ""
    return slices


def mask_on(geometry: Geometry) -> LabelMap:
    """A kidney with a hole, a cyst in the hole, two tumours of which one touches the border, and a speck."""
    array = np.zeros(geometry.shape, np.uint16)
    array[1:7, 1:7, :4] = 1
    array[3:5, 3:5, :3] = 0
    array[3, 3, :2] = 7
    array[5:, 8:, :3] = 300
    array[0:2, 8:, :2] = 300
    array[3, 9, 0] = 300  # smaller than the least finding
    return LabelMap(array, geometry, TASK.label_schema)


def numbers_of(label_map: LabelMap) -> NDArray[np.uint16]:
    """Where the first, the second ... finding is."""
    numbers = np.zeros(label_map.array.shape, np.uint16)
    for number, instance in enumerate(find_instances(label_map, TASK), start=1):
        numbers[instance.component.box][instance.component.mask] = number
    return numbers


def report_of(volume: Volume, label_map: LabelMap, made: Made, folder: Path) -> Report:
    scan = read_scan(folder)
    findings = measure_findings(label_map, TASK, volume)
    with_interval = tuple(
        finding.model_copy(
            update={
                "measurements": tuple(
                    one.model_copy(update={"interval": (one.value * 0.9, one.value * 1.25)})
                    if one.name == "volume"
                    else one
                    for one in finding.measurements
                )
            }
        )
        for finding in findings
    )
    return Report(
        series=scan.series,
        source=folder,
        source_sha256=scan.sha256,
        task=TASK,
        model=made.model,
        findings=with_interval,
        warnings=("a slice was doubtful",),
        created=made.created,
        duration_s=2.0,
    )


def result_on(folder: Path, grid: Grid | None = None, slices: list[Dataset] | None = None) -> Result:
    """A made series in `folder / "image"`, a mask on it, and the report of both."""
    save_all(slices or images(grid or Grid()), folder / "image")
    scan = read_scan(folder / "image")
    made = Made(MODEL, scan.series.files, CREATED)
    label_map = mask_on(scan.volume.geometry)
    report = report_of(scan.volume, label_map, made, folder / "image")
    numbers = numbers_of(label_map)
    return Result(
        report, scan.volume, label_map, numbers, regions_of_findings(label_map, report.findings, numbers), made
    )


def result_folder(source: Path, folder: Path, mends: Mends | None = None) -> Report:
    """A result folder as `medseg segment` writes it, of a scan read with these choices."""
    mends = mends or Mends()
    scan = read_scan(source, series=mends.series, phase=mends.phase, allow_gaps=mends.allow_gaps)
    mask = mask_on(scan.volume.geometry)
    report = Report(
        series=scan.series, source=source, source_sha256=scan.sha256, task=TASK, model=MODEL,
        findings=measure_findings(mask, TASK, scan.volume), created=CREATED, duration_s=1.0,
    )  # fmt: skip
    folder.mkdir()
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    write_label_map(mask, folder / "segmentation.nii.gz")
    return report


def require_valid(path: Path) -> None:
    """No error by dciodvfy, where it is installed."""
    if VALIDATOR is not None:
        said = subprocess.run([VALIDATOR, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr, said.stderr
