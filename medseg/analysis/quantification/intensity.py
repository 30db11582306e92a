"""What the image shows inside a structure: mean, spread and maximum, contrast to its surroundings, and PET uptake."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.imaging.regions.components import Box, Component

PEAK_RADIUS_MM = 10 * (3 / (4 * math.pi)) ** (1 / 3)
"""Radius of the ball of 1 ml over which SUVpeak is taken (PERCIST, Wahl et al. 2009): 6.2 mm."""

SURROUNDINGS_MM = 5.0
"""How far the surroundings reach that a finding's contrast is measured against."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """Mean, standard deviation (of the voxels, not of their mean) and maximum, in the image's unit."""

    mean: float
    standard_deviation: float
    maximum: float


def intensity_of(component: Component, volume: Volume) -> Intensity | None:
    """The intensity inside a component; voxels without a value are left out, and None comes where none has one."""
    values = volume.array[component.box][component.mask].astype(np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    return Intensity(float(values.mean()), float(values.std()), float(values.max()))


def contrast_to_noise(component: Component, volume: Volume, label_map: LabelMap, index: int) -> float | None:
    """How far the mean lies from that of the surroundings, in standard deviations of the surroundings.

    The surroundings are the voxels within 5 mm, or two voxels where that is more, that do not have the same label.
    None where there are fewer than ten of them or no voxel inside has a value; infinite where they are all alike.
    """
    reach_mm = max(SURROUNDINGS_MM, 2 * max(volume.geometry.spacing_mm))
    box, mask = grown(component, volume.geometry, reach_mm)
    distance_mm = ndimage.distance_transform_edt(~mask, sampling=volume.geometry.spacing_mm)
    around = volume.array[box][(distance_mm <= reach_mm) & (label_map.array[box] != index)].astype(np.float64)
    around = around[np.isfinite(around)]
    inside = intensity_of(component, volume)
    if around.size < 10 or inside is None:
        return None
    apart, noise = abs(inside.mean - float(around.mean())), float(around.std())
    if noise == 0:
        return math.inf if apart > 0 else 0.0
    return apart / noise


def peak_of(component: Component, volume: Volume) -> float | None:
    """The highest mean over a ball of 1 ml centred on a voxel of the component, in the image's unit (PERCIST).

    The ball may reach beyond the component, but only voxels with a value count. Voxels that it cuts count in part.
    """
    box, _ = grown(component, volume.geometry, PEAK_RADIUS_MM)
    values = volume.array[box].astype(np.float64)
    has_value = np.isfinite(values)
    ball = _ball(volume.geometry)
    weights = fftconvolve(has_value.astype(np.float64), ball, mode="same")
    sums = fftconvolve(np.where(has_value, values, 0.0), ball, mode="same")
    inside = np.zeros(values.shape, dtype=bool)
    inside[_within(component.box, box)] = component.mask
    inside &= weights > 1e-6 * ball.sum()
    if not inside.any():
        return None
    return float((sums[inside] / weights[inside]).max())


def grown(component: Component, geometry: Geometry, reach_mm: float) -> tuple[Box, NDArray[np.bool_]]:
    """The component's box, grown by a distance in mm but not beyond the grid, and the component's mask in it."""
    # How many steps along an axis a distance spans at most, for slanted axes too: a row of the inverse says how fast
    # the index can change.
    steps = np.ceil(reach_mm * np.linalg.norm(np.linalg.inv(geometry.affine[:3, :3]), axis=1)).astype(int)
    i, j, k = (
        slice(max(0, side.start - int(step)), min(n, side.stop + int(step)))
        for side, step, n in zip(component.box, steps, geometry.shape, strict=True)
    )
    mask = np.zeros([side.stop - side.start for side in (i, j, k)], dtype=bool)
    mask[_within(component.box, (i, j, k))] = component.mask
    return (i, j, k), mask


def _within(inner: Box, outer: Box) -> Box:
    """A box of the grid, as indices into an array that holds another box of it."""
    i, j, k = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
    return i, j, k


def _ball(geometry: Geometry, pieces: int = 5) -> NDArray[np.float64]:
    """How much of each voxel around a voxel's centre lies within the ball of 1 ml: odd in shape, 0 to 1."""
    axes_mm = geometry.affine[:3, :3]
    reach = np.ceil(PEAK_RADIUS_MM * np.linalg.norm(np.linalg.inv(axes_mm), axis=1)).astype(int)
    # Each voxel is cut into 5 x 5 x 5 pieces, and those within the ball are counted.
    fine = [((np.arange((2 * n + 1) * pieces) + 0.5) / pieces - 0.5 - n) for n in reach]
    points_mm = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1) @ axes_mm.T
    inside = (points_mm**2).sum(axis=-1) <= PEAK_RADIUS_MM**2
    shape = [size for n in reach for size in (2 * int(n) + 1, pieces)]
    return np.asarray(inside.reshape(shape).mean(axis=(1, 3, 5)))
