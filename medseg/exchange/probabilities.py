"""The probabilities that a model gave, as NIfTI files beside the mask: one for each label, and one of the agreement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.labels import Label
from medseg.core.probability import CERTAIN, Probabilities, ProbabilityMap
from medseg.core.task import Task
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read import read_scan

AGREEMENT = "agreement.nii.gz"


def probability_file(label: Label) -> str:
    """The name of a label's file; a name with signs that no file should have becomes the label's number."""
    name = label.name if re.fullmatch(r"[A-Za-z0-9_-]+", label.name) else str(label.index)
    return f"probability_{name}.nii.gz"


def write_probabilities(probabilities: Probabilities, task: Task, folder: Path) -> None:
    """The maps as files in a folder, a byte a voxel, whose header scales them to 0 to 1."""
    files = {probability_file(label): probabilities.of_label.get(label.name) for label in task.labels}
    for name, kept in {**files, AGREEMENT: probabilities.agreement}.items():
        if kept is not None:
            write_nifti(kept.array, kept.geometry, folder / name, slope=1 / CERTAIN)


def read_probability(folder: Path, task: Task, label: str | None = None) -> tuple[Label, ProbabilityMap] | None:
    """The kept map of a label, of the only one kept, or of the only counted one; None where none is kept.

    Raises InputError where it is not said which is meant, or that of the label is not kept.
    """
    kept = [one for one in task.labels if (folder / probability_file(one)).is_file()]
    if not kept and label is None:
        return None
    chosen = label_for_map(kept, label)
    return chosen, ProbabilityMap.of(read_scan(folder / probability_file(chosen)).volume)


def label_for_map(kept: Sequence[Label], name: str | None = None) -> Label:
    """Of the labels that are kept the one of that name, else the only one, else the only one that is counted.

    Raises InputError where there is none or it is not clear which.
    """
    if name is not None:
        for label in kept:
            if label.name == name:
                return label
        names = ", ".join(label.name for label in kept) or "of none"
        raise InputError(f"no probability of the label {name!r} was kept; kept was that of {names}")
    for choice in (kept, [label for label in kept if label.is_counted]):
        if len(choice) == 1:
            return choice[0]
    raise InputError(
        f"a probability map is of one label, and there are {', '.join(label.name for label in kept)}. "
        "Say which: --label NAME."
    )
