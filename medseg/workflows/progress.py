"""How a workflow tells how far it is; the command line draws a bar from it, the viewer a line."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with a stage's name, how much of how much is done, and a short note such as the current loss."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None: ...


def silent(stage: str, done: float, total: float, note: str = "") -> None:
    """Tells nobody."""
