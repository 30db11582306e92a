"""The vessels of a contrast-enhanced scan without a trained network: bright tubes, as a soft map.

What is bright is vessel, bone, chamber or calcium; what is a tube is vessel or the edge of the others. Both together
are a usable map where nothing else touches the vessels. A trained network is better; this is what it is compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, find_objects, generate_binary_structure
from scipy.ndimage import label as connected_pieces
from skimage.filters import apply_hysteresis_threshold

from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.imaging.vesselness import vesselness

SEED, BODY = 0.5, 0.2
"""Vesselness of a sure vessel, and of what goes on from there."""

LEAST_LEVEL_SHARE = 0.5
"""A sure vessel holds at least this share of the contrast between tissue and lumen."""

LEAST_PIECE_MM3 = 80.0
"""A smaller bright tube is noise."""

RIM_VOXELS = 2
MOST_SAMPLES, LEAST_BRIGHT = 2_000_000, 50
AIR_HU = -250.0
BRIGHT_SPREADS = 6.0
"""Voxels this many standard deviations brighter than tissue are no noise."""


def classical_map(scan: Volume) -> Volume:
    """The share of vessel, 0 to 1, in each voxel of a scan in which vessels are bright; calcium counts as vessel.

    Raises InputError where nothing stands out.
    """
    image = np.asarray(scan.array, dtype=np.float32)
    tissue, lumen = _levels(scan)
    bright = image > tissue + 0.3 * (lumen - tissue)
    boxes = find_objects(bright.astype(np.uint8))
    share = np.zeros(image.shape, dtype=np.float32)
    if not boxes or boxes[0] is None:
        return Volume(share, scan.geometry)
    box = tuple(slice(max(0, part.start - 4), part.stop + 4) for part in boxes[0])
    part = image[box]
    start = tuple(edge.start for edge in box)
    shape = (part.shape[0], part.shape[1], part.shape[2])
    geometry = scan.geometry.cropped((start[0], start[1], start[2]), shape)
    is_bright = part > tissue + LEAST_LEVEL_SHARE * (lumen - tissue)
    tubes = vesselness(Volume(part, geometry), lumen - tissue, is_bright)
    body = _bright_tubes(tubes, LEAST_PIECE_MM3 / (1000 * scan.geometry.voxel_volume_ml))
    share[box] = np.where(body, np.clip((part - tissue) / (lumen - tissue), 0.0, 1.0), 0.0)
    return Volume(share, scan.geometry)


def _levels(scan: Volume) -> tuple[float, float]:
    """The levels of soft tissue and of opacified lumen: the middle of most voxels, and of those far brighter."""
    values = np.asarray(scan.array, dtype=np.float32).ravel()
    values = values[:: max(1, values.size // MOST_SAMPLES)]
    values = values[np.isfinite(values)]
    if scan.unit == "HU":
        values = values[values > AIR_HU]
    tissue = float(np.median(values)) if values.size else 0.0
    spread = 1.48 * float(np.median(np.abs(values - tissue))) if values.size else 0.0
    bright = values[values > tissue + BRIGHT_SPREADS * spread]
    if spread == 0.0 or bright.size < LEAST_BRIGHT:
        raise InputError(
            "no vessel stands out in the scan: too little is brighter than its tissue. "
            "Give a scan with contrast, or a map."
        )
    return tissue, float(np.median(bright))


def _bright_tubes(tubes: NDArray[np.float32], least_voxels: float) -> NDArray[np.bool_]:
    """The pieces (i, j, k) of sure tubes with what goes on from them and their rims, without small ones."""
    body = apply_hysteresis_threshold(tubes, BODY, SEED)
    pieces, count = connected_pieces(body, generate_binary_structure(3, 3))
    keep = np.bincount(pieces.ravel(), minlength=count + 1) >= least_voxels
    keep[0] = False
    return np.asarray(binary_dilation(keep[pieces], generate_binary_structure(3, 1), iterations=RIM_VOXELS))
