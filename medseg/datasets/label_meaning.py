"""What the labels of a dataset.json mean: indices with names, regions of several indices, and voxels nobody judged.

Decathlon   {"0": "background", "1": "liver"}
nnU-Net     {"background": 0, "liver": 1}
regions     {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
ignore      {"background": 0, "liver": 1, "ignore": 2}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medseg.core.errors import InputError
from medseg.core.task import Channel, Region, Task, first_problem
from medseg.datasets.label_values import task_of_labels

IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody judged."""


@dataclass(frozen=True, slots=True)
class LabelMeaning:
    """The name of each index but the background's, the regions by name, and the ignored value, if there is one."""

    names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    ignored: int | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of it, a sentence each."""
        regions = tuple(
            f"{region} is a region of dataset.json: the labels {', '.join(map(str, indices))} together."
            for region, indices in self.regions.items()
        )
        if self.ignored is None:
            return regions
        ignored = (
            f"Voxels of {self.ignored} in the masks were judged by nobody: they are left out of losses and scores."
        )
        return (*regions, ignored)

    def task(self, name: str, channels: Sequence[Channel]) -> Task:
        """A task of these labels. Raises InputError where there are none, or names are used twice."""
        made = task_of_labels(name, channels, self.names)
        regions = [
            Region(name=region, labels=tuple(self.names[index] for index in indices))
            for region, indices in self.regions.items()
        ]
        try:
            return Task.model_validate({**made.model_dump(), "regions": regions, "ignored_index": self.ignored})
        except ValidationError as error:
            raise InputError(f"the labels of {name} cannot be used: {first_problem(error)}") from error


def read_label_meaning(labels: Mapping[str, Any], path: Path) -> LabelMeaning:
    """What the labels of the dataset.json at `path` mean. Raises InputError for a value that is neither.

    A region's parts that have no name of their own are called label_1, label_2 ...; a list of one index that stands in
    no other region is a label like any other.
    """
    names: dict[int, str] = {}
    lists: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        if isinstance(value, str) and key.strip().isdigit():
            names[int(key)] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            names[value] = key
        elif isinstance(value, list) and value and all(type(index) is int for index in value):
            lists[key] = tuple(value)
        else:
            raise InputError(f"{path}: label {key!r} has the value {value!r}; an index, or a list of them, is meant")
    names.pop(0, None)
    ignored = next((index for index, name in names.items() if name.lower() == IGNORE), None)
    if ignored is not None:
        del names[ignored]
    listed = [index for indices in lists.values() for index in indices]
    if {0, ignored} & set(listed):
        raise InputError(f"{path}: a region names the background or the ignored voxels; it is made of labels only")
    regions: dict[str, tuple[int, ...]] = {}
    for name, indices in lists.items():
        if len(indices) == 1 and listed.count(indices[0]) == 1 and indices[0] not in names:
            names[indices[0]] = name
        else:
            regions[name] = indices
    if regions:  # nnU-Net lets a region of one part stand as a bare index: {"whole": [1, 2, 3], "enhancing": 3}
        for index in sorted({index for indices in regions.values() for index in indices} & names.keys()):
            regions[names[index]] = (index,)
            names[index] = f"label_{index}"
    for index in sorted(set(listed)):
        names.setdefault(index, f"label_{index}")
    return LabelMeaning(names, regions, ignored)
