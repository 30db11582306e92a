"""What one label is like in one case: how much, in how many pieces, and of which shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from medseg.analysis.quantification.shapefinders import Shapefinders, shapefinders
from medseg.core.geometry import Spacing
from medseg.imaging.regions.components import connected_components

PERCENTILES = (10, 50, 90)
"""Of the component sizes that are kept."""

SMALLEST_MEASURED = 30
"""Voxels below which a component's shape is that of its voxels, not its own."""

MOST_MEASURED = 20
"""The largest components of a case speak for the rest."""


class LabelFacts(BaseModel):
    """One label in one case; pieces that share a face, an edge or a corner are one component.

    `component_ml` are the 10th, 50th and 90th percentile of the component sizes. `typical_component_ml` is the size of
    the component that the label's median voxel lies in: specks left by a brush do not lower it. `tubularity` and
    `planarity` are means over the components by volume of filamentarity and planarity, the shapefinders of Sahni et al.
    (1998): near 0 for balls, towards 1 for long tubes and for thin plates; `tube_radius_mm` the mean radius, were they
    tubes. These three are None where no component is large enough to have a shape.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume_ml: float
    component_count: int
    component_ml: tuple[float, float, float] | None
    typical_component_ml: float | None
    tubularity: float | None
    planarity: float | None
    tube_radius_mm: float | None


NOTHING = LabelFacts(
    volume_ml=0.0,
    component_count=0,
    component_ml=None,
    typical_component_ml=None,
    tubularity=None,
    planarity=None,
    tube_radius_mm=None,
)
"""Of a label that a case has nothing of."""


def label_facts(mask: NDArray[np.bool_], spacing_mm: Spacing) -> LabelFacts:
    """The facts of a label from its mask (i, j, k); NOTHING where it is empty."""
    components = connected_components(mask)
    if not components:
        return NOTHING
    sizes_ml = np.array([component.voxel_count for component in components]) * math.prod(spacing_mm) / 1000
    low, middle, high = np.percentile(sizes_ml, PERCENTILES)
    half = np.searchsorted(np.cumsum(sizes_ml), sizes_ml.sum() / 2)
    shapes = [
        shape
        for component in components[:MOST_MEASURED]
        if component.voxel_count >= SMALLEST_MEASURED and (shape := shapefinders(component.mask, spacing_mm))
    ]
    return LabelFacts(
        volume_ml=float(sizes_ml.sum()),
        component_count=len(components),
        component_ml=(float(low), float(middle), float(high)),
        typical_component_ml=float(sizes_ml[half]),
        tubularity=_mean([shape.filamentarity for shape in shapes], shapes),
        planarity=_mean([shape.planarity for shape in shapes], shapes),
        tube_radius_mm=_mean([shape.tube_radius_mm for shape in shapes], shapes),
    )


def _mean(values: list[float], shapes: list[Shapefinders]) -> float | None:
    """The mean, each shape weighing its volume; None where there are none."""
    if not shapes:
        return None
    return float(np.average(values, weights=[shape.volume_mm3 for shape in shapes]))
