"""How thick and how bright a calcified patch is: such that what stays beside it is a round lumen.

Blurred, a thin patch and the lumen beside it run into one bright shape; no threshold parts them. So several patches are
tried with several brightnesses, and that is taken beside which discs under the blur explain the cross-sections best.
Without those discs the patch shows better, and is drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from medseg.analysis.vessels.lumen.blurred_disc import disc_value
from medseg.analysis.vessels.lumen.fitting import PLAQUE_SHARE
from medseg.analysis.vessels.lumen.nearby import voxels_near
from medseg.analysis.vessels.lumen.sections import Points, frames
from medseg.core.geometry import Geometry

_Numbers = NDArray[np.float64]
_Volume = NDArray[np.float32]

GRID, BEYOND_MM = 15, 1.0
"""Samples along each side of a section, and how far it reaches beyond the healthy wall."""

MOST_SECTIONS = 24
"""A long patch is judged in so many sections, evenly along it."""

RADII, WIDEST, RINGS, TURNS = 14, 1.2, (0.25, 0.5, 0.75), 8
"""Lumens that are tried in a section: so many radii up to the widest, and middles on rings around the vessel's; widest
and rings in shares of the healthy radius.
"""

LEAST_SHARE, BRIGHTNESSES = 1.6, 11
"""Calcium has at least this share of the lumen's contrast; so many brightnesses are tried, from there to that which
leaves nothing where the patch is brightest.
"""

BODY_STEPS, BODY_SHARES = 3, (0.35, 0.5, 0.65, 0.8, 0.9)
"""Bodies that are tried for a patch: what reaches these shares of its peak, within so many voxels of what is bright for
sure.
"""

WALL_SHARE = 0.45
"""Calcium lies in the wall: no nearer to the middle of the vessel than this share of its radius."""

WORTH, SPARED = 1.5, 1.25
"""A patch is believed where lumens alone leave so many times what stays beside it. Of those that leave hardly more than
the best, up to so many times, the smallest is taken: a large one would take the lumen with it.
"""

ROUNDING = 0.05
"""What may stay beside the right patch without any noise, as lumens in steps and whole voxels are not the truth: the
root mean square, in shares of the lumen's contrast. What leaves less is no better for it.
"""

ROUNDS = 3
"""How often the patch is drawn anew beside the lumens."""

BLUR_SIGMAS, BLUR_BLOCK = 3.0, 16
"""How far the blur of calcium is reckoned, and how many voxels along each axis are blurred at once."""

SURE_SHARE = 0.3
"""Where a patch adds this share of the lumen's contrast, the lumens that were found stand for the image."""


@dataclass(frozen=True)
class Sections:
    """Cross-sections of the vessel at points (n, 3) in mm: directions (n, 3), healthy radius (n,) in mm, and the levels
    of tissue and lumen (n,).
    """

    points_mm: Points
    tangents: Points
    radius_mm: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Patch:
    """Calcium in a box (i, j, k): where it is, and what is to be taken from the image."""

    body: NDArray[np.bool_]
    added: NDArray[np.float32]


@dataclass(frozen=True)
class _Fit:
    """A patch: its cost, body, brightness in shares of the lumen's, and number of the lumen (n,) of each section."""

    cost: float
    body: NDArray[np.bool_]
    brightness: float
    lumens: NDArray[np.intp]

    @property
    def mass(self) -> float:
        return self.brightness * float(self.body.sum())


def patch_beside_lumen(
    image: NDArray[np.float32],
    seeds: NDArray[np.bool_],
    geometry: Geometry,
    sections: Sections,
    sigma: NDArray[np.float64],
    blur_mm: float,
) -> Patch | None:
    """The calcium around `seeds`, which are brighter than lumen, in a box of an image (i, j, k).

    None where lumens alone explain the sections as well.

    `sigma` is the blur in voxels along each axis, `blur_mm` its standard deviation within a section.
    """
    low, contrast = float(np.median(sections.low)), float(np.median(sections.high - sections.low))
    share = (image - np.float32(low)) / np.float32(contrast)
    planes = _Planes(sections, geometry, blur_mm)
    bare = planes.fits(share, np.zeros_like(seeds), sigma)[0]
    around = binary_dilation(seeds, iterations=BODY_STEPS) & ~planes.inside(WALL_SHARE) | seeds
    tried, shown = [bare], share
    for _ in range(ROUNDS):
        peak = float(np.percentile(shown[seeds], 95))
        bodies = [seeds, *(around & (shown > part * peak) for part in BODY_SHARES)]
        tried += [fit for body in bodies if body.any() for fit in planes.fits(share, body, sigma)]
        least = max(min(fit.cost for fit in tried), planes.rounding)
        if bare.cost <= WORTH * least:
            return None
        best = min((fit for fit in tried if fit.cost <= SPARED * least), key=lambda fit: fit.mass)
        shown = planes.without(best.lumens, share)
    added = np.float32(best.brightness) * _blurred(best.body, sigma)
    is_sure = np.clip(added / np.float32(SURE_SHARE), 0.0, 1.0)
    return Patch(best.body, np.float32(contrast) * ((1 - is_sure) * added + is_sure * shown))


def _blurred(body: NDArray[np.bool_], sigma: NDArray[np.float64]) -> _Volume:
    """A body (i, j, k) under the blur, block by block: a long one that lies across its box is mostly air."""
    blurred = np.zeros(body.shape, dtype=np.float32)
    edge = np.ceil(BLUR_SIGMAS * sigma).astype(int) + 1
    for first in np.unique(np.argwhere(body) // BLUR_BLOCK, axis=0) * BLUR_BLOCK:
        start = np.maximum(first - edge, 0)
        wide = tuple(slice(a, b) for a, b in zip(start, first + BLUR_BLOCK + edge, strict=True))
        block = tuple(slice(a, a + BLUR_BLOCK) for a in first - start)
        part = np.zeros(blurred[wide].shape, dtype=np.float32)
        part[block] = body[wide][block]
        blurred[wide] += gaussian_filter(part, sigma, mode="constant", truncate=BLUR_SIGMAS)
    return blurred


class _Planes:
    """The planes of sections, the lumens that may lie in them, and how to look at a volume there."""

    def __init__(self, sections: Sections, geometry: Geometry, blur_mm: float) -> None:
        self._geometry, self._blur_mm = geometry, blur_mm
        self._radius = float(np.median(sections.radius_mm))
        plane = frames(sections.tangents)
        judged = np.unique(np.linspace(0, len(sections.low) - 1, MOST_SECTIONS).round().astype(int))
        across, upward = self._grid()
        middles = sections.points_mm[judged, None]
        where = middles + across * plane[0][judged, None] + upward * plane[1][judged, None]
        self._index = geometry.index(where.reshape(-1, 3)).T
        self._count = len(judged)
        self._lumens = self._radius * _lumens()
        self._shares = self._share(across, upward, *self._lumens.T)
        self._squares = (self._shares**2).sum(axis=0)
        self.rounding = ROUNDING**2 * len(across) * self._count
        self._look_around(sections, plane, judged)

    def _grid(self) -> tuple[_Numbers, _Numbers]:
        """The places (m, 1) of a section that are looked at, in mm across and upward."""
        most = self._radius + BEYOND_MM
        steps = np.linspace(-most, most, GRID)
        across, upward = (one.ravel() for one in np.meshgrid(steps, steps, indexing="ij"))
        inside = np.hypot(across, upward) <= most
        return across[inside, None], upward[inside, None]

    def _look_around(self, sections: Sections, plane: tuple[Points, Points], judged: NDArray[np.intp]) -> None:
        """Where the voxels along the vessel lie in the section nearest to each, and which of those judged stands for
        it.
        """
        reach = np.full(len(sections.low), self._radius + 2 * BEYOND_MM)
        voxels, at = voxels_near(self._geometry, sections.points_mm, reach)
        offset = self._geometry.world(voxels) - sections.points_mm[at]
        self._across, self._upward = (np.einsum("nd,nd->n", offset, axis[at]) for axis in plane)
        self._judged = cKDTree(sections.points_mm[judged]).query(sections.points_mm)[1][at]
        self._voxels = tuple(voxels.T)

    def fits(self, share: _Volume, body: NDArray[np.bool_], sigma: NDArray[np.float64]) -> list[_Fit]:
        """A body with every brightness that suits it; an empty one has none."""
        seen, patch = self._sampled(share), self._sampled(_blurred(body, sigma))
        tried = np.zeros(1)
        if body.any():
            held = patch > max(0.5 * patch.max(), 1e-6)
            most = float(np.percentile(seen[held] / patch[held], 90)) if held.any() else 0.0
            tried = np.linspace(LEAST_SHARE, most, BRIGHTNESSES) if most > LEAST_SHARE else np.empty(0)
        found = []
        for brightness in tried:
            left = seen - brightness * patch
            costs = self._squares - 2 * left @ self._shares
            cost = float((left**2).sum() + costs.min(axis=1).sum())
            found.append(_Fit(cost, body, float(brightness), costs.argmin(axis=1)))
        return found

    def inside(self, share: float) -> NDArray[np.bool_]:
        """Which voxels (i, j, k) are within this share of the healthy radius from the middle of the vessel."""
        inside = np.zeros(self._geometry.shape, dtype=bool)
        inside[self._voxels] = np.hypot(self._across, self._upward) < share * self._radius
        return inside

    def without(self, lumens: NDArray[np.intp], volume: _Volume) -> _Volume:
        """A volume (i, j, k) less the lumens of all sections, each as far as the next."""
        left = volume.copy()
        left[self._voxels] -= self._share(self._across, self._upward, *self._lumens[lumens[self._judged]].T)
        return left

    def _share(self, across: _Numbers, upward: _Numbers, x: _Numbers, y: _Numbers, radius: _Numbers) -> _Numbers:
        """The share of lumens in their plaque at places of a section; the arrays are broadcast."""
        plaque = disc_value(np.hypot(across, upward), np.array([self._radius]), self._blur_mm)
        lumen = disc_value(np.hypot(across - x, upward - y), radius, self._blur_mm)
        return np.asarray(PLAQUE_SHARE * plaque + (1 - PLAQUE_SHARE) * lumen)

    def _sampled(self, volume: _Volume) -> _Numbers:
        values = map_coordinates(volume, self._index, order=1, mode="nearest", output=np.float64)
        return np.asarray(values.reshape(self._count, -1))


def _lumens() -> NDArray[np.float64]:
    """Middle and radius (k, 3) of the lumens that may lie in a vessel of radius one."""
    turns = np.arange(TURNS) * (2 * np.pi / TURNS)
    places = [(0.0, 0.0), *((ring * np.cos(turn), ring * np.sin(turn)) for ring in RINGS for turn in turns)]
    radii = np.linspace(0.0, WIDEST, RADII)
    return np.array([(x, y, radius) for radius in radii for x, y in places if np.hypot(x, y) + radius <= WIDEST])
