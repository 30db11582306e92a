"""What a training leaves for people: metrics.csv, a picture of the curves, and what a tracker makes of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from medseg.core.atomic import whole_file
from medseg.training.checkpoint import EpochRecord
from medseg.training.tracking.tracker import Tracker

KEPT = ("plan.toml", "metrics.csv", "curves.png", "validation.csv")
"""Files of a run folder that a tracker is given at the end."""


class RunLog:
    """Writes the log of one run folder; the records are the whole truth, so a resumed run rewrites what it needs."""

    def __init__(self, folder: Path, label_names: Sequence[str], tracker: Tracker) -> None:
        self._folder = folder
        self._labels = list(label_names)
        self._tracker = tracker

    def write(self, records: Sequence[EpochRecord]) -> None:
        """Bring metrics.csv, curves.png and the tracker up to these records."""
        with whole_file(self._folder / "metrics.csv") as unfinished:
            unfinished.write_text(format_records(records, self._labels), encoding="utf-8")
        if records and records[-1].validation_dice is not None:
            with whole_file(self._folder / "curves.png") as unfinished:
                draw_curves(records).savefig(unfinished, format="png", dpi=110)
        self._tracker.epochs_ended(records)

    def close(self, scores: Mapping[str, float]) -> None:
        """Hand the tracker the final scores and the files of the run folder. Raises InputError where it fails."""
        files = [path for name in KEPT if (path := self._folder / name).is_file()]
        self._tracker.training_ended(scores, files)


def format_records(records: Sequence[EpochRecord], label_names: Sequence[str]) -> str:
    """The records as CSV, one row an epoch; the Dice columns are empty where nobody looked."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["epoch", "step", "elapsed_s", "learning_rate", "loss", *(f"validation_dice_{name}" for name in label_names)]
    )
    for record in records:
        dice = record.validation_dice or {}
        shown = [f"{dice[name]:.5f}" if name in dice else "" for name in label_names]
        writer.writerow(
            [
                record.epoch,
                record.step,
                f"{record.elapsed_s:.2f}",
                f"{record.learning_rate:.3e}",
                f"{record.loss:.6f}",
                *shown,
            ]
        )
    return text.getvalue()


def draw_curves(records: Sequence[EpochRecord]) -> Figure:
    """The training loss and the validation Dice over time, on two axes one above the other."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7, 5.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        minutes = [record.elapsed_s / 60 for record in records]
        above.plot(minutes, [record.loss for record in records], color="#3b6ea5", linewidth=1.2)
        above.set_ylabel("training loss")
        above.set_yscale("log")
        looked = [record for record in records if record.validation_dice]
        for name in sorted({name for record in looked for name in record.validation_dice or {}}):
            seen = [record for record in looked if name in (record.validation_dice or {})]
            values = [(record.validation_dice or {})[name] for record in seen]
            below.plot([r.elapsed_s / 60 for r in seen], values, marker="o", markersize=3, label=name.replace("_", " "))
        below.set_ylabel("validation Dice")
        below.set_xlabel("minutes of training")
        below.set_ylim(0, 1)
        below.grid(axis="y", alpha=0.3)
        if looked:
            below.legend(frameon=False, loc="lower right")
    return figure
