"""Looks at the validation cases during a training: when, what they show, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from medseg.core.labels import IGNORED_CLASS
from medseg.models.inference.sliding_window import sweep
from medseg.models.spec import ModelSpec
from medseg.training.cases import PreparedCase
from medseg.training.checkpoint import EpochRecord
from medseg.training.distributed import Team
from medseg.training.planning.plan import TrainingSpec

MOST_CASES = 8
"""How many cases a look takes in; the whole validation part is scored once, at the end, on the scans' own grids."""


def chosen_for_looks(validation: Sequence[PreparedCase]) -> list[PreparedCase]:
    """Evenly spread validation cases."""
    places = np.linspace(0, len(validation) - 1, min(len(validation), MOST_CASES)).round().astype(int)
    return [validation[place] for place in places]


def look(network: nn.Module, model: ModelSpec, cases: Sequence[PreparedCase], team: Team) -> dict[str, float]:
    """Mean Dice of each label over the cases, on the prepared grid; absent labels and ignored voxels do not count.

    The processes of the team share the cases.
    """
    shared = torch.zeros(len(cases), len(model.task.labels), 2, dtype=torch.float64)  # voxels in both, in each
    for index in range(team.rank, len(cases), team.size):
        case = cases[index]
        scores = sweep(network, case.image, model.window, class_count=model.class_count, device=team.device)
        predicted = scores.argmax(axis=0)
        for label in range(len(model.task.labels)):
            found, true = (predicted == label + 1) & (case.classes != IGNORED_CLASS), case.classes == label + 1
            shared[index, label, 0] = int((found & true).sum())
            shared[index, label, 1] = int(found.sum()) + int(true.sum())
    both, total = team.summed([shared])[0].numpy().transpose(2, 1, 0)
    return {
        label.name: float(np.mean(2 * both[number][total[number] > 0] / total[number][total[number] > 0]))
        for number, label in enumerate(model.task.labels)
        if (total[number] > 0).any()
    }


def best_look(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """The first of the records with the highest mean Dice; None where nobody looked."""
    looks = [record for record in records if record.mean_dice is not None]
    return max(looks, key=lambda record: record.mean_dice or 0.0, default=None)


def has_stalled(spec: TrainingSpec, records: Sequence[EpochRecord]) -> bool:
    """Whether the last looks, as many as the plan allows, were all no better than one before them."""
    best = best_look(records)
    if spec.early_stop_looks is None or best is None:
        return False
    since = [record for record in records[best.epoch + 1 :] if record.mean_dice is not None]
    return len(since) >= spec.early_stop_looks
