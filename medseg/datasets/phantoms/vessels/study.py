"""One made vascular study: an image, the soft vessel map an ideal network would give, its mask, and its truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from medseg.core.geometry import Geometry, Shape, Spacing
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.shapes import Points
from medseg.datasets.phantoms.truth import BranchTruth, Point
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.coverage import VesselCoverage, seen_lumen, vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import Disease, DiseasedBranch, diseased
from medseg.datasets.phantoms.vessels.surroundings import (
    CT_SURROUNDINGS,
    TOF_SURROUNDINGS,
    paint_origins,
    paint_surroundings,
    uneven_tissue,
)
from medseg.datasets.phantoms.vessels.tree import GrownBranch, Likeness, grow_tree, style_of
from medseg.datasets.phantoms.vessels.truth import VesselTruth

PLAQUE_HU = 45.0

LEAST_SEEN_MM = 0.15
SEEN_NOISES = 1.0
"""A lumen narrower than this radius, or fainter than so many standard deviations of the noise, is not to be found."""

_ANATOMY = Code(value="91723000", scheme="SCT", meaning="Anatomical Structure")
_ABNORMAL = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
VESSEL_SCHEMA = LabelSchema(
    labels=(
        Label(
            index=1,
            name="vessel",
            kind="vessel",
            colour=(216, 60, 79),
            code=Code(value="59820001", scheme="SCT", meaning="Blood Vessel"),
            category=_ANATOMY,
        ),
        Label(
            index=2,
            name="blockage",
            kind="blockage",
            colour=(72, 201, 232),
            code=Code(value="415582006", scheme="SCT", meaning="Stenosis"),
            category=_ABNORMAL,
        ),
        Label(
            index=3,
            name="calcium",
            kind="lesion",
            colour=(245, 245, 220),
            code=Code(value="54538008", scheme="SCT", meaning="Calcification"),
            category=_ABNORMAL,
        ),
    )
)
VESSEL, BLOCKAGE, CALCIUM = 1, 2, 3


class VesselScene(BaseModel):
    """How a made vessel is imaged: contrast, blur, noise, and what is around it.

    CTA is in HU. TOF is the bright blood of an MR angiogram in arbitrary units: plaque and calcium are dark.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["CTA", "TOF"] = "CTA"
    lumen_hu: float = 400.0
    tissue_hu: float = 20.0
    calcium_hu: float = 850.0
    metal_hu: float = 2500.0
    point_spread_mm: Annotated[float, Field(ge=0)] = 0.4
    noise_sd_hu: Annotated[float, Field(ge=0)] = 25.0
    noise_grain_mm: Annotated[float, Field(ge=0)] = 0.5
    has_surroundings: bool = True
    surroundings_scale: Annotated[float, Field(gt=0)] = 1.0
    """By how much chambers, bone and lung are larger than usual."""
    has_origin: bool = False
    """Whether each root leaves a wider vessel or a chamber, as coronaries leave the aorta."""
    motion_mm: Annotated[float, Field(ge=0)] = 0.0
    beam_hardening: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True)
class VesselStudy:
    """A made study. `probability` is the lumen's share of each voxel after the scanner's blur, 0 to 1.

    `lumen` (i, j, k) is what a network is to find: see `seen_lumen`.
    """

    volume: Volume
    probability: Volume
    label_map: LabelMap
    lumen: NDArray[np.bool_]
    truth: VesselTruth


def vessel_grid(shape: Shape = (192, 192, 160), spacing_mm: Spacing = (0.4, 0.4, 0.6)) -> Geometry:
    """An LPS grid around the world's origin."""
    grid = Geometry.from_spacing(shape, spacing_mm)
    stored = grid.reoriented(grid.reorientation_to("LPS"))
    affine = stored.affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Geometry(shape, affine)


def drawn_scene(generator: Generator) -> VesselScene:
    """A scene with everything that varies between scanners and patients drawn at random."""
    return VesselScene(
        lumen_hu=float(generator.uniform(300, 550)),
        tissue_hu=float(generator.uniform(-60, 70)),
        calcium_hu=float(generator.uniform(600, 1100)),
        point_spread_mm=float(generator.uniform(0.32, 0.5)),
        noise_sd_hu=float(generator.uniform(15, 35)),
        has_surroundings=bool(generator.random() < 0.6),
        motion_mm=float(generator.uniform(0.2, 0.8)) if generator.random() < 0.15 else 0.0,
        beam_hardening=float(generator.uniform(0.0, 0.08)),
    )


def make_vessel_study(
    seed: int,
    likeness: Likeness = "coronary",
    *,
    geometry: Geometry | None = None,
    disease: Disease | None = None,
    scene: VesselScene | None = None,
    grown: list[GrownBranch] | None = None,
) -> VesselStudy:
    """The study of a seed. The tree fills the box that the grid spans around the world's origin, whatever its axes.

    Without a `scene` one is drawn from the seed, and without a `grown` tree one is grown in the likeness.
    """
    geometry = geometry or vessel_grid()
    scene = scene or drawn_scene(np.random.default_rng([seed, 13]))
    extent = np.abs(geometry.corners_mm() - geometry.centre_mm).min(axis=0) * 2
    grown = grown or grow_tree(style_of(likeness), extent, np.random.default_rng([seed, 11]))
    branches, lesions = diseased(grown, disease or Disease(), np.random.default_rng([seed, 12]))
    covered = vessel_coverage(branches, geometry)
    image = _image(covered, grown, scene, geometry, np.random.default_rng([seed, 14]))
    lumen = np.minimum(covered.lumen, 1.0)
    probability = Acquisition(point_spread_mm=scene.point_spread_mm).blurred(lumen, geometry)
    truth = VesselTruth(
        seed=seed,
        likeness=likeness,
        point_spread_mm=scene.point_spread_mm,
        branches=tuple(_branch_truth(branch) for branch in branches),
        lesions=lesions,
    )
    return VesselStudy(
        Volume(image, geometry, "HU" if scene.kind == "CTA" else "arbitrary"),
        Volume(probability, geometry),
        LabelMap(_labels(covered, branches, truth, geometry), geometry, VESSEL_SCHEMA),
        seen_lumen(covered, branches, geometry, _least_seen_mm(scene)),
        truth,
    )


def _image(
    covered: VesselCoverage,
    grown: list[GrownBranch],
    scene: VesselScene,
    geometry: Geometry,
    generator: Generator,
) -> NDArray[np.int16]:
    """The image as the scanner gives it, in whole units."""
    is_ct = scene.kind == "CTA"
    image = uneven_tissue(geometry, scene.tissue_hu, 12.0, generator)
    if scene.has_surroundings:
        misleading = CT_SURROUNDINGS if is_ct else TOF_SURROUNDINGS
        sized = tuple(replace(solid, size=solid.size * scene.surroundings_scale) for solid in misleading)
        paint_surroundings(image, geometry, grown, scene.lumen_hu, generator, sized)
    if scene.has_origin:
        paint_origins(image, geometry, grown, scene.lumen_hu, generator)
    image += covered.healthy * ((PLAQUE_HU if is_ct else scene.tissue_hu) - image)
    image += covered.lumen * (scene.lumen_hu - image)
    image += covered.calcium * ((scene.calcium_hu if is_ct else 0.0) - image)
    image += covered.metal * ((scene.metal_hu if is_ct else 0.0) - image)
    if is_ct and scene.beam_hardening > 0:
        sigma = [2.0 / spacing for spacing in geometry.spacing_mm]
        image -= scene.beam_hardening * 8.0 * scene.calcium_hu * gaussian_filter(covered.calcium, sigma)
    acquisition = Acquisition(
        point_spread_mm=scene.point_spread_mm, noise_sd_hu=scene.noise_sd_hu, noise_grain_mm=scene.noise_grain_mm
    )
    image = acquisition.blurred(image, geometry)
    if scene.motion_mm > 0:
        axis = int(generator.integers(0, 2))
        sigmas = [0.0, 0.0, 0.0]
        sigmas[axis] = scene.motion_mm / geometry.spacing_mm[axis] / np.sqrt(12)
        image = gaussian_filter(image, sigmas)
    image += acquisition.noise(geometry, generator)
    return np.clip(np.round(image), -1024 if is_ct else 0, 3071).astype(np.int16)


def _least_seen_mm(scene: VesselScene) -> float:
    """The radius of the narrowest lumen that still stands out from the noise, by the peak of its blurred section."""
    peak = min(SEEN_NOISES * scene.noise_sd_hu / abs(scene.lumen_hu - scene.tissue_hu), 0.95)
    return max(LEAST_SEEN_MM, scene.point_spread_mm * float(np.sqrt(-2 * np.log(1 - peak))))


def _labels(
    covered: VesselCoverage, branches: list[DiseasedBranch], truth: VesselTruth, geometry: Geometry
) -> NDArray[np.uint8]:
    """Vessel where the lumen fills half a voxel, blockage over each lesion's length, calcium over both."""
    labels = np.where(covered.lumen >= 0.5, VESSEL, 0).astype(np.uint8)
    sick = np.argwhere(covered.healthy >= 0.5)
    points = geometry.world(sick)
    for lesion in truth.lesions:
        tube = branches[lesion.branch].healthy
        reach = lesion.length_mm / 2 + float(tube.radii_mm.max()) + 3.0
        middle = np.asarray(_place(tube, (lesion.start_mm + lesion.stop_mm) / 2))
        near = np.flatnonzero(np.linalg.norm(points - middle, axis=1) < reach)
        place, distance = tube.nearest(points[near])
        held = (place >= lesion.start_mm) & (place <= lesion.stop_mm) & (distance <= tube.radius_at(place) + 0.3)
        labels[tuple(sick[near[held]].T)] = BLOCKAGE
    labels[covered.calcium >= 0.5] = CALCIUM
    return labels


def _branch_truth(branch: DiseasedBranch) -> BranchTruth:
    tube = branch.healthy
    open_mm = np.sqrt(np.maximum(branch.open_radii_mm**2 - branch.core_radii_mm**2, 0.0))
    return BranchTruth(
        parent=branch.parent,
        points_mm=_points(tube.points_mm),
        healthy_radius_mm=tuple(map(float, tube.radii_mm)),
        open_points_mm=_points(tube.points_mm + branch.offsets_mm),
        open_radius_mm=tuple(map(float, open_mm)),
    )


def _points(points_mm: Points) -> tuple[Point, ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in points_mm)


def _place(tube: Tube, position_mm: float) -> Points:
    return np.array([np.interp(position_mm, tube.arc_mm, tube.points_mm[:, axis]) for axis in range(3)])
