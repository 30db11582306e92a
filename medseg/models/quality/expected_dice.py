"""The Dice that a model's own probabilities promise."""

from __future__ import annotations

from medseg.core.label_map import LabelMap
from medseg.core.probability import CERTAIN, Probabilities


def expected_dice(label_map: LabelMap, probabilities: Probabilities) -> dict[str, float]:
    """Of each label whose probabilities are kept, 2 sum(p in the mask) / (voxels of the mask + sum(p)), 0 to 1.

    It is about the Dice to expect if each voxel belongs to the label with its probability, independently; networks are
    too sure of themselves, so that it is too high, and yet orders cases by how good they are. A label that is neither
    in the mask nor anywhere likely is left out.
    """
    expected: dict[str, float] = {}
    for name, kept in probabilities.of_label.items():
        mask = label_map.mask(label_map.schema.named(name).index)
        inside = float(kept.array[mask].sum(dtype="int64")) / CERTAIN
        total = float(kept.array.sum(dtype="int64")) / CERTAIN + float(mask.sum())
        if total >= 1.0:
            expected[name] = 2 * inside / total
    return expected
