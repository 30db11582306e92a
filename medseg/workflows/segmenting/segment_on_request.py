"""Segment single scans when a person asks for it: queued, with live progress, and taken back at any moment.

FOLDER/
  requests.sqlite        the queue: a request survives whoever made it
  progress/ID.json       how far a request is that runs
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, MedsegError
from medseg.jobs.engine import Run
from medseg.jobs.job import Job, JobRecord
from medseg.jobs.local_engine import LocalEngine, LocalEngineConfig
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.worker_name import worker_name
from medseg.workflows.scans.take_in_scans import stem_of

WORKFLOW = "segment_on_request"
LIMITS = Limits(failures=1)
"""A request that failed would fail again: it is tried anew only when a person says so."""

_QUEUE, _PROGRESS = "requests.sqlite", "progress"
_SECONDS_BETWEEN_NOTES = 0.3
_IDENTITY_LETTERS = 12


class WithdrawnError(MedsegError):
    """The request was taken back while it ran."""


class RequestProgress(BaseModel):
    """What a running request does, and how much of how much of it is done."""

    model_config = ConfigDict(frozen=True)

    stage: str
    done: float
    total: float


class Requests:
    """The requests of one folder. Each call opens the queue for itself, so that any thread may ask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def submit(self, source: Path, model: Path, model_sha256: str, output: Path) -> str:
        """Ask for a scan to be segmented; the id. What was asked before and is settled is asked anew."""
        arguments: dict[str, JsonValue] = {
            "source": str(source.absolute()),
            "model": str(model.absolute()),
            "model_sha256": model_sha256,
            "output": str(output.absolute()),
        }
        job = Job(workflow=WORKFLOW, arguments=arguments)
        with self._queue() as queue:
            known = queue.record(job.id)
            if known is not None and known.state not in ("waiting", "running"):
                queue.forget([job.id])
            queue.submit([job])
        return job.id

    def records(self) -> tuple[JobRecord, ...]:
        """Every request, the newest first."""
        if not (self.folder / _QUEUE).is_file():
            return ()
        with self._queue() as queue:
            return queue.records()[::-1]

    def progress(self, job_id: str) -> RequestProgress | None:
        """How far a request is; None where nothing is known."""
        try:
            return RequestProgress.model_validate_json(_note_of(self.folder, job_id).read_bytes())
        except (OSError, ValidationError):
            return None

    def withdraw(self, job_id: str) -> bool:
        """Take a request back, also one that runs: its worker stops at its next step. Whether it could be."""
        with self._queue() as queue:
            return queue.withdraw(job_id)

    def retry(self, job_id: str) -> bool:
        """Try a request that failed or was taken back once more; whether it was one."""
        with self._queue() as queue:
            return queue.retry(job_id) == 1

    def set_aside(self, reason: str) -> None:
        """Record of each waiting request that it failed: nobody can work it off now."""
        with self._queue() as queue:
            while (claim := queue.claim(worker_name(os.getpid()))) is not None:
                queue.fail(claim, reason, is_final=True)

    def are_open(self) -> bool:
        """Whether a request waits or runs."""
        return any(record.state in ("waiting", "running") for record in self.records())

    def engine(self) -> LocalEngine:
        """What works the requests off, one after the other. Belongs to the thread that asks for it."""
        return LocalEngineConfig(workers=1).build(self.folder / _QUEUE, SegmentRequests(self.folder), LIMITS)

    def _queue(self) -> Queue:
        return Queue(self.folder / _QUEUE, LIMITS)


@dataclass(frozen=True, slots=True)
class SegmentRequests:
    """Starts a worker that segments what is asked for; it keeps the model that it used last."""

    folder: Path

    def __call__(self, threads: int) -> Run:
        """The worker's run, with so many threads."""
        import torch

        torch.set_num_threads(threads)
        return _Worker(self.folder)


class _Worker:
    """Runs requests; a model is loaded when it is not the one of the request before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._models: dict[str, Any] = {}

    def __call__(self, job: Job) -> JsonValue:
        from medseg.workflows.segmenting.segment_study import segment_study

        arguments = cast("dict[str, str]", job.arguments)
        note = _Note(self._folder, job.id)
        try:
            note("Loading the model", 0, 1)
            bundle = self._model(arguments["model"], arguments["model_sha256"])
            channel = bundle.spec.task.channels[0].name
            report = segment_study(
                {channel: Path(arguments["source"])}, bundle, Path(arguments["output"]), progress=note
            )
        finally:
            note.remove()
        return {"findings": len(report.findings), "seconds": round(report.duration_s, 1)}

    def _model(self, path: str, sha256: str) -> Any:
        from medseg.models.store import load_model

        if sha256 not in self._models:
            bundle = load_model(path)
            if bundle.sha256 != sha256:
                raise InputError(f"the model {path} was changed since it was chosen. Choose it again.")
            self._models = {sha256: bundle}
        return self._models[sha256]


class _Note:
    """Writes down how far a request is, and raises WithdrawnError once it was taken back."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self._folder, self._job_id = folder, job_id
        self._path = _note_of(folder, job_id)
        self._written_s = 0.0

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:  # noqa: ARG002 - as Progress says
        if time.monotonic() - self._written_s < _SECONDS_BETWEEN_NOTES:
            return
        with Queue(self._folder / _QUEUE, LIMITS) as queue:
            record = queue.record(self._job_id)
        if record is None or record.state != "running":
            raise WithdrawnError("it was taken back")
        with whole_file(self._path) as unfinished:
            unfinished.write_text(json.dumps({"stage": stage, "done": done, "total": total}), encoding="utf-8")
        self._written_s = time.monotonic()

    def remove(self) -> None:
        """Forget how far it was."""
        self._path.unlink(missing_ok=True)


def result_name(scan: str, model: str) -> str:
    """The name of the result folder of a scan and a model: what is no letter, digit, point or dash becomes one line."""
    return re.sub(r"[^\w.-]+", "_", f"{scan}__{model}").strip("._-")[-120:]


def result_folder(results: Path, source: Path, model: str) -> Path:
    """Where below `results` a model's result on a scan goes: the same for the same scan, another for each other one.

    The names of many scans end alike (2_thin, scan.nii.gz), so that a hash of where the scan lies is part of the name:
    seen from the folder around `results` where it lies in there, so that the whole may be moved.
    """
    place, around = source.resolve(), results.resolve().parent
    if place.is_relative_to(around):
        place = place.relative_to(around)
    identity = hashlib.sha256(place.as_posix().encode()).hexdigest()[:_IDENTITY_LETTERS]
    return results / f"{result_name(stem_of(source), model)}-{identity}"


def _note_of(folder: Path, job_id: str) -> Path:
    return folder / _PROGRESS / f"{job_id}.json"
