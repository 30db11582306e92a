"""The corrections in folders of results that a model may learn from, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.analysis.vessels.study_findings import with_blockages
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.core.report import Report
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.datasets.register.voxel_print import voxel_print
from medseg.exchange.read_again import read_again
from medseg.review.agreement import contradiction
from medseg.review.corrections import CorrectionStore
from medseg.review.records import Correction, mask_sha256
from medseg.review.standing import standing
from medseg.workflows.results.open_study import OpenedStudy, StudyEntry, list_studies, open_study, source_of
from medseg.workflows.reviewing.judge_readings import reviews_of

NOT_JUDGED = 255
"""The value of voxels in a corrected mask that nobody judged, where the task has none."""


@dataclass(frozen=True, slots=True, eq=False)
class AcceptedCorrection:
    """A corrected mask that a reader accepted, on its scan; `subject` is empty where the scan names no patient.

    `volumes` and `prints` are those of the task's channels, in their order. The mask holds the task's labels; where a
    blockage was drawn, which no network learns, its voxels are not judged: nobody said how much of the lumen is open.
    """

    study: str
    volumes: dict[str, Volume]
    label_map: LabelMap
    scan_sha256: str
    subject: str
    prints: tuple[str, ...]


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
    report = entry.report
    if report is None or report.task.channels != task.channels or not _is_for(task, report.task):
        raise InputError(f"it was segmented for another task than {task.name}")
    opened = open_study(entry)
    if opened.source_sha256 != report.source_sha256:
        raise InputError("its scan is not the one that was corrected: the voxels or the grid changed since")
    records = store.history(opened.source_sha256, report.task.name, report.model.sha256)
    problem = contradiction(records)
    if problem is not None:
        raise InputError(f"{problem}; let a third person adjudicate (`medseg review adjudicate`)")
    correction = standing(records, _model_mask(opened)).correction
    if correction is None:
        raise InputError("its correction is not accepted")
    label_map = store.mask(correction, report.task.label_schema)
    opened.volume.geometry.require_same(label_map.geometry, f"the scan and the corrected mask of {entry.name}")
    volumes = {task.channels[0].name: opened.volume, **_more_volumes(entry, report, task)}
    return AcceptedCorrection(
        study=entry.name,
        volumes=volumes,
        label_map=_for_training(label_map, task),
        scan_sha256=opened.source_sha256,
        subject=opened.series.study.patient_id,
        prints=tuple(voxel_print(volume) for volume in volumes.values()),
    )


def _is_for(task: Task, reported: Task) -> bool:
    """Whether a report's labels are the task's, but for the blockages that are looked for after the network."""
    return reported.labels in (task.labels, with_blockages(task).labels)


def _more_volumes(entry: StudyEntry, report: Report, task: Task) -> dict[str, Volume]:
    """The channels after the first. Raises InputError where one is not known, not there, or not as it was."""
    volumes = {}
    for channel in task.channels[1:]:
        known = report.more_channels.get(channel.name)
        if known is None:
            raise InputError(
                f"its report does not say where its channel {channel.name} lies: a medseg of before wrote it. Segment "
                "the study again."
            )
        facts = {"series": known.series, "source": known.source, "source_sha256": known.source_sha256}
        alone = report.model_copy(update=facts)
        scan = read_again(alone, source_of(entry, alone))
        if scan.sha256 != known.source_sha256:
            raise InputError(f"its channel {channel.name} is not the one that was corrected: it changed since")
        volumes[channel.name] = scan.volume
    return volumes


def _for_training(label_map: LabelMap, task: Task) -> LabelMap:
    """The mask with the task's labels only; a label more is not judged."""
    known = [label.index for label in task.labels]
    array = label_map.array
    if not np.isin(array, [0, *known], invert=True).any():
        return LabelMap(array, label_map.geometry, task.label_schema)
    ignored = task.ignored_index or NOT_JUDGED
    judged = np.where(np.isin(array, [0, *known]), array, ignored).astype(array.dtype)
    return LabelMap(judged, label_map.geometry, LabelSchema(labels=task.labels, ignored=ignored))


def _model_mask(opened: OpenedStudy) -> str:
    if opened.label_map is None:
        raise InputError("the model's mask cannot be read")
    return mask_sha256(opened.label_map)
