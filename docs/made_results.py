"""Made results for the pictures of the viewer: no patient, masks that are the known truth or a part of it."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy import ndimage

from apps.viewer.desk import WORK_FOLDER
from medseg.analysis.quantification.measure import measure_findings
from medseg.core.findings import Mark
from medseg.core.label_map import LabelMap
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.datasets.phantoms.study import make_study, phantom_grid
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_label_map, write_volume
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.marks import MarkList, MarkStore
from medseg.review.records import Decision, mask_sha256
from medseg.workflows.models.list_models import model_named
from medseg.workflows.segmenting.find_blockages import find_blockages
from medseg.workflows.segmenting.segment_on_request import Requests, result_folder

TASK = load_task("phantom_ct")
READER = Signature("reader", model_sha256="5e" * 32)


@dataclass(frozen=True, slots=True)
class Made:
    """One study to make: its folder, whose, of which day, from which seed, and whether it is the earlier one."""

    name: str
    patient: str
    date: str
    seed: int
    is_earlier: bool = False


STUDIES = (
    Made("made_a", "Made^Anna", "20260312", 4),
    Made("made_a_before", "Made^Anna", "20251201", 4, is_earlier=True),
    Made("made_b", "Made^Bert", "20260310", 7),
    Made("made_c", "Made^Cara", "20260309", 9),
)


def write_made_results(root: Path) -> Path:
    """A folder of four results: one measured on, one read twice, two decided; a vessel; and two jobs asked for."""
    results = root / "results"
    reports = [_write(made, root / "scans", results) for made in STUDIES]
    store = CorrectionStore(results / REVIEW_FOLDER)
    _read_twice(store, *reports[1])
    decisions: tuple[Decision, Decision] = ("accepted", "rejected")
    for (report, label_map), decision in zip(reports[2:], decisions, strict=True):
        subject = (report.source_sha256, TASK.name)
        store.decide(mask_sha256(label_map), decision, None, *subject, by=READER)
    report, _ = reports[0]
    lesion = next(finding for finding in report.findings if finding.label.is_counted)
    x, y, z = lesion.centroid_mm
    length = Mark(kind="length", plane="axial", points_mm=((x - 14, y - 6, z), (x + 14, y + 6, z)))
    MarkStore(results / REVIEW_FOLDER).keep(MarkList(marks=(length,)), report.source_sha256, getpass.getuser())
    _write_vessel(root, results / "vessels")
    _ask_for_jobs(results)
    return results


def _read_twice(store: CorrectionStore, report: Report, label_map: LabelMap) -> None:
    """Let one reader draw the lesions a little larger and another, who has not seen it, a little smaller."""
    lesion, organ = (TASK.label_schema.named(name).index for name in ("lesion", "organ"))
    is_lesion = label_map.array == lesion
    larger, smaller = label_map.array.copy(), label_map.array.copy()
    larger[ndimage.binary_dilation(is_lesion) & (label_map.array == organ)] = lesion
    smaller[is_lesion & ~ndimage.binary_erosion(is_lesion)] = organ
    subject = (report.source_sha256, TASK.name)
    for reader, drawn, reason in (("jane", larger, "the rim enhances"), ("john", smaller, "")):
        by = Signature(reader, reason, 74.0, READER.model_sha256)
        corrected = LabelMap(drawn, label_map.geometry, label_map.schema)
        store.correct(corrected, label_map, *subject, by=by, is_second_reading=reader == "john")


def _ask_for_jobs(results: Path) -> None:
    """Two scans for a model that comes with medseg: one that it can be run on, and one that was cut short."""
    model = model_named("hippocampus_mr", None)
    noise = np.random.default_rng(0).normal(100, 20, (40, 44, 40)).astype(np.int16)
    write_volume(Volume(noise, phantom_grid(noise.shape, (1.0, 1.0, 1.0))), results / "head.nii")
    whole = (results / "head.nii").read_bytes()
    (results / "head_cut.nii").write_bytes(whole[: len(whole) // 2])
    for scan in (results / "head.nii", results / "head_cut.nii"):
        output = result_folder(results / "segmented", scan, model.name)
        Requests(results / WORK_FOLDER).submit(scan, model.path, model.sha256, output)


def _write(made: Made, scans: Path, results: Path) -> tuple[Report, LabelMap]:
    study = make_study(made.seed, phantom_grid((150, 150, 100), (1.6, 1.6, 1.9)))
    volume, labels = study.volume, study.label_map.array.copy()
    if made.is_earlier:
        # Another scan of the same patient, on which each lesion is a voxel smaller all around, and one is not there.
        lesion = TASK.label_schema.named("lesion").index
        lesions, count = ndimage.label(ndimage.binary_erosion(labels == lesion))
        labels[labels == lesion] = TASK.label_schema.named("organ").index
        labels[(lesions > 0) & (lesions < count)] = lesion
        volume = Volume(volume.array + np.int16(1), volume.geometry, volume.unit)
    scan = scans / f"{made.name}.nii.gz"
    write_volume(volume, scan)
    label_map = LabelMap(labels, volume.geometry, TASK.label_schema)
    write_label_map(label_map, results / made.name / "segmentation.nii.gz")
    who = Study(patient_id=f"P-{made.seed:03}", patient_name=made.patient, date=made.date, description="Abdomen")
    report = Report(
        series=Series(who, "CT", description="Portal venous"),
        source=scan,
        source_sha256=read_scan(scan).sha256,
        task=TASK,
        model=ModelIdentity(name="made_unet", sha256=READER.model_sha256, medseg_version="0.1.0"),
        findings=measure_findings(label_map, TASK, volume),
        created=datetime.now(UTC) - timedelta(hours=5),
        duration_s=4.0,
    )
    (results / made.name / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return report, label_map


def _write_vessel(root: Path, output: Path) -> None:
    """A curved vessel of 4 mm, narrowed to 1.6 mm half-way, as the share of vessel in each voxel."""
    i, j, k = np.indices((70, 60, 120)) * 0.5
    along = (k - 30) / 30
    middle = (17.5 + 9 * np.sin(2 * along), 15 + 4 * np.cos(3 * along))
    radius = 2.0 - 1.2 * np.exp(-(((k - 30) / 3) ** 2))
    share = np.clip((radius - np.hypot(i - middle[0], j - middle[1])) / 0.5 + 0.5, 0, 1).astype(np.float32)
    geometry = phantom_grid(share.shape, (0.5, 0.5, 0.5), "RAS")
    write_volume(Volume(share, geometry), root / "map.nii.gz")
    find_blockages(root / "map.nii.gz", output)
