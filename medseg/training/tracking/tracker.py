"""Tracker: whoever is told how a training goes, and may show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from medseg.training.checkpoint import EpochRecord
from medseg.training.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a tracker files a run under."""

    folder: Path
    dataset: str
    fold: int
    plan: Plan


class Tracker(Protocol):
    """Told all records each time: it knows what it has passed on, also before a kill."""

    def epochs_ended(self, records: Sequence[EpochRecord]) -> None:
        """After each epoch: the records of all epochs so far."""

    def training_ended(self, scores: Mapping[str, float], files: Sequence[Path]) -> None:
        """At the very end: the scores of the held-out cases by name, and the files worth keeping with them."""


def values_of(record: EpochRecord) -> dict[str, float]:
    """The numbers of an epoch by the names that every tracker shows them under."""
    dice = {f"dice/{name}": value for name, value in (record.validation_dice or {}).items()}
    return {"loss/training": record.loss, "learning_rate": record.learning_rate, **dice}
