"""Job: a piece of work as data, so that it crosses processes, machines and restarts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

JobState = Literal["waiting", "running", "done", "quarantined", "cancelled"]
"""A job waits, runs and is done; or it fails, waits again, and after too many failures is set aside with its reason."""

SETTLED: tuple[JobState, ...] = ("done", "quarantined", "cancelled")
"""States in which nothing more happens to a job by itself."""


class Job(BaseModel):
    """The name of a workflow and its arguments as JSON; two jobs that ask for the same have the same `id`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workflow: str = Field(min_length=1)
    arguments: dict[str, JsonValue] = {}

    @property
    def id(self) -> str:
        """Hash of workflow and arguments, as 64 hexadecimal digits; the order of the arguments does not matter."""
        content = [self.workflow, self.arguments]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one worker to run a job until its lease ends; whoever holds another claim cannot finish it."""

    job: Job
    worker: str
    token: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What the queue knows of a job.

    `starts` counts how often a worker took it up, `failures` how often it failed since it was submitted or retried.
    `reason` is why it failed last, `result` what its run returned; times are seconds since 1970.
    """

    job: Job
    state: JobState
    starts: int
    failures: int
    worker: str | None
    reason: str | None
    result: JsonValue
    submitted_s: float
    settled_s: float | None
    priority: int = 0
