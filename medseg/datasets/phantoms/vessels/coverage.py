"""How much of each voxel is healthy vessel, open lumen, calcium and the metal of stents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.shapes import Points
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch, Stent

PARTS = 4
"""Voxels at a surface are divided by this along each axis: a lumen of one voxel is then met by about fifty points."""

CALCIUM_INNER, CALCIUM_OUTER, CALCIUM_COSINE = 0.55, 1.12, 0.35
"""Calcium lies between these shares of the healthy radius, within 70 degrees of its direction."""

NARROW_MM, WAY_MM, WAY_STEP_MM = 0.6, 0.4, 0.15
"""A lumen of a smaller radius may fall between voxels: the way along it is kept, of this radius, in steps of this."""

STRUT_MM, STRUT_SHARE, MESH_CELLS, MESH_MM = 0.15, 0.3, 6, 2.0
"""A stent's struts: their depth in mm, the sine of half their width in the phase of the mesh, and the mesh's cells
around the vessel and in mm along it. About a third of the wall is metal."""


@dataclass(frozen=True)
class VesselCoverage:
    """Fractions 0 to 1 of each voxel (i, j, k); `healthy` holds the others but for calcium that bulges outwards."""

    healthy: NDArray[np.float32]
    lumen: NDArray[np.float32]
    calcium: NDArray[np.float32]
    metal: NDArray[np.float32]


def vessel_coverage(branches: list[DiseasedBranch], geometry: Geometry) -> VesselCoverage:
    """The coverage of a whole tree; where branches meet, the fuller one counts."""
    fields = [np.zeros(geometry.shape, dtype=np.float32) for _ in range(4)]
    for branch in branches:
        index = _voxels_near(branch, geometry)
        for whole, share in zip(fields, _shares(branch, index, geometry), strict=True):
            at = tuple(index.T)
            whole[at] = np.maximum(whole[at], share)
    return VesselCoverage(*fields)


def seen_lumen(
    covered: VesselCoverage, branches: list[DiseasedBranch], geometry: Geometry, least_mm: float
) -> NDArray[np.bool_]:
    """Where the open lumen is (i, j, k), unbroken down to a radius of `least_mm`.

    A voxel counts where lumen fills half of it. A narrow lumen fills none: there the way along its middle is taken, as
    wide as a network's grid needs to keep it whole.
    """
    seen = covered.lumen >= 0.5
    way = np.concatenate([_narrow_way(branch, least_mm) for branch in branches] or [np.empty((0, 3))])
    if len(way):
        touched = np.argwhere((covered.healthy > 0) & ~seen)
        distance, _ = cKDTree(way).query(geometry.world(touched), distance_upper_bound=WAY_MM)
        seen[tuple(touched[distance <= WAY_MM].T)] = True
        passed = np.round(geometry.index(way)).astype(np.int64)
        passed = passed[((passed >= 0) & (passed < geometry.shape)).all(axis=1)]
        seen[tuple(passed.T)] = True
    return seen


def _narrow_way(branch: DiseasedBranch, least_mm: float) -> Points:
    """Points (n, 3) close together along the middle of the lumen where it is narrow, but not under `least_mm`."""
    tube = branch.healthy
    places = np.linspace(0.0, tube.length_mm, max(2, round(tube.length_mm / WAY_STEP_MM)))
    radius = np.interp(places, tube.arc_mm, branch.open_radii_mm)
    has_core = np.interp(places, tube.arc_mm, branch.core_radii_mm) > 0
    middle = tube.points_mm + branch.offsets_mm
    points = np.stack([np.interp(places, tube.arc_mm, middle[:, axis]) for axis in range(3)], axis=1)
    return np.asarray(points[(radius >= least_mm) & (radius < NARROW_MM) & ~has_core])


def _voxels_near(branch: DiseasedBranch, geometry: Geometry) -> NDArray[np.int64]:
    """Indices (n, 3) of the voxels that the branch may touch, in the grid."""
    reach_mm = CALCIUM_OUTER * float(branch.healthy.radii_mm.max()) + 0.5 + _half_diagonal_mm(geometry)
    steps = np.ceil(reach_mm / np.asarray(geometry.spacing_mm)).astype(int)
    ball = np.indices(tuple(2 * steps + 1)).reshape(3, -1).T - steps
    ball = ball[np.linalg.norm(ball @ geometry.affine[:3, :3].T, axis=1) <= reach_mm + _half_diagonal_mm(geometry)]
    middles = np.unique(np.round(geometry.index(branch.healthy.points_mm[::2])).astype(np.int64), axis=0)
    shape = np.asarray(geometry.shape)
    low = np.maximum(middles.min(axis=0) - steps, 0)
    high = np.minimum(middles.max(axis=0) + steps + 1, shape)
    if (high <= low).any():
        return np.empty((0, 3), dtype=np.int64)
    touched = np.zeros(high - low, dtype=bool)
    for middle in middles:
        near = ball + (middle - low)
        near = near[((near >= 0) & (near < high - low)).all(axis=1)]
        touched[tuple(near.T)] = True
    return np.asarray(np.argwhere(touched) + low)


def _shares(branch: DiseasedBranch, index: NDArray[np.int64], geometry: Geometry) -> list[NDArray[np.float32]]:
    """Healthy, lumen, calcium and metal fractions (n,) of voxels: the centre's answer, or a divided voxel's mean."""
    tube = branch.healthy
    points = geometry.world(index)
    place, distance = tube.nearest(points)
    middle = np.stack([np.interp(place, tube.arc_mm, tube.points_mm[:, axis]) for axis in range(3)], axis=1)
    offset = points - middle
    along = np.stack([np.interp(place, tube.arc_mm, tube.tangents[:, axis]) for axis in range(3)], axis=1)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    along[(place <= 0) | (place >= tube.length_mm)] = 0.0  # beyond an end the tube is a ball: no way along it
    shares = [inside.astype(np.float32) for inside in _inside(branch, place, offset)]
    is_sick = np.interp(place, tube.arc_mm, branch.open_radii_mm - branch.core_radii_mm) < tube.radius_at(place)
    surface = np.abs(distance - tube.radius_at(place)) <= _half_diagonal_mm(geometry)
    inner = distance <= CALCIUM_OUTER * tube.radius_at(place) + _half_diagonal_mm(geometry)
    split = np.flatnonzero(surface | (is_sick & inner))
    steps = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    totals = np.zeros((len(shares), len(split)), dtype=np.float32)
    for step in np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T @ geometry.affine[:3, :3].T:
        forward = along[split] @ step
        moved = offset[split] + step - forward[:, None] * along[split]
        totals += _inside(branch, place[split] + forward, moved)
    for share, total in zip(shares, totals, strict=True):
        share[split] = total / PARTS**3
    return shares


def _inside(branch: DiseasedBranch, place: NDArray[np.float64], offset: Points) -> tuple[NDArray[np.bool_], ...]:
    """Whether points, given by place along the branch and offset from its centreline, lie in vessel, lumen, calcium or
    metal.
    """
    tube = branch.healthy
    distance = np.linalg.norm(offset, axis=1)
    healthy_mm = tube.radius_at(place)
    shift = np.stack([np.interp(place, tube.arc_mm, branch.offsets_mm[:, axis]) for axis in range(3)], axis=1)
    lumen = np.linalg.norm(offset - shift, axis=1) < np.interp(place, tube.arc_mm, branch.open_radii_mm)
    lumen &= distance >= np.interp(place, tube.arc_mm, branch.core_radii_mm)
    calcium = np.zeros(len(place), dtype=bool)
    for patch in branch.calcium:
        calcium |= (
            (place > patch.start_mm)
            & (place < patch.stop_mm)
            & (distance > CALCIUM_INNER * healthy_mm)
            & (distance < CALCIUM_OUTER * healthy_mm)
            & (offset @ patch.direction > CALCIUM_COSINE * distance)
        )
    metal = np.zeros(len(place), dtype=bool)
    for stent in branch.stents:
        is_wall = (distance < healthy_mm) & (distance > healthy_mm - STRUT_MM)
        metal |= is_wall & (place > stent.start_mm) & (place < stent.stop_mm) & _on_strut(stent, place, offset)
    return distance < healthy_mm, lumen & ~metal, calcium & ~lumen & ~metal, metal


def _on_strut(stent: Stent, place: NDArray[np.float64], offset: Points) -> NDArray[np.bool_]:
    """Whether points lie on the struts of a stent's mesh: two sets of helices that cross."""
    side = np.cross(stent.tangent, stent.direction)
    turn = MESH_CELLS / 2 * np.arctan2(offset @ side, offset @ stent.direction)
    rise = np.pi * (place - stent.start_mm) / MESH_MM
    return np.asarray((np.abs(np.sin(turn + rise)) < STRUT_SHARE) | (np.abs(np.sin(turn - rise)) < STRUT_SHARE))


def _half_diagonal_mm(geometry: Geometry) -> float:
    return 0.5 * float(np.linalg.norm(geometry.spacing_mm))
