"""Arrivals: scans on their way in, each on a thread of its own; a page looks at how far one is, and may stop it."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from medseg.core.errors import InputError, MedsegError
from medseg.workflows.progress import Progress
from medseg.workflows.scans.take_in_scans import TakenIn

MOST_KEPT = 200
"""Arrivals that are remembered; the oldest is forgotten for a new one."""

STOPPED = "it was stopped, and nothing was kept"


class _StoppedError(Exception):
    """Ends the work of an arrival from within."""


@dataclass(slots=True)
class Arrival:
    """How far one is: the stage, how much of how much of it is done; what was taken in, or why nothing was."""

    stage: str = "waiting"
    done: float = 0.0
    total: float = 0.0
    taken: TakenIn | None = None
    problem: str | None = None
    is_stopped: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.taken is not None or self.problem is not None

    def tell(self, stage: str, done: float, total: float, note: str = "") -> None:  # noqa: ARG002 - a Progress
        """Take down how far it is; ends the work where it was stopped."""
        self.stage, self.done, self.total = stage, done, total
        if self.is_stopped:
            raise _StoppedError


class Arrivals:
    """What is arriving, by id. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Arrival] = OrderedDict()

    def begin(self, work: Callable[[Progress], TakenIn]) -> str:
        """Start the work, which tells how far it is; the id to look at it by."""
        name, arrival = secrets.token_hex(16), Arrival()
        with self._lock:
            self._known[name] = arrival
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
        threading.Thread(target=_run, args=(arrival, work), name="arrival", daemon=True).start()
        return name

    def look(self, name: str) -> Arrival:
        """How far it is. Raises InputError where it is not known, or ended with nothing taken in."""
        with self._lock:
            arrival = self._known.get(name)
        if arrival is None:
            raise InputError("this arrival is not known: the server was started again, or it is long over")
        if arrival.problem is not None:
            raise InputError(arrival.problem)
        return arrival

    def stop(self, name: str) -> None:
        """See to it that it ends at its next step with nothing kept. Raises InputError as `look` does."""
        self.look(name).is_stopped = True


def _run(arrival: Arrival, work: Callable[[Progress], TakenIn]) -> None:
    try:
        arrival.taken = work(arrival.tell)
    except _StoppedError:
        arrival.problem = STOPPED
    except MedsegError as error:
        arrival.problem = str(error)
    finally:
        if not arrival.is_over:
            arrival.problem = "an error of the server ended it; the server's own output says more"
