"""What is kept of a model's answer beside the mask: a byte a voxel for each label asked for, on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.geometry import Geometry
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.task import Task
from medseg.imaging.preparing.restore import KeptScores
from medseg.imaging.unnamed_bytes import UnnamedBytes
from medseg.models.inference.sliding_window import LOGIT_RANGE


@dataclass(frozen=True, slots=True)
class Keep:
    """The names of the labels whose probabilities are kept, in files without a name on the disk of `folder`."""

    labels: tuple[str, ...]
    folder: Path


class KeptMaps:
    """The maps while they are filled; `has_agreement` says that the channel after the classes is kept too."""

    def __init__(self, keep: Keep, task: Task, geometry: Geometry, *, has_agreement: bool) -> None:
        self.has_agreement = has_agreement
        self._geometry = geometry
        self._channels = {label.name: n for n, label in enumerate(task.labels, start=1) if label.name in keep.labels}
        self._agreement = len(task.labels) + 1
        kept = [*self._channels.values(), *([self._agreement] if has_agreement else [])]
        self._kept = {channel: UnnamedBytes(geometry.shape, keep.folder) for channel in kept}

    def scores(self, one: float, *, are_logits: bool) -> KeptScores:
        """Which channels of the scores go where; `one` stands for a score of 1."""
        arrays = {channel: kept.array for channel, kept in self._kept.items()}
        return KeptScores(arrays, one, LOGIT_RANGE if are_logits else None)

    def rest(self) -> None:
        """Give back the memory that the maps take for now."""
        for kept in self._kept.values():
            kept.rest()

    @property
    def probabilities(self) -> Probabilities:
        """The maps as they are filled now."""
        maps = {channel: ProbabilityMap(kept.array, self._geometry) for channel, kept in self._kept.items()}
        of_label = {name: maps[channel] for name, channel in self._channels.items()}
        return Probabilities(of_label, maps.get(self._agreement))
