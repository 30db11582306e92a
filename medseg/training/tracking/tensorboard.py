"""TensorBoard's event files, in the run folder: what a training writes unless something else is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from medseg.training.checkpoint import EpochRecord
from medseg.training.tracking.tracker import values_of


class TensorBoardTracker:
    """Writes below `folder`; a resumed run writes one more event file, with all epochs, and TensorBoard joins them."""

    def __init__(self, folder: Path) -> None:
        self._events = SummaryWriter(str(folder))
        self._written = 0
        self._step = 0

    def epochs_ended(self, records: Sequence[EpochRecord]) -> None:
        for record in records[self._written :]:
            for name, value in values_of(record).items():
                self._events.add_scalar(name, value, record.step)
            self._step = record.step
        self._written = len(records)
        self._events.flush()

    def training_ended(self, scores: Mapping[str, float], files: Sequence[Path]) -> None:
        del files  # they lie beside the events
        for name, value in scores.items():
            self._events.add_scalar(name, value, self._step)
        self._events.close()
