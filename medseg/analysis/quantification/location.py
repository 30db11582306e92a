"""Where in the body a finding lies, as far as the mask's other labels tell: in or at which organ, and on which side."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medseg.analysis.quantification.intensity import grown
from medseg.core.findings import Side
from medseg.core.label_map import LabelMap
from medseg.core.labels import Label
from medseg.core.task import Task
from medseg.imaging.regions.components import Component

SIDES: dict[str, Side] = {"L": "left", "R": "right", "7771000": "left", "24028007": "right"}
"""DICOM's letters and SNOMED CT's codes for the sides."""


def organ_of(component: Component, label_map: LabelMap, task: Task) -> Label | None:
    """Of the labels that are not counted the one that most voxels around a finding have; None where none has one.

    Around means sharing a face, an edge or a corner with the finding.
    """
    organs = {label.index: label for label in task.labels if not label.is_counted}
    if not organs:
        return None
    box, mask = grown(component, label_map.geometry, 1e-3)  # a voxel more on each side
    shell = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 3)) & ~mask
    counts = np.bincount(label_map.array[box][shell], minlength=max(organs) + 1)
    index = max(organs, key=lambda one: int(counts[one]))
    return organs[index] if counts[index] else None


def side_of(label: Label) -> Side | None:
    """The side that a label's modifier names, None where it names none."""
    return SIDES.get(label.modifier.value) if label.modifier else None
