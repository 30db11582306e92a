"""Run a challenger beside the champion on what a batch has segmented; what was delivered is not touched.

BATCH/shadow/CHALLENGER.sqlite   a queue of one job a study, whose result is how the two masks compare

A shadow runs after the batch, from its own queue: nothing that befalls a challenger delays or spoils a result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import JsonValue

from medseg.analysis.evaluation.overlap import overlap_of
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.task import Task
from medseg.exchange.read import read_label_map
from medseg.jobs.engine import Run
from medseg.jobs.job import Job, JobRecord, JobState
from medseg.jobs.queue import Queue
from medseg.jobs.worker_name import is_gone
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.store import find_model, load_model
from medseg.review.promotion.shadow import ShadowResult
from medseg.workflows.progress import Progress, silent
from medseg.workflows.results.open_study import MASK_FILE, REPORT_FILE
from medseg.workflows.segmenting.process_batch import QUEUE, RESULTS, BatchOptions, loaded_unchanged, scans_of_job
from medseg.workflows.segmenting.segment_study import segment_scans

SHADOW = "shadow"
WORKFLOW = "shadow_scan"
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ShadowScans:
    """Starts a worker that segments delivered studies once more, with the challenger, and keeps the comparison only."""

    model: Path
    model_sha256: str
    results: Path
    device: InferenceDevice

    def __call__(self, threads: int) -> Run:
        """Load the challenger. Raises StoreError where it is not the one that the shadow began with."""
        torch.set_num_threads(threads)
        bundle, segmenter = loaded_unchanged(self.model, self.model_sha256, self.device)
        return lambda job: self._compare(job, bundle, segmenter)

    def _compare(self, job: Job, bundle: Model, segmenter: NetworkSegmenter) -> JsonValue:
        arguments = cast("dict[str, Any]", job.arguments)
        sources, scans = scans_of_job(arguments, bundle.spec.task)
        delivered = self.results / arguments["name"]
        with tempfile.TemporaryDirectory() as place:
            segment_scans(scans, sources, bundle, segmenter, Path(place) / "made")
            result = compare(arguments["name"], delivered, Path(place) / "made")
        return cast("JsonValue", result.model_dump(mode="json"))


def run_shadow(
    batch: Path,
    challenger: str | Path,
    options: BatchOptions | None = None,
    *,
    progress: Progress = silent,
) -> tuple[ShadowResult, ...]:
    """How a challenger compares with what a batch delivered, study by study; goes on where it was cut off.

    Raises InputError where the folder holds no batch, or the challenger is for another task.
    """
    options = options or BatchOptions()
    place = find_model(challenger)
    bundle = load_model(place)
    if not (batch / QUEUE).is_file():
        raise InputError(f"{batch} holds no batch. Give the output folder of `medseg batch`.")
    with Queue(batch / QUEUE) as queue:
        jobs = [_job(record, bundle) for record in queue.records("done")]
    if jobs:
        _require_same_task(bundle, batch / RESULTS / str(jobs[0].arguments["name"]))
    path = _queue_of(batch, bundle.sha256)
    path.parent.mkdir(exist_ok=True)
    with Queue(path, options.limits) as queue:
        queue.release(is_gone)
        ids = {job.id for job in jobs}
        queue.forget(record.job.id for record in queue.records() if record.job.id not in ids)
        queue.submit(jobs)
        start = ShadowScans(place.absolute(), bundle.sha256, (batch / RESULTS).absolute(), options.device)
        engine = options.engine.build(path, start, options.limits)
        try:
            engine.run(lambda states: progress("Running in shadow", _settled(states), len(jobs)))
        finally:
            engine.close()
    return shadow_results([batch], challenger_sha256=bundle.sha256)


def shadow_results(
    batches: Sequence[Path], champion_sha256: str | None = None, challenger_sha256: str | None = None
) -> tuple[ShadowResult, ...]:
    """What shadows found in the folders of batches; of one pair of models, or of one model, where they are named.

    Raises InputError where one is no folder.
    """
    found = []
    for batch in batches:
        if not batch.is_dir():
            raise InputError(f"{batch} is no folder. Give the output folder of a batch.")
        for path in sorted((batch / SHADOW).glob("*.sqlite")):
            with Queue(path) as queue:
                found += [_result(record) for record in queue.records("done", "quarantined")]
    return tuple(
        one
        for one in found
        if champion_sha256 in (None, one.champion_sha256) and challenger_sha256 in (None, one.challenger_sha256)
    )


def compare(name: str, delivered: Path, made: Path) -> ShadowResult:
    """Two result folders of one scan. Raises InputError where the scan is not the one that was delivered."""
    reports = [Report.model_validate_json((folder / REPORT_FILE).read_bytes()) for folder in (delivered, made)]
    if reports[0].source_sha256 != reports[1].source_sha256:
        raise InputError(f"the scan of {name} changed since it was delivered. Run the batch again.")
    masks = [
        read_label_map(folder / MASK_FILE, report.task.label_schema)
        for folder, report in zip((delivered, made), reports, strict=True)
    ]
    volumes = [_volumes_ml(mask) for mask in masks]
    names = sorted({*volumes[0], *volumes[1]})
    return ShadowResult(
        study=name,
        scan_sha256=reports[0].source_sha256,
        champion_sha256=reports[0].model.sha256,
        challenger_sha256=reports[1].model.sha256,
        dice={one: _dice(masks[0], masks[1], one) for one in names},
        volume_ml={one: (volumes[0].get(one, 0.0), volumes[1].get(one, 0.0)) for one in names},
        findings={one: (_count(reports[0], one), _count(reports[1], one)) for one in names},
        seconds=(reports[0].duration_s, reports[1].duration_s),
    )


def _volumes_ml(mask: LabelMap) -> dict[str, float]:
    """Of the labels that are there."""
    counts = {label.name: int(mask.mask(label.index).sum()) for label in mask.schema.labels}
    return {name: count * mask.geometry.voxel_volume_ml for name, count in counts.items() if count}


def _dice(one: LabelMap, other: LabelMap, name: str) -> float:
    first, second = (mask.mask(mask.schema.named(name).index) for mask in (one, other))
    return overlap_of(first, second, one.geometry.voxel_volume_ml).dice


def _count(report: Report, name: str) -> int:
    return sum(finding.label.name == name for finding in report.findings)


def _job(record: JobRecord, challenger: Model) -> Job:
    arguments = record.job.arguments
    return Job(
        workflow=WORKFLOW,
        arguments={
            **{key: arguments[key] for key in ("name", "sources", "series", "input_sha256")},
            "champion_sha256": arguments["model_sha256"],
            "model_sha256": challenger.sha256,
        },
    )


def _result(record: JobRecord) -> ShadowResult:
    """What a job found; a study that was set aside is one on which the challenger failed."""
    if record.state == "done":
        return ShadowResult.model_validate(record.result)
    arguments = record.job.arguments
    return ShadowResult(
        study=str(arguments["name"]),
        scan_sha256=str(arguments["input_sha256"]),
        champion_sha256=str(arguments["champion_sha256"]),
        challenger_sha256=str(arguments["model_sha256"]),
        failure=record.reason or "it was set aside",
    )


def _require_same_task(challenger: Model, delivered: Path) -> None:
    task: Task = challenger.spec.task
    report = Report.model_validate_json((delivered / REPORT_FILE).read_bytes())
    names = {label.name for label in report.task.labels}
    if report.task.channels != task.channels or not {label.name for label in task.labels} <= names:
        raise InputError(
            f"the challenger {challenger.name} is for the task {task.name}, the batch was segmented for "
            f"{report.task.name}; their channels or labels differ. Choose a challenger that fits."
        )


def _queue_of(batch: Path, challenger_sha256: str) -> Path:
    return batch / SHADOW / f"{challenger_sha256[:_DIGITS]}.sqlite"


def _settled(states: dict[JobState, int]) -> int:
    return states["done"] + states["quarantined"] + states["cancelled"]
