"""The anatomy of a made abdomen, drawn from a seed: body, organ, lesions, and a vessel tree with blockages.

Lengths are of a small adult: a liver-like organ on the right, a portal-like tree that enters it from below and forks
by Murray's law (parent radius cubed = sum of the children's cubed), narrowings that taper smoothly in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medseg.datasets.phantoms.shapes import CutEllipsoid, Ellipsoid, Points
from medseg.datasets.phantoms.truth import BlockageTruth, BranchTruth, LesionTruth, OrganTruth, PhantomTruth
from medseg.datasets.phantoms.tubes import Tube, TubeStretch, bezier

CENTRE_MM = np.array([12.0, -31.0, 140.0])
"""Where the middle of the anatomy lies in the world; away from zero, so that a lost origin shows."""

BODY_SEMI_AXES_MM = np.array([112.0, 84.0, np.inf])
FAT_THICKNESS_MM = 9.0
SPINE_MM = np.array([0.0, -56.0, 0.0])
SPINE_RADIUS_MM = 15.0

ORGAN_HU = 110.0
"""A liver in the portal phase."""
LESION_HU = ((40.0, 65.0), (165.0, 190.0))
"""Poorly and strongly enhancing lesions, each well apart from the organ and from the vessels."""

GAP_MM = 5.0
"""The least healthy tissue between any two structures, so that no two of them share a voxel."""

FORK_GAP_MM = 2.0
"""The least tissue between branches of one fork, where they have parted."""

LEAST_BLOCKED_RADIUS_MM = 4.5
"""Narrower branches stay healthy: on voxels of 2.5 mm nobody could see what they hide."""


@dataclass(frozen=True)
class Branch:
    """A branch of the tree: which branch it leaves, its healthy tube, and its open lumen."""

    parent: int | None
    healthy: Tube
    lumen: Tube


@dataclass(frozen=True)
class Anatomy:
    """The solids of one made patient, and their truth."""

    organ: CutEllipsoid
    lesions: tuple[Ellipsoid, ...]
    branches: tuple[Branch, ...]
    stretches: tuple[TubeStretch, ...]
    truth: PhantomTruth


def draw_anatomy(seed: int) -> Anatomy:
    """The anatomy of a seed; the same seed gives the same anatomy."""
    generator = np.random.default_rng([seed, 0])
    organ = _draw_organ(generator)
    tubes, parents = _grow_tree(organ, generator)
    branches: list[Branch] = []
    stretches: list[TubeStretch] = []
    blockages: list[BlockageTruth] = []
    wanted = int(generator.integers(1, 4))
    hosts = [at for at in generator.permutation(len(tubes)) if _room_for_blockage(tubes, parents, int(at)) is not None]
    chosen = {int(at) for at in hosts[:wanted]}
    for at, (tube, parent) in enumerate(zip(tubes, parents, strict=True)):
        lumen = tube
        if at in chosen:
            lumen, stretch, blockage = _block(tubes, parents, at, generator)
            stretches.append(stretch)
            blockages.append(blockage)
        branches.append(Branch(parent, tube, lumen))
    lesions = _draw_lesions(organ, tubes, generator)
    truth = PhantomTruth(
        seed=seed,
        organ=OrganTruth(
            centre_mm=_triple(organ.whole.centre_mm),
            semi_axes_mm=_triple(organ.whole.semi_axes_mm),
            volume_ml=organ.volume_ml,
        ),
        lesions=tuple(truth for _, truth in lesions),
        branches=tuple(_branch_truth(branch) for branch in branches),
        blockages=tuple(blockages),
    )
    return Anatomy(organ, tuple(shape for shape, _ in lesions), tuple(branches), tuple(stretches), truth)


def _draw_organ(generator: Generator) -> CutEllipsoid:
    """An ellipsoid on the patient's right whose lower left part is cut away, as a liver's is."""
    centre = CENTRE_MM + np.array([24.0, 14.0, 6.0]) + generator.uniform(-3, 3, 3)
    semi_axes = np.array([70.0, 48.0, 66.0]) * generator.uniform(0.95, 1.05, 3)
    whole = Ellipsoid(centre, semi_axes, rotation(*generator.uniform(-8, 8, 3)))
    normal = np.array([-0.75, 0.0, -0.66])
    return CutEllipsoid(whole, normal / np.linalg.norm(normal), float(generator.uniform(36, 46)))


def _grow_tree(organ: CutEllipsoid, generator: Generator) -> tuple[list[Tube], list[int | None]]:
    """A trunk from below into the organ, and up to three generations of forks inside it."""
    root_radius = float(generator.uniform(8.0, 9.5))
    hilum = organ.whole.centre_mm + np.array([-14.0, -6.0, -14.0]) + generator.uniform(-4, 4, 3)
    below = CENTRE_MM + np.array([2.0, -14.0, -115.0]) + generator.uniform(-3, 3, 3) * (1, 1, 0)
    bend = 0.5 * (below + hilum) + (generator.uniform(-10, 0), generator.uniform(4, 12), 0.0)
    points = bezier(np.stack([below, bend, hilum]))
    tubes = [Tube(points, np.linspace(root_radius, 0.94 * root_radius, len(points)))]
    parents: list[int | None] = [None]
    front = [0]
    for generation in (1, 2):
        following: list[int] = []
        for parent in front:
            share = float(generator.uniform(0.4, 0.6))
            radii = [tubes[parent].radii_mm[-1] * share ** (1 / 3), tubes[parent].radii_mm[-1] * (1 - share) ** (1 / 3)]
            plane = _unit(generator.normal(size=3))
            for side, radius in zip((-1.0, 1.0), radii, strict=True):
                child = _grow_child(organ, tubes, parent, float(radius), side * plane, generation, generator)
                if child is not None:
                    following.append(len(tubes))
                    tubes.append(child)
                    parents.append(parent)
        front = following
    return tubes, parents


def _grow_child(
    organ: CutEllipsoid,
    tubes: list[Tube],
    parent: int,
    radius_mm: float,
    side: Points,
    generation: int,
    generator: Generator,
) -> Tube | None:
    """A child that stays inside the organ and clear of the other branches, None where no try finds one."""
    start = tubes[parent].points_mm[-1]
    onward = tubes[parent].tangents[-1]
    for attempt in range(60):
        away = _unit(side + (0.15 + 0.01 * attempt) * generator.normal(size=3))
        away = _unit(away - (away @ onward) * onward)
        angle = np.deg2rad(generator.uniform(35, 65))
        heading = np.cos(angle) * onward + np.sin(angle) * away
        length = float(generator.uniform(34, 52)) * (1.0 if generation == 1 else 0.8)
        end = start + length * _unit(heading + 0.25 * generator.normal(size=3))
        points = bezier(np.stack([start, start + 0.45 * length * heading, end]))
        tube = Tube(points, np.linspace(radius_mm, 0.9 * radius_mm, len(points)))
        if (organ.signed_bound_mm(points) < -(radius_mm + 3.0)).all() and _is_clear(tube, tubes, parent):
            return tube
    return None


def _is_clear(tube: Tube, tubes: list[Tube], parent: int) -> bool:
    """Whether a tube keeps its distance from all others; from those of its own fork, once it is three radii away."""
    start = tube.points_mm[0]
    gone = tube.arc_mm > 3.0 * tubes[parent].radii_mm[-1]
    for other in tubes:
        place, distance = other.nearest(tube.points_mm)
        room = distance - other.radius_at(place) - tube.radii_mm
        touches_fork = min(np.linalg.norm(other.points_mm[0] - start), np.linalg.norm(other.points_mm[-1] - start)) < 1
        if touches_fork and room[gone].min() < FORK_GAP_MM:
            return False
        if not touches_fork and room.min() < GAP_MM:
            return False
    return True


def _room_for_blockage(tubes: list[Tube], parents: list[int | None], at: int) -> tuple[float, float] | None:
    """Where along a branch a blockage may lie, clear of both forks and of the grid's edge; None for want of room."""
    tube = tubes[at]
    parent = parents[at]
    first = 55.0 if parent is None else 1.3 * float(tubes[parent].radii_mm[-1]) + 3.0
    last = tube.length_mm - (1.3 * float(tube.radii_mm[-1]) + 3.0)
    is_wide = tube.radii_mm[-1] >= LEAST_BLOCKED_RADIUS_MM
    return (first, last) if is_wide and last - first >= 16.0 else None


def _block(
    tubes: list[Tube], parents: list[int | None], at: int, generator: Generator
) -> tuple[Tube, TubeStretch, BlockageTruth]:
    """The open lumen of a branch with one blockage, the stretch it takes, and its truth."""
    tube = tubes[at]
    room = _room_for_blockage(tubes, parents, at)
    assert room is not None
    length = float(generator.uniform(14.0, min(24.0, room[1] - room[0])))
    start = float(generator.uniform(room[0], room[1] - length))
    is_occlusion = bool(generator.random() < 0.25)
    depth = 1.0 if is_occlusion else float(generator.uniform(0.45, 0.8))
    middle = start + length / 2
    lost = depth * narrowing_profile((tube.arc_mm - middle) / (length / 2), flat=0.4 if is_occlusion else 0.15)
    radii = tube.radii_mm * (1 - lost)
    away = _unit(np.cross(tube.tangents[int(np.searchsorted(tube.arc_mm, middle))], generator.normal(size=3)))
    shift = float(generator.uniform(0, 0.7)) * (tube.radii_mm - radii)
    lumen = Tube(tube.points_mm + shift[:, None] * away, radii)
    stretch = TubeStretch(tube, start, start + length)
    healthy = float(tube.radius_at(np.array([middle]))[0])
    blockage = BlockageTruth(
        branch=at,
        centre_mm=_triple(np.array([np.interp(middle, tube.arc_mm, tube.points_mm[:, axis]) for axis in range(3)])),
        position_mm=middle,
        length_mm=length,
        diameter_percent=100 * depth,
        healthy_diameter_mm=2 * healthy,
        open_diameter_mm=2 * healthy * (1 - depth),
        volume_ml=stretch.volume_ml,
    )
    return lumen, stretch, blockage


def narrowing_profile(place: NDArray[np.float64], flat: float) -> NDArray[np.float64]:
    """0 to 1 over places -1 to 1 of a narrowing: 1 over the middle `flat` share, raised cosines to 0 at both ends."""
    ramp = np.clip((np.abs(place) - flat) / (1 - flat), 0.0, 1.0)
    return np.asarray(0.5 * (1 + np.cos(np.pi * ramp)))


def _draw_lesions(organ: CutEllipsoid, tubes: list[Tube], generator: Generator) -> list[tuple[Ellipsoid, LesionTruth]]:
    """Two to four ellipsoids inside the organ, clear of its surface, of the vessels and of each other."""
    wanted = int(generator.integers(2, 5))
    drawn: list[tuple[Ellipsoid, LesionTruth]] = []
    for _ in range(400):
        if len(drawn) == wanted:
            break
        semi_axes = generator.uniform(8.0, 14.0) * generator.uniform(0.75, 1.25, 3)
        reach = float(semi_axes.max())
        centre = organ.whole.centre_mm + generator.uniform(-1, 1, 3) * organ.whole.semi_axes_mm
        if organ.signed_bound_mm(centre[None, :])[0] > -(reach + 2.0):
            continue
        if min(tube.signed_bound_mm(centre[None, :])[0] for tube in tubes) < reach + GAP_MM:
            continue
        others = [np.linalg.norm(centre - other.centre_mm) - other.semi_axes_mm.max() for other, _ in drawn]
        if others and min(others) < reach + GAP_MM:
            continue
        axes = rotation(*generator.uniform(-90, 90, 3))
        lowest, highest = LESION_HU[int(generator.random() < 0.3)]
        truth = LesionTruth(
            centre_mm=_triple(centre),
            semi_axes_mm=_triple(semi_axes),
            axes=(_triple(axes[:, 0]), _triple(axes[:, 1]), _triple(axes[:, 2])),
            intensity_hu=float(generator.uniform(lowest, highest)),
        )
        drawn.append((Ellipsoid(centre, semi_axes, axes), truth))
    return drawn


def rotation(x_deg: float, y_deg: float, z_deg: float) -> NDArray[np.float64]:
    """The rotation about x, then y, then z, in degrees."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.deg2rad([x_deg, y_deg, z_deg])):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


def _branch_truth(branch: Branch) -> BranchTruth:
    return BranchTruth(
        parent=branch.parent,
        points_mm=tuple(_triple(point) for point in branch.healthy.points_mm),
        healthy_radius_mm=tuple(map(float, branch.healthy.radii_mm)),
        open_points_mm=tuple(_triple(point) for point in branch.lumen.points_mm),
        open_radius_mm=tuple(map(float, branch.lumen.radii_mm)),
    )


def _unit(vector: Points) -> Points:
    return np.asarray(vector / np.linalg.norm(vector))


def _triple(vector: Points) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
