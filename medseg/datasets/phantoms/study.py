"""One made CT study: the image, its mask, and its truth, on any grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry, Shape, Spacing
from medseg.core.label_map import LabelMap
from medseg.core.task import Task, load_task
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import (
    BODY_SEMI_AXES_MM,
    CENTRE_MM,
    FAT_THICKNESS_MM,
    ORGAN_HU,
    SPINE_MM,
    SPINE_RADIUS_MM,
    Anatomy,
    draw_anatomy,
    rotation,
)
from medseg.datasets.phantoms.shapes import Box, Ellipsoid, coverage
from medseg.datasets.phantoms.shapes import Shape as Solid
from medseg.datasets.phantoms.truth import PhantomTruth

TASK = "phantom_ct"
AIR_HU, FAT_HU, SOFT_TISSUE_HU, CORTEX_HU, MARROW_HU = -1000.0, -100.0, 50.0, 650.0, 220.0
PLAQUE_HU = 45.0
"""Soft plaque and thrombus: what fills a vessel where it is not open."""
LUMEN_HU = 280.0


@dataclass(frozen=True)
class PhantomStudy:
    """A made scan in HU, the mask of its task, and the formulas both came from."""

    volume: Volume
    label_map: LabelMap
    truth: PhantomTruth


def phantom_grid(
    shape: Shape = (96, 96, 64),
    spacing_mm: Spacing = (2.5, 2.5, 3.0),
    axis_codes: str = "LPS",
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Geometry:
    """A grid centred on the made anatomy, stored along `axis_codes` and then turned about the world's x, y and z."""
    along_world = Geometry.from_spacing(shape, spacing_mm)
    stored = along_world.reoriented(along_world.reorientation_to(axis_codes))
    affine = np.eye(4)
    affine[:3, :3] = rotation(*rotation_deg) @ stored.directions @ np.diag(spacing_mm)
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Geometry(shape, affine)


def make_study(seed: int, geometry: Geometry | None = None, acquisition: Acquisition | None = None) -> PhantomStudy:
    """The study of a seed on a grid (by default `phantom_grid()`); the anatomy depends on the seed alone."""
    geometry = geometry or phantom_grid()
    acquisition = acquisition or Acquisition()
    anatomy = draw_anatomy(seed)
    image, labels = _paint(anatomy, geometry, load_task(TASK))
    image = acquisition.blurred(image, geometry)
    image += acquisition.noise(geometry, np.random.default_rng([seed, 1]))
    whole_hu = np.clip(np.round(image), -1024, 3071).astype(np.int16)
    label_map = LabelMap(labels, geometry, load_task(TASK).label_schema)
    return PhantomStudy(Volume(whole_hu, geometry, "HU"), label_map, anatomy.truth)


def _paint(anatomy: Anatomy, geometry: Geometry, task: Task) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The perfect image in HU and the labels; each solid covers what was painted before it."""
    image = np.full(geometry.shape, AIR_HU, dtype=np.float32)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    index = {label.name: label.index for label in task.labels}

    def paint(solid: Solid, intensity_hu: float, label: int | None = None) -> None:
        box, filled = coverage(solid, geometry)
        image[box] += filled * (intensity_hu - image[box])
        _mark(labels, box, filled, label)

    for solid, intensity_hu in _body():
        paint(solid, intensity_hu)
    paint(anatomy.organ, ORGAN_HU, index["organ"])
    for lesion, truth in zip(anatomy.lesions, anatomy.truth.lesions, strict=True):
        paint(lesion, truth.intensity_hu, index["lesion"])
    for stretch in anatomy.stretches:
        paint(stretch, PLAQUE_HU)
    for branch in anatomy.branches:
        paint(branch.lumen, LUMEN_HU, index["vessel"])
    for stretch in anatomy.stretches:
        box, filled = coverage(stretch, geometry)
        _mark(labels, box, filled, index["blockage"])
    return image, labels


def _mark(labels: NDArray[np.uint8], box: Box, filled: NDArray[np.float32], label: int | None) -> None:
    """Label the voxels at least half filled."""
    if label is not None:
        labels[box][filled >= 0.5] = label


def _body() -> list[tuple[Ellipsoid, float]]:
    """Skin to bone, each inside the one before; the body goes on beyond the grid in z."""
    upright = np.eye(3)
    inner = BODY_SEMI_AXES_MM - (FAT_THICKNESS_MM, FAT_THICKNESS_MM, 0.0)
    spine = CENTRE_MM + SPINE_MM
    return [
        (Ellipsoid(CENTRE_MM, BODY_SEMI_AXES_MM, upright), FAT_HU),
        (Ellipsoid(CENTRE_MM, inner, upright), SOFT_TISSUE_HU),
        (Ellipsoid(spine, np.array([SPINE_RADIUS_MM, SPINE_RADIUS_MM, np.inf]), upright), CORTEX_HU),
        (Ellipsoid(spine, np.array([SPINE_RADIUS_MM - 3.0, SPINE_RADIUS_MM - 3.0, np.inf]), upright), MARROW_HU),
    ]
