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


def probability_files(task: Task) -> dict[str, str]:
    """The name of each label's file by the label's name; signs that no file should have become an underscore."""
    files: dict[str, str] = {}
    for label in task.labels:
        name = f"probability_{re.sub(r'[^A-Za-z0-9-]+', '_', label.name)}"
        taken = f"{name}.nii.gz" in files.values()
        files[label.name] = f"{name}_{label.index}.nii.gz" if taken else f"{name}.nii.gz"
    return files


def write_probabilities(probabilities: Probabilities, task: Task, folder: Path) -> None:
    """The maps as files in a folder, a byte a voxel, whose header scales them to 0 to 1."""
    maps = {file: probabilities.of_label.get(name) for name, file in probability_files(task).items()}
    for name, kept in {**maps, AGREEMENT: probabilities.agreement}.items():
        if kept is not None:
            write_nifti(kept.array, kept.geometry, folder / name, slope=1 / CERTAIN)


def read_probability(folder: Path, task: Task, label: str | None = None) -> ProbabilityMap | None:
    """The kept map of a label, else of the only one kept, or of the only counted one; None where none is kept.

    Raises InputError where it is not clear which is meant, or that of the label is not kept.
    """
    files = probability_files(task)
    kept = [one for one in task.labels if (folder / files[one.name]).is_file()]
    if not kept and label is None:
        return None
    chosen = label_for_map(kept, label)
    return ProbabilityMap.of(read_scan(folder / files[chosen.name]).volume)


def label_for_map(kept: Sequence[Label], name: str | None = None) -> Label:
    """Of the labels that are kept the one of that name, else the only one, else the only one that is counted.

    Raises InputError where there is none or it is not clear which.
    """
    if name is not None:
        for label in kept:
            if label.name == name:
                return label
        names = ", ".join(label.name for label in kept) or "none"
        raise InputError(f"there is no probability of a label {name!r}; there is that of {names}")
    for choice in (kept, [label for label in kept if label.is_counted]):
        if len(choice) == 1:
            return choice[0]
    raise InputError(
        f"a probability map is of one label, and there are {', '.join(label.name for label in kept)}. "
        "Say which: --label NAME."
    )
