"""What a person sees: progress bars on stderr, tables on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 160
"""Columns of a table in a file or a pipe, so that nothing is cut."""

SECONDS_BETWEEN_LINES = 15.0
"""Without a terminal, how often a stage says how far it is."""


class _Bars:
    """One bar a stage, on a terminal."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, note="")
        self._bars.update(self._tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """A line now and then, where stderr is a file or a pipe."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = 0.0

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        if stage == self._stage and done < total and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._stage, self._last = stage, now
        percent = 100 * done / total if total else 100
        sys.stderr.write(f"{stage}: {percent:.0f} %{', ' + note if note else ''}\n")
        sys.stderr.flush()


@contextmanager
def shown_progress() -> Iterator[_Bars | _Lines]:
    """A workflow's Progress that a person can watch."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table on stdout; the first column is text, the others are numbers set to the right."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table)
