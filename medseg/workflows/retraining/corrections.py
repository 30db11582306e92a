"""The corrections in folders of results that a model may learn from, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.datasets.register.voxel_print import voxel_print
from medseg.review.agreement import contradiction
from medseg.review.corrections import CorrectionStore
from medseg.review.records import Correction, mask_sha256
from medseg.review.standing import standing
from medseg.workflows.results.open_study import OpenedStudy, StudyEntry, list_studies, open_study
from medseg.workflows.reviewing.judge_readings import reviews_of


@dataclass(frozen=True, slots=True, eq=False)
class AcceptedCorrection:
    """A corrected mask that a reader accepted, on its scan; `subject` is empty where the scan names no patient."""

    study: str
    volume: Volume
    label_map: LabelMap
    scan_sha256: str
    subject: str
    print: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A corrected study that is not learned from, and why."""

    study: str
    reason: str


def accepted_corrections(folders: Sequence[Path], task: Task) -> Iterator[AcceptedCorrection | LeftOut]:
    """Every corrected study of the folders, one at a time. Raises StoreError where a corrected mask was lost."""
    for folder in folders:
        store = reviews_of(folder)
        store.verify()
        for entry in list_studies(folder):
            if entry.report is None:
                continue
            records = store.history(entry.report.source_sha256, entry.report.task.name, entry.report.model.sha256)
            if any(isinstance(record, Correction) for record in records):
                try:
                    yield _accepted(entry, store, task)
                except InputError as error:
                    yield LeftOut(entry.name, str(error))


def _accepted(entry: StudyEntry, store: CorrectionStore, task: Task) -> AcceptedCorrection:
    """Raises InputError, saying why, where the study is not to be learned from."""
    if entry.report is None or entry.report.task.labels != task.labels or entry.report.task.channels != task.channels:
        raise InputError(f"it was segmented for another task than {task.name}")
    if len(task.channels) > 1:
        raise InputError("its report names the scan of one channel only, and the task has several")
    opened = open_study(entry)
    if opened.source_sha256 != entry.report.source_sha256:
        raise InputError("its scan is not the one that was corrected: the voxels or the grid changed since")
    records = store.history(opened.source_sha256, entry.report.task.name, entry.report.model.sha256)
    problem = contradiction(records)
    if problem is not None:
        raise InputError(f"{problem}; let a third person adjudicate (`medseg review adjudicate`)")
    correction = standing(records, _model_mask(opened)).correction
    if correction is None:
        raise InputError("its correction is not accepted")
    label_map = store.mask(correction, task.label_schema)
    opened.volume.geometry.require_same(label_map.geometry, f"the scan and the corrected mask of {entry.name}")
    return AcceptedCorrection(
        study=entry.name,
        volume=opened.volume,
        label_map=label_map,
        scan_sha256=opened.source_sha256,
        subject=opened.series.study.patient_id,
        print=voxel_print(opened.volume),
    )


def _model_mask(opened: OpenedStudy) -> str:
    if opened.label_map is None:
        raise InputError("the model's mask cannot be read")
    return mask_sha256(opened.label_map)
