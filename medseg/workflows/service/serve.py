"""serve: the service as one process tree, until it is told to stop.

    serve           keeps the others alive, answers /health and /metrics, cleans up
      worker ...    segment; started anew when they die, killed when they outgrow their memory or time
      watcher       asks the archive, where there is one
      listener      is sent to, where it is wanted; receiver takes out of its spool what is whole
      viewer        where it is wanted

All that is known lies in the databases and folders of `places`: kill -9 of any process, or of all, loses nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from types import FrameType

from medseg import __version__
from medseg.core.atomic import discard_all_unfinished, whole_file
from medseg.core.errors import InputError, MedsegError
from medseg.core.presence import only_one
from medseg.jobs.cores import share_cores, usable_cores
from medseg.jobs.job import SETTLED, JobState
from medseg.jobs.local_engine import LocalEngine, LocalEngineConfig
from medseg.jobs.queue import Queue
from medseg.settings.model import Settings
from medseg.workflows.service.answer_health import Health, HealthServer
from medseg.workflows.service.clean_up import clean_up
from medseg.workflows.service.intake.receive_series import receive
from medseg.workflows.service.intake.watch_archive import watch
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.measure import Measures
from medseg.workflows.service.places import SHORT, Places
from medseg.workflows.service.show_viewer import show
from medseg.workflows.service.start_worker import TreatSeries
from medseg.workflows.service.supervise import BodyChild, Child, Kept, ListenerChild
from medseg.workflows.service.write_log import Event, log_to, service_log

_LOOK_S = 0.5
_CLEAN_S = 60.0
_NEXT_ENGINE_S = 10.0
"""The pause before workers are started again that could not be loaded."""


def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or Ctrl-C; then running jobs get `jobs.grace_s` to end.

    Raises InputError where it cannot begin: nothing to take series from, too few cores, another service on the same
    state, no folder.
    """
    if settings.archive is None and settings.listener is None:
        raise InputError("there is nothing to take series from: give an [archive] or a [listener] in medseg.toml")
    if not settings.routes:
        raise InputError("there is no route: give at least one [[routes]] in medseg.toml, with a model and a match")
    share_cores(usable_cores(), settings.jobs.workers, settings.jobs.threads)
    places = Places.of(settings)
    places.make()
    log_to(settings.log)
    mend = "Stop it first, or give this one a folders.state of its own."
    alone = only_one(places.state / "service.lock", f"another service runs on {places.state}", mend)
    with alone, places.queue() as queue:
        discard_all_unfinished(places.work)  # folders whose removal was cut off
        ledger = Ledger(places.ledger_file)
        health = Health()
        measures = Measures(places, ledger, health)
        server = HealthServer(settings.metrics, health, measures.registry)
        try:
            _tell_where(places, settings.metrics.address, server.port)
            service = _Service(settings, places, queue, health, measures, _children(settings))
            service.run()
        finally:
            server.close()
            service_log(Event.STOPPED)


@dataclass(slots=True)
class _Service:
    """The main loop, and what it looks after."""

    settings: Settings
    places: Places
    queue: Queue
    health: Health
    measures: Measures
    kept: list[Kept]
    engine: LocalEngine | None = None
    ends_s: float | None = None
    """When what still runs is cut off; None as long as nobody has said to stop."""
    looked_s: float = 0.0
    cleaned_s: float = 0.0
    settled_s: float = field(default_factory=time.time)
    told: set[str] = field(default_factory=set)
    workers_lack: str = ""

    def run(self) -> None:
        """Run until told to stop, then end everything."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        service_log(Event.STARTED, version=__version__, routes=", ".join(route.name for route in self.settings.routes))
        try:
            while self.ends_s is None:
                self._work()
        finally:
            self._end_children()

    def _work(self) -> None:
        """Have the engine work until it is stopped; a reason why it cannot is told, and it is tried again."""
        jobs = self.settings.jobs
        config = LocalEngineConfig(
            workers=jobs.workers,
            threads=jobs.threads,
            memory_gb=jobs.memory_gb,
            most_minutes=jobs.most_minutes,
            stay=True,
        )
        reason = ""
        try:
            self.engine = config.build(self.places.queue_file, TreatSeries(self.settings), self.places.limits)
            self.engine.run(self._look)
        except MedsegError as error:
            reason = str(error)
            service_log(Event.DIED, logging.ERROR, name="workers", reason=reason)
        finally:
            if self.engine is not None:
                self.engine.close()
            self.engine = None
        waited_s = time.monotonic() + _NEXT_ENGINE_S
        while reason and self.ends_s is None and time.monotonic() < waited_s:
            self.workers_lack = reason
            self._look({})
            time.sleep(_LOOK_S)

    def _look(self, _: dict[JobState, int]) -> None:
        """Look after everything, at most every half second; called by the engine while it works."""
        now = time.monotonic()
        self.health.beat_s = now
        if self.ends_s is not None:
            if self.engine is not None:
                self.engine.stop()  # it may have begun in the very moment of the signal
                if now > self.ends_s:
                    self.engine.kill()
            return
        if now - self.looked_s < _LOOK_S:
            return
        self.looked_s = now
        problems = {}
        for kept in self.kept:
            starts = kept.starts
            kept.look()
            problems[kept.child.name] = kept.child.problem
            if kept.starts > starts:
                self.measures.started(kept.child.name)
        if self.engine is not None:
            missing = self.engine.budget.workers - self.engine.ready_workers
            self.workers_lack = f"{missing} of {self.engine.budget.workers} do not run" if missing else ""
        problems["workers"] = self.workers_lack
        problems["state"] = self._kept_books(now)
        self.health.problems = problems  # all at once: half of them would be told as all

    def _kept_books(self, now: float) -> str:
        """Tell what was settled and clean up now and then; why that cannot be done, empty where it can."""
        try:
            self._tell_settled()
            if now - self.cleaned_s > _CLEAN_S:
                self.cleaned_s = now
                clean_up(self.places, self.settings.retention, self.queue)
        except MedsegError as error:
            return str(error)
        return ""

    def _tell_settled(self) -> None:
        """Log and count the jobs that came to an end since the last look."""
        for record in self.queue.settled_since(self.settled_s):
            key = f"{record.job.id} {record.settled_s}"
            if key not in self.told and record.state in SETTLED:
                self.told = {one for one in self.told if one.endswith(str(record.settled_s))} | {key}
                self.settled_s = record.settled_s or self.settled_s
                self.measures.settled(record)
                level = logging.INFO if record.state == "done" else logging.WARNING
                facts = {"job": record.job.id[:SHORT], "route": str(record.job.arguments.get("route"))}
                service_log(Event.SETTLED, level, state=record.state, reason=record.reason, **facts)

    def _stop(self, number: int, _: FrameType | None) -> None:
        """SIGTERM: begin nothing new. A second one cuts off what runs."""
        is_second = self.ends_s is not None
        self.ends_s = time.monotonic() + (0.0 if is_second else self.settings.jobs.grace_s)
        if self.engine is not None:
            self.engine.stop()
        if not is_second:
            service_log(Event.STOPPING, signal=signal.Signals(number).name)

    def _end_children(self) -> None:
        for kept in self.kept:
            kept.child.stop()
        ends_s = time.monotonic() + 5.0
        while any(not kept.child.problem for kept in self.kept) and time.monotonic() < ends_s:
            time.sleep(0.05)
        for kept in self.kept:
            kept.child.kill()


def _children(settings: Settings) -> list[Kept]:
    """The processes that the settings ask for, besides the workers."""
    children: list[Child] = []
    if settings.archive is not None:
        children.append(BodyChild("watcher", watch, settings))
    if settings.listener is not None:
        children.append(ListenerChild(settings.listener))
        children.append(BodyChild("receiver", receive, settings))
    if settings.viewer.enabled:
        children.append(BodyChild("viewer", show, settings))
    return [Kept(child) for child in children]


def _tell_where(places: Places, address: str, port: int) -> None:
    """Write down where health is told, for `medseg status`."""
    with whole_file(places.running_file) as unfinished:
        told = {"pid": os.getpid(), "health": f"http://{address}:{port}/health"}
        unfinished.write_text(json.dumps(told), encoding="utf-8")
