"""Where the service keeps what: databases and keys below `state`, scans and results below `work`.

STATE/
  queue.sqlite         what waits, runs, is done or failed
  ledger.sqlite        what was seen, passed over, held and stored
  audit.sqlite         who did what, lines that are only added
  service.json         where the running service answers
WORK/NAME/             one series and route; NAME is a hash
  images/              the series as it was fetched
  result/              report.json, segmentation.nii.gz, findings.csv
  objects/             what is stored in the archive
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError
from medseg.jobs.queue import Limits, Queue
from medseg.settings.model import Settings

SHORT = 12
"""Digits of a hash that people see."""


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and files of one service."""

    state: Path
    work: Path
    limits: Limits

    @staticmethod
    def of(settings: Settings) -> Places:
        """The places that the settings name; nothing is made."""
        jobs = settings.jobs
        limits = Limits(failures=jobs.failures, pause_s=jobs.pause_s, patience_s=3600 * jobs.patience_hours)
        return Places(settings.folders.state.absolute(), settings.folders.work.absolute(), limits)

    @property
    def queue_file(self) -> Path:
        """The queue's database."""
        return self.state / "queue.sqlite"

    @property
    def ledger_file(self) -> Path:
        """The ledger's database."""
        return self.state / "ledger.sqlite"

    @property
    def running_file(self) -> Path:
        """Where the running service answers."""
        return self.state / "service.json"

    def queue(self) -> Queue:
        """The queue, opened; to be closed."""
        return Queue(self.queue_file, self.limits)

    def work_of(self, job_id: str) -> Path:
        """The folder of a job."""
        return self.work / job_id[:32]

    def make(self) -> None:
        """Make both folders, readable by this user alone. Raises InputError where they cannot be made."""
        for folder in (self.state, self.work):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise InputError(f"the folder {folder} cannot be made: {error.strerror}. Name another one.") from error
