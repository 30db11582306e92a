"""Blockages in what a network takes for vessels: its map is rid of veins, measured in the image, and doubted in words.

A network sees a part of the scan at a time and cannot know how bright the arteries of this scan are: where the contrast
has begun to reach the veins, it takes them for arteries. Piece by piece, against the whole scan, brightness tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, generate_binary_structure
from scipy.ndimage import label as connected_pieces

from medseg.analysis.vessels.analyse import LIKELY, VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.findings.segments import Ostia
from medseg.core.geometry import Spacing
from medseg.core.volume import Volume

NETWORK_DOUBT = (
    "A network showed where the vessels are. It may lose narrow lumens and take calcium for lumen, and the intervals "
    "were not calibrated for that: look at each blockage."
)

LEAST_PIECE = 60
"""Pieces of fewer voxels have no level of their own."""

MAIN_SHARE = 0.2
"""A piece that holds this share of the map tells how bright arteries are; of several the brightest."""

FAINT_SHARE = 0.86
"""A piece whose contrast is a smaller share of that of the arteries is none. In made scans veins have 0.45 to 0.75 of
it, arteries 0.97 and more."""

CORE_SHARE = 0.8
"""The core of a piece is as deep as this share of its width: partial volume hardly reaches it."""

BESIDE_VOXELS, CLEAR_VOXELS = 5, 2
"""The tissue around a piece lies within so many voxels, and clear of any vessel by so many."""


@dataclass(frozen=True)
class _Piece:
    """A connected piece of the map: its box and mask in it, its level in the image, and the level of the tissue."""

    box: tuple[slice, ...]
    mask: NDArray[np.bool_]
    level: float
    tissue: float
    seen: float
    """The share of its contrast that a vessel of its width shows in the middle, under a blur of about a voxel."""


def analyse_network_map(soft: Volume, image: Volume, ostia: Ostia | None = None) -> VesselAnalysis:
    """The analysis of a network's map (0 to 1), calibres from the image; it says what that means for percentages.

    With the `ostia` of both coronary arteries their segments are named.
    """
    arteries, left_out = without_veins(soft, image)
    analysis = analyse_vessels(arteries, image, prefer_image=True, of_network=True, ostia=ostia)
    report, warnings = analysis.report, []
    if report.blockages:
        warnings.append(NETWORK_DOUBT)
    if left_out:
        what = "a piece" if left_out == 1 else f"{left_out} pieces"
        warnings.append(f"{what} of the vessels, fainter than the rest as veins are, was not looked at for blockages")
    warnings += report.warnings
    return replace(analysis, report=report.model_copy(update={"warnings": tuple(warnings)}))


def without_veins(soft: Volume, image: Volume) -> tuple[Volume, int]:
    """The map without the pieces that are much fainter in the image than its main vessels; how many these were.

    A map in which nothing is wide enough to show a level stays as it is.
    """
    pieces = list(_pieces(soft.array, np.asarray(image.array), soft.geometry.spacing_mm))
    least = MAIN_SHARE * sum(int(piece.mask.sum()) for piece in pieces)
    main = max((piece.level for piece in pieces if piece.mask.sum() >= least), default=None)
    if main is None:
        return soft, 0
    faint = [one for one in pieces if one.level - one.tissue < FAINT_SHARE * one.seen * (main - one.tissue)]
    if not faint:
        return soft, 0
    array = soft.array.copy()
    for piece in faint:
        array[piece.box][piece.mask] = 0
    return Volume(array, soft.geometry), len(faint)


def _pieces(soft: NDArray[np.float32], image: NDArray[np.generic], spacing_mm: Spacing) -> Iterator[_Piece]:
    """The pieces of the map that are large enough to have a level."""
    is_vessel = soft > LIKELY
    whole = find_objects(is_vessel.astype(np.uint8))
    if not whole or whole[0] is None:
        return
    numbers, count = connected_pieces(is_vessel[whole[0]], generate_binary_structure(3, 3))
    numbers = np.pad(numbers, [(part.start, size - part.stop) for part, size in zip(whole[0], soft.shape, strict=True)])
    for number, tight in enumerate(find_objects(numbers, count), start=1):
        box = tuple(slice(max(0, part.start - BESIDE_VOXELS), part.stop + BESIDE_VOXELS) for part in tight)
        mask = numbers[box] == number
        if mask.sum() < LEAST_PIECE:
            continue
        depth_mm = distance_transform_edt(mask, sampling=spacing_mm)
        width_mm = float(np.percentile(depth_mm[mask], 90))
        core = mask & (depth_mm >= CORE_SHARE * width_mm)
        beside = binary_dilation(mask, iterations=BESIDE_VOXELS)
        beside &= ~binary_dilation(numbers[box] > 0, iterations=CLEAR_VOXELS)
        if not beside.any():
            continue
        seen = 1 - np.exp(-0.5 * (width_mm / np.mean(spacing_mm)) ** 2)
        level, tissue = np.median(image[box][core]), np.percentile(image[box][beside], 40)
        yield _Piece(box, mask, float(level), float(tissue), float(seen))
