"""Segment many scans: find them, queue them, work the queue off, and say of every file what became of it.

OUTPUT/
  batch.sqlite      the queue: a batch that was killed goes on from here
  batch.json        which model the results are of, and what was passed over
  batch.lock        held while a batch runs here; several may
  manifest.jsonl    a line for each scan and each file that was passed over
  results/NAME/     a result folder for each scan: report.json, segmentation.nii.gz, findings.csv
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import JsonValue

from medseg.core.atomic import discard_all_unfinished, whole_file
from medseg.core.errors import InputError, StoreError
from medseg.core.presence import Presence, present
from medseg.core.task import Task
from medseg.exchange.scan import Mends, Scan
from medseg.jobs.engine import Run
from medseg.jobs.job import SETTLED, Job, JobRecord, JobState
from medseg.jobs.local_engine import LocalEngineConfig
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.ray_engine import RayEngineConfig
from medseg.jobs.worker_name import is_gone
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.store import find_model, load_model
from medseg.workflows.peak_memory import peak_memory_mb, reset_peak_memory
from medseg.workflows.progress import Progress, silent
from medseg.workflows.scans.find_scans import FoundScan, FoundScans, find_scans
from medseg.workflows.segmenting.batch_record import BATCH, add_to_record, read_record
from medseg.workflows.segmenting.segment_study import read_channels, segment_scans

QUEUE, LOCK = "batch.sqlite", "batch.lock"
MANIFEST, RESULTS = "manifest.jsonl", "results"
WORKFLOW = "segment_scan"
_SECONDS_BETWEEN_MANIFESTS = 5.0


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is run.

    `limit` takes the first scans only; `only_failed` tries those again that were set aside, and no others;
    `keeps_probabilities` keeps the probability of each voxel beside each mask.
    """

    engine: LocalEngineConfig | RayEngineConfig = field(default_factory=LocalEngineConfig)
    device: InferenceDevice = "auto"
    limit: int | None = None
    only_failed: bool = False
    keeps_probabilities: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """How a batch ended: scans by state, those new in this run, files passed over, and seconds of this run."""

    states: dict[JobState, int]
    submitted: int
    passed_over: int
    failures: tuple[JobRecord, ...]
    duration_s: float

    @property
    def has_failures(self) -> bool:
        """Whether some scans were set aside; the command then ends with exit code 3."""
        return bool(self.failures)


def scans_of_job(arguments: Mapping[str, Any], task: Task) -> tuple[dict[str, Path], dict[str, Scan]]:
    """Where the scans of a job lie, and the scans, each the very series that was found."""
    sources = {name: Path(path) for name, path in arguments["sources"].items()}
    mends = {name: Mends(series=uid) for name, uid in arguments["series"].items()}
    return sources, read_channels(sources, task, mends=mends)


def loaded_unchanged(model: Path, sha256: str, device: InferenceDevice) -> tuple[Model, NetworkSegmenter]:
    """The model with this hash, ready to segment. Raises StoreError where another lies there by now."""
    bundle = load_model(model)
    if bundle.sha256 != sha256:
        raise StoreError(f"the model {model} was changed while the batch ran. Start the batch again.")
    return bundle, NetworkSegmenter.on(bundle, device)


@dataclass(frozen=True, slots=True)
class SegmentScans:
    """Starts a worker that segments scans with one model, loaded once."""

    model: Path
    model_sha256: str
    results: Path
    device: InferenceDevice

    def __call__(self, threads: int) -> Run:
        """Load the model. Raises StoreError where it is not the one that the batch began with."""
        torch.set_num_threads(threads)
        bundle, segmenter = loaded_unchanged(self.model, self.model_sha256, self.device)
        return lambda job: self._segment(job, bundle, segmenter)

    def _segment(self, job: Job, bundle: Model, segmenter: NetworkSegmenter) -> JsonValue:
        begin = time.perf_counter()
        reset_peak_memory()
        arguments = cast("dict[str, Any]", job.arguments)
        wanted = arguments.get("model_sha256", bundle.sha256)
        if wanted != bundle.sha256:
            raise StoreError(
                f"the scan waits for the model {wanted[:12]}, and this batch has {bundle.name}, {bundle.sha256[:12]}. "
                "Start the batch again in another output folder."
            )
        sources, scans = scans_of_job(arguments, bundle.spec.task)
        output = self.results / arguments["name"]
        keeps = bool(arguments.get("keeps_probabilities", False))
        report = segment_scans(scans, sources, bundle, segmenter, output, keeps_probabilities=keeps)
        return {
            "output": f"{RESULTS}/{arguments['name']}",
            "findings": len(report.findings),
            "warnings": list(report.warnings),
            "scan_sha256": report.source_sha256,
            "seconds": round(time.perf_counter() - begin, 3),
            "peak_memory_mb": peak_memory_mb(),
        }


def plan_batch(
    source: Path, bundle: Model, output: Path, *, data_root: Path | None = None, progress: Progress = silent
) -> FoundScans:
    """What a batch would do; nothing is written. Raises InputError where the input holds nothing that can be used."""
    found = find_scans(source, bundle.spec.task, output, data_root=data_root, progress=progress)
    if not found.scans:
        raise InputError(
            f"{source} holds no scan for this model (task {bundle.spec.task.name}); "
            f"{len(found.passed_over)} files or series were passed over"
            + (f", the first: {found.passed_over[0].path}: {found.passed_over[0].reason}" if found.passed_over else "")
        )
    return found


def process_batch(
    source: Path,
    model: Path,
    output: Path,
    options: BatchOptions | None = None,
    *,
    data_root: Path | None = None,
    progress: Progress = silent,
) -> BatchSummary:
    """Segment every scan of the input; the summary, after manifest.jsonl was written.

    A batch that was killed, or is run again, does only what is not done yet. A scan that fails is tried three times,
    then set aside with its reason while the others go on. Raises InputError where nothing can be begun at all.
    """
    begin = time.perf_counter()
    options = options or BatchOptions()
    model = find_model(model)
    bundle = load_model(model)
    _require_folder_for_batches(output)
    read_record(output, bundle)
    found = FoundScans((), ())
    if not options.only_failed:
        found = plan_batch(source, bundle, output, data_root=data_root, progress=progress)
    elif not (output / QUEUE).is_file():
        raise InputError(f"there is no batch in {output} of which failed scans could be tried again")
    keeps = options.keeps_probabilities
    jobs = [_job(scan, bundle, keeps_probabilities=keeps) for scan in found.scans[: options.limit]]
    # The queue first: a folder that holds something and no queue is taken for somebody else's.
    with Queue(output / QUEUE, options.limits) as queue, present(output / LOCK) as presence:
        with queue.held():  # another batch may have begun here since
            add_to_record(output, bundle, {} if options.only_failed else {source: found.passed_over})
        queue.release(is_gone)
        _discard_left(output, queue, presence)
        submitted = queue.retry() if options.only_failed else _submit(queue, jobs)
        start = SegmentScans(model.absolute(), bundle.sha256, (output / RESULTS).absolute(), options.device)
        engine = options.engine.build(output / QUEUE, start, options.limits)
        try:
            states = engine.run(_Told(queue, output, bundle, progress))
        finally:
            engine.close()
            if queue.path.exists():  # else the folder was removed, and is not begun anew without its queue
                _write_manifest(output, queue, bundle)
                _discard_left(output, queue, presence)
        failures = queue.records("quarantined")
    return BatchSummary(states, submitted, len(found.passed_over), failures, time.perf_counter() - begin)


def _job(scan: FoundScan, bundle: Model, *, keeps_probabilities: bool) -> Job:
    """The job of a scan: the same bytes under the same name for the same model, and as much kept, are the same job."""
    arguments: dict[str, JsonValue] = {
        "name": scan.name,
        "sources": {name: str(path.absolute()) for name, path in scan.sources.items()},
        "series": dict(scan.series),
        "input_sha256": scan.sha256,
        "model_sha256": bundle.sha256,
    }
    if keeps_probabilities:
        arguments["keeps_probabilities"] = True
    return Job(workflow=WORKFLOW, arguments=arguments)


def _discard_left(output: Path, queue: Queue, presence: Presence) -> None:
    """Remove what killed writers left, unless another batch, or a worker that outlived its own, is at work here."""
    with presence.alone() as is_alone:
        if is_alone and queue.counts()["running"] == 0:
            discard_all_unfinished(output)
            discard_all_unfinished(output / RESULTS)


def _submit(queue: Queue, jobs: list[Job]) -> int:
    """Queue the jobs; what is known of other bytes under the same names is forgotten. How many were new."""
    names = {job.arguments["name"] for job in jobs}
    ids = {job.id for job in jobs}
    queue.forget(
        record.job.id
        for record in queue.records()
        if record.job.arguments["name"] in names and record.job.id not in ids
    )
    return queue.submit(jobs)


class _Told:
    """Passes the engine's counts on to a person, and writes the manifest now and then."""

    def __init__(self, queue: Queue, output: Path, bundle: Model, progress: Progress) -> None:
        self._queue, self._output, self._bundle, self._progress = queue, output, bundle, progress
        self._begin_s = self._written_s = time.monotonic()
        self._settled_before = _settled(queue.counts())

    def __call__(self, states: dict[JobState, int]) -> None:
        settled, total = _settled(states), sum(states.values())
        minutes = (time.monotonic() - self._begin_s) / 60
        note = f"{settled} of {total}, {(settled - self._settled_before) / max(minutes, 1e-3):.1f} a minute"
        failed = f", {states['quarantined']} failed" if states["quarantined"] else ""
        self._progress("Segmenting scans", settled, total, note + failed)
        if time.monotonic() - self._written_s > _SECONDS_BETWEEN_MANIFESTS:
            self._written_s = time.monotonic()
            _write_manifest(self._output, self._queue, self._bundle)


def _settled(states: dict[JobState, int]) -> int:
    return sum(states[state] for state in SETTLED)


def _write_manifest(output: Path, queue: Queue, bundle: Model) -> None:
    """Every scan of the queue and every file that was passed over, a line of JSON each; whole or not at all."""
    lines: list[dict[str, Any]] = [_line(record) for record in queue.records()]
    lines += [
        {"path": str(passed.path), "state": "passed over", "reason": passed.reason}
        for passed in read_record(output, bundle).all_passed_over
    ]
    with whole_file(output / MANIFEST) as unfinished:
        unfinished.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")


def _line(record: JobRecord) -> dict[str, Any]:
    result = record.result if isinstance(record.result, dict) else {}
    return {**record.job.arguments, "state": record.state, "starts": record.starts, "reason": record.reason, **result}


def _require_folder_for_batches(output: Path) -> None:
    """Raise InputError where something else than batches stands at `output`."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; the output of a batch is a folder. Choose another name.")
    own = (output / BATCH, output / QUEUE)
    if output.is_dir() and any(output.iterdir()) and not any(path.is_file() for path in own):
        raise InputError(f"{output} holds other files. Choose a new or an empty folder for a batch.")
