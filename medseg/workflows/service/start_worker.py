"""TreatSeries: how a worker of the service begins. What it needs is imported in its own process alone."""

from __future__ import annotations

from dataclasses import dataclass

from medseg.jobs.engine import Run
from medseg.review.audit import AuditLog
from medseg.settings.model import Settings
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places
from medseg.workflows.service.write_log import log_to


@dataclass(frozen=True, slots=True)
class TreatSeries:
    """Starts a worker that treats the series of one service."""

    settings: Settings

    def __call__(self, threads: int) -> Run:
        """The worker's run, with so many threads."""
        import torch

        from medseg.workflows.service.treat_series import Worker

        log_to(self.settings.log)
        torch.set_num_threads(threads)
        places = Places.of(self.settings)
        return Worker(self.settings, places, Ledger(places.ledger_file), AuditLog(places.state))
