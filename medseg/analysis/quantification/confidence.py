"""How sure the model is of a finding: its mean probability and entropy, and between which sizes it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from medseg.analysis.quantification.diameters import axial_diameters
from medseg.analysis.quantification.intensity import grown
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import ProbabilityMap
from medseg.imaging.regions.components import Component, connected_components

REACH_MM = 15.0
"""How far beyond its mask a finding may be thought to reach."""

_LEAST, _MOST = 0.975, 0.025


@dataclass(frozen=True, slots=True)
class Confidence:
    """The mean probability (0 to 1) and entropy (bit) of a finding's voxels, and 95 % intervals of its size.

    The intervals run from what the model gives at least 0.975 to what it gives at least 0.025. Those are 95 % intervals
    where the probabilities are calibrated and the outline moves in or out as a whole, as observers' outlines do. They
    say nothing of a finding that is no lesion at all; for that there is the mean probability. `agreement` is the mean
    share of the model's answers that call a voxel what it is called here; None where there is one answer only.
    """

    probability: float
    entropy_bit: float
    volume_interval_ml: tuple[float, float]
    diameter_interval_mm: tuple[float, float]
    agreement: float | None = None


def confidence_of(
    component: Component,
    probability: ProbabilityMap,
    label_map: LabelMap,
    index: int,
    longest_mm: float,
    agreement: ProbabilityMap | None = None,
) -> Confidence:
    """The confidence of one finding, from the probability of its label at each voxel.

    What lies nearer to another finding of the label is not counted to this one. `longest_mm` is its longest axial
    diameter, which its interval holds.
    """
    geometry = label_map.geometry
    inside = probability.within(component.box)[component.mask].astype(np.float64)
    mask, likely, others = _surroundings(component, probability, label_map, index)
    around = likely & ~others & ~mask
    near_mm = _apart_mm(around, mask, geometry)
    own = np.zeros_like(mask)
    own[around] = (near_mm <= REACH_MM) & (near_mm <= _apart_mm(around, others, geometry))
    core = np.zeros_like(component.mask)
    core[component.mask] = inside >= _LEAST
    least = _size(core, geometry)
    # What is likely but apart from the finding is another one, which the mask does not hold.
    most = _size(_pieces_touching(own | mask, mask), geometry)
    volume_ml = component.voxel_count * geometry.voxel_volume_ml
    return Confidence(
        probability=float(inside.mean()),
        entropy_bit=float(_entropy_bit(inside).mean()),
        volume_interval_ml=(min(least[0], volume_ml), most[0]),
        diameter_interval_mm=(min(least[1], longest_mm), max(most[1], longest_mm)),
        agreement=None if agreement is None else float(agreement.within(component.box)[component.mask].mean()),
    )


def _surroundings(
    component: Component, probability: ProbabilityMap, label_map: LabelMap, index: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """The finding's mask, where its label is likely, and other findings of the label, in the smallest box that matters.

    Only what hangs together with the finding matters, through likely voxels or other findings.
    """
    box, mask = grown(component, label_map.geometry, REACH_MM)
    likely = probability.within(box) >= _MOST
    of_label = label_map.array[box] == index
    together = _pieces_touching(likely | of_label | mask, mask)
    (region,) = ndimage.find_objects(together.view(np.uint8))
    together, mask = together[region], mask[region]
    return mask, likely[region] & together, of_label[region] & together & ~mask


def _apart_mm(voxels: NDArray[np.bool_], mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.float64]:
    """How far each of the voxels lies from the nearest one of the mask; infinite beyond the reach or where it is empty.

    Only the mask's rim is looked at: of a large organ a map of distances would take many times its scan's memory.
    """
    rim = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    places = np.argwhere(voxels)
    if not len(rim) or not len(places):
        return np.full(len(places), np.inf)
    axes_mm = geometry.affine[:3, :3].T
    apart_mm, _ = cKDTree(rim @ axes_mm).query(places @ axes_mm, distance_upper_bound=REACH_MM + 1e-6)
    return np.asarray(apart_mm, dtype=np.float64)


def _size(mask: NDArray[np.bool_], geometry: Geometry) -> tuple[float, float]:
    """Volume in ml and longest axial diameter in mm of all voxels together; 0 and 0 where there are none."""
    count = int(np.count_nonzero(mask))
    if count == 0:
        return 0.0, 0.0
    i, j, k = (slice(0, n) for n in mask.shape)
    diameters = axial_diameters(Component(mask, (i, j, k), count), geometry)
    return count * geometry.voxel_volume_ml, diameters.longest_mm


def _pieces_touching(mask: NDArray[np.bool_], seed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    kept = np.zeros_like(mask)
    for piece in connected_components(mask):
        if (piece.mask & seed[piece.box]).any():
            kept[piece.box] |= piece.mask
    return kept


def _entropy_bit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The entropy in bit of 'lesion or not' at each voxel: 0 where it is certain, 1 where it is even."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)))
