"""How far two masks' surfaces lie apart, in mm: surface Dice at a tolerance, 95th percentile and mean distance.

The definitions are those of Nikolov et al. 2021 (doi:10.2196/26151), which the Medical Segmentation Decathlon also
scores by: the surface between voxel centres is cut into one element for each corner that eight voxels share, each
element has an area, and every statistic is weighted by area. On right-angled grids the numbers equal those of the
surface-distance package, and of MONAI where it works with elements (NSD with `use_subvoxels`); the tests compare.

Neither library is called here. MONAI's Hausdorff and mean surface distances weight every edge voxel alike: on a scan
with 5 mm slices a rim voxel then counts as much as one of the flat top, which is many times its area. surface-distance
knows only a spacing, and so measures wrongly on a sheared grid (a CT with gantry tilt); here areas and distances follow
the whole affine. It also builds distance maps of the whole box, where only the distances at elements are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.measure import marching_cubes

from medseg.analysis.evaluation.overlap import box_around
from medseg.core.geometry import Geometry

_CORNERS = tuple(product((0, 1), repeat=3))
_ALL_INSIDE = 255

_ROUNDING_MM = 1e-6
"""A distance that equals the tolerance is within it, whatever the last bits of the floating-point numbers say."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each surface element to the nearest one of the other mask, and the elements' areas in mm².

    An empty mask has no elements. Where both masks are empty every statistic is nan; where one is, NSD is 0 and the
    distances are infinite: a missed structure is further off than any number of millimetres.
    """

    from_prediction_mm: NDArray[np.float64]
    prediction_areas_mm2: NDArray[np.float64]
    from_reference_mm: NDArray[np.float64]
    reference_areas_mm2: NDArray[np.float64]

    def surface_dice(self, tolerance_mm: float) -> float:
        """The share of both surfaces that lies within the tolerance of the other (NSD): 0 to 1."""
        total = self.prediction_areas_mm2.sum() + self.reference_areas_mm2.sum()
        if total == 0:
            return math.nan
        reach_mm = tolerance_mm + _ROUNDING_MM
        near = self.prediction_areas_mm2[self.from_prediction_mm <= reach_mm].sum()
        near += self.reference_areas_mm2[self.from_reference_mm <= reach_mm].sum()
        return float(near / total)

    def hausdorff_mm(self, percent: float = 95.0) -> float:
        """The distance in mm that `percent` of each surface stays within; the worse of the two directions."""
        if self._one_is_empty:
            return self._without_surface
        return max(
            _weighted_percentile(self.from_prediction_mm, self.prediction_areas_mm2, percent),
            _weighted_percentile(self.from_reference_mm, self.reference_areas_mm2, percent),
        )

    def mean_mm(self) -> float:
        """The mean distance in mm over both surfaces (average symmetric surface distance)."""
        if self._one_is_empty:
            return self._without_surface
        moment = self.from_prediction_mm @ self.prediction_areas_mm2 + self.from_reference_mm @ self.reference_areas_mm2
        return float(moment / (self.prediction_areas_mm2.sum() + self.reference_areas_mm2.sum()))

    @property
    def _one_is_empty(self) -> bool:
        return self.prediction_areas_mm2.size == 0 or self.reference_areas_mm2.size == 0

    @property
    def _without_surface(self) -> float:
        both = self.prediction_areas_mm2.size == 0 and self.reference_areas_mm2.size == 0
        return math.nan if both else math.inf


def surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], geometry: Geometry
) -> SurfaceDistances:
    """The surface elements of two masks (i, j, k) on one grid, with their distances in mm.

    Works inside the box around both masks. A mask that touches the grid's border ends there and has a surface there.
    """
    box = box_around(prediction, reference)
    if box is None:
        nothing = np.zeros(0)
        return SurfaceDistances(nothing, nothing, nothing, nothing)
    areas_mm2 = element_areas_mm2(geometry.affine[:3, :3])
    predicted, true = _corner_codes(prediction[box]), _corner_codes(reference[box])
    on_predicted, on_true = _is_surface(predicted), _is_surface(true)
    axes_mm = geometry.affine[:3, :3]
    return SurfaceDistances(
        _distances_mm(on_predicted, on_true, axes_mm),
        areas_mm2[predicted[on_predicted]],
        _distances_mm(on_true, on_predicted, axes_mm),
        areas_mm2[true[on_true]],
    )


def element_areas_mm2(axes_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area in mm² (256,) of the surface inside one cell of eight voxel centres, by which of them are in the mask.

    `axes_mm` holds the steps along i, j, k as columns, at any angle to each other.
    """
    areas = np.zeros(256)
    for code, triangles in enumerate(_cell_triangles()):
        corners_mm = triangles @ axes_mm.T
        edges = corners_mm[:, 1:] - corners_mm[:, :1]
        areas[code] = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum()
    return areas


@cache
def _cell_triangles() -> tuple[NDArray[np.float64], ...]:
    """For each of the 256 ways to fill a cell, the triangles (n, 3 corners, 3) of its surface in index units.

    Marching cubes after Lorensen and Cline 1987: the surface passes half-way between a voxel inside and one outside,
    and a cell and its complement share one surface, so that a mask and its background have the same area.
    """
    found = [np.zeros((0, 3, 3))]
    for code in range(1, _ALL_INSIDE):
        cell = np.zeros((2, 2, 2), dtype=np.float32)
        for bit, corner in enumerate(_CORNERS):
            cell[corner] = code >> bit & 1
        if cell.sum() > len(_CORNERS) / 2:
            cell = 1 - cell
        points, faces, _, _ = marching_cubes(cell, level=0.5, method="lorensen")
        found.append(np.asarray(points[faces], dtype=np.float64))
    return (*found, np.zeros((0, 3, 3)))


def _corner_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """For each corner that eight voxels share, one bit a voxel; one longer than the mask along each axis."""
    codes = np.zeros([n + 1 for n in mask.shape], dtype=np.uint8)
    whole = mask.view(np.uint8)
    for bit, corner in enumerate(_CORNERS):
        # The voxel before a corner along an axis is the cell's 0, the one behind it is its 1.
        target = tuple(slice(1 - step, 1 - step + n) for step, n in zip(corner, mask.shape, strict=True))
        codes[target] |= whole << np.uint8(bit)
    return codes


def _is_surface(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((codes != 0) & (codes != _ALL_INSIDE))


def _distances_mm(
    start: NDArray[np.bool_], goal: NDArray[np.bool_], axes_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From each element of one surface, the distance in mm to the nearest of the other; infinite where it has none."""
    if not goal.any():
        return np.full(int(np.count_nonzero(start)), math.inf)
    # Where both masks have an element at the same corner the distance is 0, which a good prediction has nearly
    # everywhere: only the rest is searched for.
    apart = ~goal[start]
    distances_mm = np.zeros(apart.size)
    if apart.any():
        tree = KDTree(np.argwhere(goal) @ axes_mm.T, leafsize=32, compact_nodes=False, balanced_tree=False)
        distances_mm[apart] = tree.query(np.argwhere(start)[apart] @ axes_mm.T)[0]
    return distances_mm


def _weighted_percentile(values: NDArray[np.float64], weights: NDArray[np.float64], percent: float) -> float:
    """The smallest value that at least `percent` of the weight does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    position = int(np.searchsorted(reached, percent / 100 * reached[-1]))
    return float(values[order[min(position, values.size - 1)]])
