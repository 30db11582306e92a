"""Children: processes that a service keeps alive: started anew when they die or hang, with pauses that grow."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from typing import Any

from medseg.core.errors import MedsegError
from medseg.exchange.dicom.identifiers import without_identifiers
from medseg.exchange.dicom.network.dimse.config import ListenerConfig
from medseg.exchange.dicom.network.dimse.receiving.process import ListenerProcess
from medseg.settings.model import Settings
from medseg.workflows.service.write_log import Event, service_log

HANGS_S = 300.0
"""A child that has not moved for so long is killed; longer than an archive may take to answer all tries."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0

Body = Callable[[Settings, Callable[[], None]], None]
"""What a process does: with the settings, and what it calls now and then to show that it moves."""


class Child(ABC):
    """A process that can be started, watched and ended."""

    name: str

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why it does not do its work; empty where it does."""

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again; may return before it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end."""

    @abstractmethod
    def kill(self) -> None:
        """End it, and wait for that."""


class BodyChild(Child):
    """A process of Python that runs a body, which ends with its parent (`die_with_parent`)."""

    def __init__(self, name: str, body: Body, settings: Settings) -> None:
        self.name = name
        self._body, self._settings = body, settings
        self._context = get_context("spawn")
        # without a lock: one that a killed child held would never be free again
        self._beat = self._context.Value("d", 0.0, lock=False)
        self._process: SpawnProcess | None = None

    @property
    def problem(self) -> str:
        if self._process is None or not self._process.is_alive():
            return "it does not run"
        if time.monotonic() - self._beat.value > HANGS_S:
            return f"it has not moved for {HANGS_S:g} s"
        return ""

    def start(self) -> None:
        self.kill()
        self._beat.value = time.monotonic()
        arguments = (self._body, self._settings, self._beat)
        # no daemon: those may have no processes of their own, and the viewer segments in one
        self._process = self._context.Process(target=_run_body, args=arguments, name=self.name, daemon=False)
        self._process.start()

    def stop(self) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None


class ListenerChild(Child):
    """The C-STORE listener; what it says is logged."""

    def __init__(self, config: ListenerConfig) -> None:
        self.name = "listener"
        self._listener = ListenerProcess(config, _hear)
        self._starting: threading.Thread | None = None
        self._reason = ""

    @property
    def problem(self) -> str:
        if self._starting is not None and self._starting.is_alive():
            return "it is being started"
        return "" if self._listener.is_alive else self._reason or "it does not run"

    @property
    def port(self) -> int:
        """The port it really has."""
        return self._listener.port

    def start(self) -> None:
        if self._starting is None or not self._starting.is_alive():
            self._starting = threading.Thread(target=self._start, daemon=True)
            self._starting.start()

    def _start(self) -> None:
        try:
            self._listener.start()
            self._reason = ""
        except MedsegError as error:
            self._reason = str(error)

    def stop(self) -> None:
        if self._starting is not None:
            self._starting.join()
        self._listener.stop()

    def kill(self) -> None:
        self.stop()


@dataclass(slots=True)
class Kept:
    """A child and the pauses between its starts."""

    child: Child
    starts: int = 0
    started_s: float = 0.0
    pause_s: float = _FIRST_PAUSE_S

    def look(self) -> None:
        """Start the child again where it is dead or hangs, after a pause that doubles while it does not live long."""
        now = time.monotonic()
        problem = self.child.problem
        if self.starts and (not problem or now - self.started_s < self.pause_s):
            return
        if self.starts:
            service_log(Event.DIED, logging.ERROR, name=self.child.name, reason=problem)
            lived_s = now - self.started_s
            self.pause_s = _FIRST_PAUSE_S if lived_s > _LONGEST_PAUSE_S else min(_LONGEST_PAUSE_S, 2 * self.pause_s)
        self.child.start()
        self.starts += 1
        self.started_s = now
        service_log(Event.RESTARTED, name=self.child.name)


def _run_body(body: Body, settings: Settings, beat: Any) -> None:
    def move() -> None:
        beat.value = time.monotonic()

    body(settings, move)


def _hear(event: dict[str, Any]) -> None:
    """What the listener says, on the log; it names nobody, and is cleared for good measure."""
    facts: dict[str, Any] = {}
    for name, value in event.items():
        if isinstance(value, str | int | float):
            facts[f"listener_{name}"] = without_identifiers(value) if isinstance(value, str) else value
    service_log(Event.LISTENER, logging.INFO, **facts)
