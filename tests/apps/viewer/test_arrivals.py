"""Scans on their way in: how far they are is told as they come, and what is stopped leaves nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from apps.viewer.arrivals import Arrival, Arrivals
from medseg.core.errors import InputError
from medseg.workflows.progress import Progress
from medseg.workflows.scans.take_in_scans import TakenIn

LIMIT_S = 90.0
TAKEN = TakenIn(Path("uploads/ct"), ("1_axial",), ())


class Held:
    """Work that waits at each step until it is let go on."""

    def __init__(self) -> None:
        self.told, self.may_go = threading.Event(), threading.Event()
        self.is_cleared = False

    def __call__(self, progress: Progress) -> TakenIn:
        try:
            progress("fetching", 1, 3)
            self.told.set()
            assert self.may_go.wait(LIMIT_S)
            progress("fetching", 2, 3)
            return TAKEN
        finally:
            self.is_cleared = True


def over(arrivals: Arrivals, name: str) -> Arrival | str:
    """How an arrival ended: it, or the sentence why nothing was taken in."""
    for thread in threading.enumerate():
        if thread.name == "arrival":
            thread.join(LIMIT_S)
    try:
        return arrivals.look(name)
    except InputError as problem:
        return str(problem)


def test_how_far_it_is_is_told_while_it_goes_on() -> None:
    arrivals, work = Arrivals(), Held()
    name = arrivals.begin(work)
    assert work.told.wait(LIMIT_S)
    seen = arrivals.look(name)
    assert (seen.stage, seen.done, seen.total, seen.is_over) == ("fetching", 1, 3, False)
    work.may_go.set()
    ended = over(arrivals, name)
    assert isinstance(ended, Arrival)
    assert ended.taken == TAKEN


def test_what_is_stopped_ends_at_its_next_step() -> None:
    arrivals, work = Arrivals(), Held()
    name = arrivals.begin(work)
    assert work.told.wait(LIMIT_S)
    arrivals.stop(name)
    work.may_go.set()
    assert "stopped" in str(over(arrivals, name))
    assert work.is_cleared


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_is_a_sentence() -> None:
    def refused(progress: Progress) -> TakenIn:
        raise InputError("it is no scan")

    def broken(progress: Progress) -> TakenIn:
        raise ZeroDivisionError

    arrivals = Arrivals()
    assert over(arrivals, arrivals.begin(refused)) == "it is no scan"
    assert "an error of the server" in str(over(arrivals, arrivals.begin(broken)))
    with pytest.raises(InputError, match="not known"):
        arrivals.look("none")
