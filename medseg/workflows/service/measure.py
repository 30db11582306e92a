"""What Prometheus is told: states, times and disk; labels are names out of medseg.toml, never of a patient."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from medseg import __version__
from medseg.core.errors import MedsegError
from medseg.jobs.job import JobRecord
from medseg.workflows.service.answer_health import Health
from medseg.workflows.service.intake.watch_archive import ARCHIVE
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Measures:
    """The registry of one service: what is counted as it happens, and what is looked up when it is asked for."""

    def __init__(self, places: Places, ledger: Ledger, health: Health) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "medseg_step_seconds", "What a step of a job took", ["step"], buckets=_SECONDS, registry=self.registry
        )
        self._settled = Counter(
            "medseg_jobs_settled", "Jobs that came to an end", ["route", "state"], registry=self.registry
        )
        self._starts = Counter("medseg_process_starts", "Starts of a process", ["process"], registry=self.registry)
        self.registry.register(_Looked(places, ledger, health))

    def settled(self, record: JobRecord) -> None:
        """Count a job that came to an end."""
        self._settled.labels(str(record.job.arguments.get("route")), record.state).inc()
        result = record.result if isinstance(record.result, dict) else {}
        seconds = result.get("seconds")
        for step, taken in seconds.items() if isinstance(seconds, dict) else ():
            if isinstance(taken, int | float):
                self._seconds.labels(step).observe(taken)

    def started(self, process: str) -> None:
        """Count the start of a process."""
        self._starts.labels(process).inc()


class _Looked(Collector):
    """Looks things up at each scrape."""

    def __init__(self, places: Places, ledger: Ledger, health: Health) -> None:
        self._places, self._ledger, self._health = places, ledger, health

    def collect(self) -> Iterable[Metric]:
        """The gauges; those of a database that cannot be read are left out."""
        yield _gauge("medseg_info", "The version that runs", "version", {__version__: 1})
        problems = self._health.problems
        yield _gauge("medseg_up", "Whether a part works", "part", {name: not told for name, told in problems.items()})
        free = {name: shutil.disk_usage(place).free for name, place in self._folders() if place.is_dir()}
        yield _gauge("medseg_disk_free_bytes", "Free space", "folder", free)
        try:
            yield from self._from_databases()
        except MedsegError:
            return

    def _from_databases(self) -> Iterable[Metric]:
        with self._places.queue() as queue:
            yield _gauge(
                "medseg_jobs", "Jobs by state", "state", {str(state): count for state, count in queue.counts().items()}
            )
            waits = GaugeMetricFamily("medseg_oldest_waiting_seconds", "How long the oldest waiting job has waited")
            waits.add_metric([], queue.oldest_waiting_s())
            yield waits
        passed = {name: len(self._ledger.series(name)) for name in ("passed over", "held")}
        yield _gauge("medseg_series", "Series that became no job", "standing", passed)
        stored = GaugeMetricFamily("medseg_objects_stored", "Objects that archives were seen to hold")
        stored.add_metric([], self._ledger.stored_count())
        yield stored
        note = self._ledger.notes().get(ARCHIVE)
        if note is not None:
            asked = GaugeMetricFamily("medseg_archive_asked_timestamp_seconds", "When the archive was last asked")
            asked.add_metric([], note.noted_s)
            yield asked
            up = GaugeMetricFamily("medseg_archive_up", "Whether the archive answered when it was last asked")
            up.add_metric([], not note.text)
            yield up

    def _folders(self) -> Iterable[tuple[str, Path]]:
        return (("state", self._places.state), ("work", self._places.work))


def _gauge(name: str, what: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
