"""Retrains and promotes again and again, each time killed after some durable steps more, until it comes through.

A durable step is a file or folder that takes its place, or a change of a database. Each try is a fork that sends itself
SIGKILL, half of them right before a step and half right after; after each death all must be whole. Arguments: a pickle
of registry, sources, run folder and plan; how many steps more each try has; how many records the store holds. The exit
code is 0 where all was whole; how often it died is written out.
"""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.training.planning.plan import Plan
from medseg.workflows.retraining.retrain import retrain
from medseg.workflows.retraining.selection import Sources


def die_after(steps: int, *, after: bool) -> None:
    """Kill this process at its n-th durable step."""
    left = [steps]

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = work(*arguments, **named)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    class Counted(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            run = super().execute
            return counted(run)(sql, *arguments) if sql == "COMMIT" else run(sql, *arguments)

    connect = sqlite3.connect
    vars(sqlite3)["connect"] = lambda *a, **k: connect(*a, factory=Counted, **k)
    os.replace, os.rename = counted(os.replace), counted(os.rename)


def all_is_whole(registry: Registry, sources: Sources, records: int) -> None:
    """The champion can be loaded, every alias points at a whole model, and no record is lost."""
    for name in registry.aliases():
        registry.load(name)
    assert CHAMPION in registry.aliases()
    for folder in sources.results:
        head = CorrectionStore(folder / REVIEW_FOLDER).verify()
        assert head is not None
        assert head.count == records


def main() -> None:
    registry, sources, run, plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    vars(secrets)["token_hex"] = lambda _: "salt"  # who is for training is then no chance
    more, records, deaths = int(sys.argv[2]), int(sys.argv[3]), 0
    while not attempt(registry, sources, run, plan, more * (deaths + 1), after=deaths % 2 == 0):
        deaths += 1
        all_is_whole(Registry(registry), sources, records)
    all_is_whole(Registry(registry), sources, records)
    sys.stdout.write(f"{deaths}\n")


def attempt(registry: Path, sources: Sources, run: Path, plan: Plan, steps: int, *, after: bool) -> bool:
    """Whether a retraining and its promotion came through."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFEXITED(status)
    die_after(steps, after=after)
    retrain(registry, sources, run, plan=plan)
    Registry(registry).point(CHAMPION, CHALLENGER, person="ann", reason="better")
    sys.exit()


if __name__ == "__main__":
    main()
