"""Calcified plaque: found by its brightness, measured, and taken out of an image so that the lumen shows.

Calcium blooms: blurred, it shines into the lumen beside it. What a patch of its brightness and shape would look like
under the scanner's blur is subtracted; what stays is lumen and soft plaque.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, generate_binary_structure
from scipy.ndimage import label as connected_pieces
from scipy.spatial import cKDTree

from medseg.analysis.vessels.lumen.calcium_fit import BEYOND_MM, BODY_STEPS, Sections, patch_beside_lumen
from medseg.analysis.vessels.lumen.fitting import SAMPLING_VARIANCE
from medseg.analysis.vessels.lumen.nearby import voxels_near
from medseg.analysis.vessels.lumen.sections import Points
from medseg.core.geometry import Geometry

MOST_ML = 0.5
"""A larger bright piece is bone or a chamber that touches the vessel, and is left alone."""

QUIET_VOXELS, LEAST_SEEDS = 0.5, 3
"""Smoothing before the search for what is brighter than lumen, and of how many voxels that must be. Most of it is
noise, which the fit tells from calcium.
"""

LEAST_VOXELS = 8
"""Smaller specks that a map denies are noise."""

DENIED, BRIGHT_SHARE = 0.15, 0.5
"""Where a soft map holds less than DENIED but the image more than this share of the lumen's contrast, there is no lumen
but something as bright: calcium in a thin vessel, or a neighbour."""

MOST_DENIED_ML = 0.15
"""A larger denied piece is a neighbour."""

MISSED_SHARE = 0.8
"""Where so much of a denied piece lies where the map lost the vessel, no brighter than the lumen, it missed a lumen."""

OUTSIDE_SHARE = 0.5
"""The same share beside a hard mask, a voxel away from it."""

BESIDE_SIGMAS = 2.0
"""How many blurs beside calcium the image still shows the calcium."""


@dataclass(frozen=True)
class Walls:
    """Points (n, 3) in mm along all vessels, and at each how far away the wall may be, the levels of tissue and of
    lumen, and the value above which a voxel must hold calcium, all (n,).

    `is_gap` (n,) is true where a soft map shows no vessel, and near there.
    """

    points_mm: Points
    reach_mm: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    calcium: NDArray[np.float64]
    is_gap: NDArray[np.bool_]
    tangents: Points
    radius_mm: NDArray[np.float64]


@dataclass(frozen=True)
class CalciumFree:
    """The image (i, j, k) without its calcium, where calcium was, and its volume in ml."""

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    volume_ml: float


def without_calcium(
    image: NDArray[np.float32],
    geometry: Geometry,
    walls: Walls,
    blur_mm: float,
    mask: NDArray[np.bool_] | None = None,
) -> CalciumFree:
    """The image with the calcium of the vessels taken out; `blur_mm` is the point spread.

    What is bright beside the lumen but outside a hard `mask` (i, j, k) of it is calcium too, however faint.
    """
    cleaned = image.copy()
    found = np.zeros(image.shape, dtype=bool)
    bright = _bright_near(image, geometry, walls, mask)
    pieces, count = connected_pieces(bright, generate_binary_structure(3, 3))
    sigma = np.array([np.hypot(blur_mm, np.sqrt(1 / 12) * spacing) / spacing for spacing in geometry.spacing_mm])
    within_mm = float(np.hypot(blur_mm, np.sqrt(SAMPLING_VARIANCE) * np.mean(geometry.spacing_mm)))
    for number, box in enumerate(find_objects(pieces, count), start=1):
        size = int((pieces[box] == number).sum())
        if size < LEAST_SEEDS or size * geometry.voxel_volume_ml > MOST_ML:
            continue
        beside = _sections_beside(walls, pieces[box] == number, box, geometry)
        wide = _box_around(box, beside, geometry, sigma)
        seeds = pieces[wide] == number
        patch = patch_beside_lumen(cleaned[wide], seeds, _part(geometry, wide), beside, sigma, within_mm)
        if patch is None:
            continue
        low = float(np.median(beside.low))
        cleaned[wide] = np.maximum(cleaned[wide] - patch.added, np.minimum(cleaned[wide], low))
        found[wide] |= patch.body
    return CalciumFree(cleaned, found, float(found.sum()) * geometry.voxel_volume_ml)


def calcium_by_map(
    image: NDArray[np.float32],
    probability: NDArray[np.float32],
    geometry: Geometry,
    walls: Walls,
    blur_mm: float,
    *,
    of_network: bool = False,
) -> CalciumFree:
    """The image with what a soft map says in and beside calcium, and beside what is bright but no lumen to the map.

    Only a map made by something that has learnt what calcium looks like can tell a thin lumen from it. A map
    `of_network` loses vessels and takes in calcium: what is brighter than any lumen is calcium all the same, what is
    no brighter is lumen in its gaps.
    """
    surely = np.zeros(image.shape, dtype=bool)
    if of_network:
        bright = without_calcium(image, geometry, walls, blur_mm)
        image, surely = bright.image, bright.mask
    voxels, at = voxels_near(geometry, walls.points_mm, walls.reach_mm)
    where = tuple(voxels.T)
    values, held = image[where], probability[where]
    low, high = walls.low[at], walls.high[at]
    share = (values - low) / (high - low)
    field = np.zeros(image.shape, dtype=bool)
    field[where] = (held < DENIED) & (share > BRIGHT_SHARE) | (held < 0.5) & (values > walls.calcium[at])
    mask, denied, missed = surely, np.zeros_like(field), np.zeros_like(field)
    missed[where] = field[where] & walls.is_gap[at] & (values <= walls.calcium[at]) & of_network
    pieces, count = connected_pieces(field, generate_binary_structure(3, 3))
    for number, box in enumerate(find_objects(pieces, count), start=1):
        piece = pieces[box] == number
        if piece.sum() < LEAST_VOXELS or missed[box][piece].mean() > MISSED_SHARE:
            continue
        denied[box] |= piece
        if piece.sum() * geometry.voxel_volume_ml <= MOST_DENIED_ML:
            mask[box] |= piece
    cleaned = image.copy()
    reach_mm = BESIDE_SIGMAS * float(np.hypot(blur_mm, np.mean(geometry.spacing_mm) / np.sqrt(12)))
    beside = np.argwhere(denied)
    if len(beside):
        near = np.isfinite(
            cKDTree(geometry.world(beside)).query(geometry.world(voxels), distance_upper_bound=reach_mm)[0]
        )
        cleaned[tuple(voxels[near].T)] = (low + held * (high - low))[near]
    return CalciumFree(cleaned, mask, float(mask.sum()) * geometry.voxel_volume_ml)


def _part(geometry: Geometry, box: tuple[slice, ...]) -> Geometry:
    """The grid of a box of the grid."""
    i, j, k = (part.start for part in box)
    a, b, c = (part.stop - part.start for part in box)
    return geometry.cropped((i, j, k), (a, b, c))


def _box_around(
    box: tuple[slice, ...], beside: Sections, geometry: Geometry, sigma: NDArray[np.float64]
) -> tuple[slice, ...]:
    """The box around the seeds that holds the sections beside them, and their calcium under the blur.

    A seed lies up to a radius from the middle of the vessel, and a section reaches as far on the other side.
    """
    across_mm = 2 * float(np.median(beside.radius_mm)) + BEYOND_MM
    body = np.ceil(3 * sigma).astype(int) + BODY_STEPS
    margin = np.maximum(body, np.ceil(across_mm / np.asarray(geometry.spacing_mm)).astype(int)) + 1
    return tuple(
        slice(max(0, part.start - edge), min(size, part.stop + edge))
        for part, edge, size in zip(box, margin.tolist(), geometry.shape, strict=True)
    )


def _sections_beside(walls: Walls, piece: NDArray[np.bool_], box: tuple[slice, ...], geometry: Geometry) -> Sections:
    """The vessel's sections in which a piece, given in a box of the grid, lies in the wall."""
    voxels = np.argwhere(piece) + [part.start for part in box]
    distance = cKDTree(geometry.world(voxels)).query(walls.points_mm)[0]
    at = np.flatnonzero(distance <= np.maximum(walls.radius_mm + min(geometry.spacing_mm), distance.min()))
    return Sections(walls.points_mm[at], walls.tangents[at], walls.radius_mm[at], walls.low[at], walls.high[at])


def _bright_near(
    image: NDArray[np.float32], geometry: Geometry, walls: Walls, mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Where the image (i, j, k), smoothed a little, is brighter than the lumen of the vessel that it is near to, or as
    bright but outside its mask.
    """
    bright = np.zeros(image.shape, dtype=bool)
    most = float(walls.reach_mm.max()) / np.asarray(geometry.spacing_mm) + 2
    index = geometry.index(walls.points_mm)
    first = np.maximum(np.floor(index.min(axis=0) - most), 0).astype(int)
    last = np.minimum(np.ceil(index.max(axis=0) + most) + 1, image.shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    quiet = gaussian_filter(image[box], QUIET_VOXELS, truncate=2.5)
    outside = np.zeros(quiet.shape, dtype=bool) if mask is None else ~binary_dilation(mask[box])
    least = walls.low + OUTSIDE_SHARE * (walls.high - walls.low)
    candidates = np.argwhere((quiet > float(walls.calcium.min())) | (outside & (quiet > float(least.min()))))
    if len(candidates):
        finder = cKDTree(walls.points_mm)
        distance, at = finder.query(
            geometry.world(candidates + first), distance_upper_bound=float(walls.reach_mm.max())
        )
        found = np.isfinite(distance)
        candidates, distance, at = candidates[found], distance[found], at[found]
        values, is_outside = quiet[tuple(candidates.T)], outside[tuple(candidates.T)]
        is_bright = (values > walls.calcium[at]) | (is_outside & (values > least[at]))
        is_calcium = (distance <= walls.reach_mm[at]) & is_bright
        where = tuple((candidates[is_calcium] + first).T)
        bright[where] = True
    return bright
