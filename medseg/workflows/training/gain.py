"""Gain: what a change to a model gained on the cases it did not learn from, and whether that is reason to keep it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from medseg.analysis.evaluation.compare import compare_models
from medseg.analysis.evaluation.scores import CaseScores

LEAST_GAIN = 0.001
"""Mean Dice that a change must gain: each needs a reason, and mirroring doubles the time of every scan to come."""


class Gain(BaseModel):
    """Dice as the mean over cases and labels on the scans' own grids; `interval` is the 95 % interval of the paired
    difference, drawn by subject.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dice_without: float
    dice_with: float
    difference: float
    interval: tuple[float, float]
    is_kept: bool


def gain_of(without: Sequence[CaseScores], with_it: Sequence[CaseScores], subjects: Sequence[str]) -> Gain:
    """The gain from the same cases, scored both ways; `subjects` are those of `without`, in its order.

    The change is kept where it gains `LEAST_GAIN` and the interval lies above 0.
    """
    compared = compare_models(without, with_it, "dice", subjects=subjects)
    return Gain(
        dice_without=compared.first_mean,
        dice_with=compared.second_mean,
        difference=compared.difference,
        interval=compared.interval,
        is_kept=compared.difference >= LEAST_GAIN and compared.interval[0] > 0,
    )
