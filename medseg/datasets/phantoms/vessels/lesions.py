"""Disease in a tree: narrowings, serial and eccentric and calcified ones, occlusions, and clots in veins."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.shapes import Points
from medseg.datasets.phantoms.truth import Point
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.tree import GrownBranch
from medseg.datasets.phantoms.vessels.truth import ONE_LESION_DIAMETERS, VesselLesionTruth, merged_lesions

STENT_BEYOND_MM = 2.0
"""How far a stent reaches beyond the lesion that it was laid over."""

TAIL_MM = 7.0
"""Healthy vessel between a lesion and a loose end: without it nothing would tell the lesion from the end."""


@dataclass(frozen=True)
class Disease:
    """How much there is to find: how many lesions, how deep in percent of the diameter, and of which kinds."""

    lesions: tuple[int, int] = (3, 7)
    percent: tuple[float, float] = (30.0, 92.0)
    occlusion_chance: float = 0.4
    calcified_share: float = 0.3
    serial_share: float = 0.15
    filling_defect_share: float = 0.0
    stented_share: float = 0.0
    """How many narrowings lie in a stent."""


@dataclass(frozen=True)
class Calcium:
    """A calcified sector of the wall: from place to place along the branch, around a direction."""

    start_mm: float
    stop_mm: float
    direction: Points


@dataclass(frozen=True)
class Stent:
    """A mesh of metal in the wall, from place to place along the branch; `direction` is across it, angle zero."""

    start_mm: float
    stop_mm: float
    direction: Points
    tangent: Points


@dataclass
class DiseasedBranch:
    """A branch with its open lumen: radius and offset of its centre at each centreline point, and what lies in it.

    `core_radii_mm` is the radius of a clot that floats in the lumen, zero where there is none.
    """

    parent: int | None
    healthy: Tube
    open_radii_mm: NDArray[np.float64]
    offsets_mm: Points
    core_radii_mm: NDArray[np.float64]
    calcium: list[Calcium] = field(default_factory=list)
    stents: list[Stent] = field(default_factory=list)


def diseased(
    grown: list[GrownBranch], disease: Disease, generator: Generator
) -> tuple[list[DiseasedBranch], tuple[VesselLesionTruth, ...]]:
    """The branches of a tree with disease in them, and the truth of every lesion."""
    branches = [
        DiseasedBranch(
            branch.parent,
            branch.tube,
            branch.tube.radii_mm.copy(),
            np.zeros_like(branch.tube.points_mm),
            np.zeros_like(branch.tube.radii_mm),
        )
        for branch in grown
    ]
    placed: list[VesselLesionTruth] = []
    closed: list[VesselLesionTruth] = []
    wanted = int(generator.integers(disease.lesions[0], disease.lesions[1] + 1))
    weights = np.array([branch.healthy.length_mm for branch in branches])
    for attempt in range(60 * wanted):
        if len(placed) >= wanted:
            break
        is_occlusion = attempt == 0 and bool(generator.random() < disease.occlusion_chance)
        at = int(generator.choice(len(branches), p=weights / weights.sum()))
        lesion = _draw(branches, at, is_occlusion, disease, generator)
        if lesion is None or not _is_apart(lesion, placed, branches) or _is_beyond(lesion, closed, branches):
            continue
        placed.append(_carve(branches[at], lesion, generator))
        if is_occlusion:
            closed.append(lesion)
        elif generator.random() < disease.serial_share:
            second = _following(branches, lesion, disease, generator)
            if second is not None and _is_apart(second, placed[:-1], branches):
                placed.append(_carve(branches[at], second, generator))
    return branches, merged_lesions(placed)


def _draw(
    branches: list[DiseasedBranch], at: int, is_occlusion: bool, disease: Disease, generator: Generator
) -> VesselLesionTruth | None:
    """A lesion somewhere along a branch, None where it has no room."""
    tube = branches[at].healthy
    diameter = 2 * float(tube.radii_mm.mean())
    length = float(np.clip(generator.uniform(2.0, 5.0) * diameter, 4.0, 20.0))
    first, last = _room(branches, at, length)
    if last <= first:
        return None
    position = float(generator.uniform(first, last))
    percent = 100.0 if is_occlusion else float(generator.uniform(*disease.percent))
    is_defect = not is_occlusion and bool(generator.random() < disease.filling_defect_share)
    # drawn only where asked for: the other studies of a seed stay what they are
    is_stented = disease.stented_share > 0 and not is_defect and bool(generator.random() < disease.stented_share)
    return _truth(branches, at, position, length, percent).model_copy(
        update={
            "is_calcified": not is_defect and bool(generator.random() < disease.calcified_share),
            "is_filling_defect": is_defect,
            "is_stented": is_stented,
        }
    )


def _following(
    branches: list[DiseasedBranch], lesion: VesselLesionTruth, disease: Disease, generator: Generator
) -> VesselLesionTruth | None:
    """A second narrowing close behind the first, None where the branch ends before it."""
    length = float(generator.uniform(0.6, 1.0)) * lesion.length_mm
    gap = float(generator.uniform(0.3, 0.8 * ONE_LESION_DIAMETERS)) * lesion.healthy_diameter_mm
    position = lesion.stop_mm + gap + length / 2
    if position > _room(branches, lesion.branch, length)[1]:
        return None
    return _truth(branches, lesion.branch, position, length, float(generator.uniform(*disease.percent)))


def _room(branches: list[DiseasedBranch], at: int, length_mm: float) -> tuple[float, float]:
    """Where along a branch the tightest place may be: clear of the parent's lumen, of the fork, and of loose ends."""
    branch = branches[at]
    is_leaf = all(other.parent != at for other in branches)
    if branch.parent is None:
        first = length_mm / 2 + TAIL_MM
    else:
        first = 1.3 * float(branches[branch.parent].healthy.radii_mm[-1]) + 1.0
    reach = length_mm / 2 + TAIL_MM if is_leaf else 1.3 * float(branch.healthy.radii_mm[-1]) + 1.0
    return first, branch.healthy.length_mm - reach


def _truth(
    branches: list[DiseasedBranch], at: int, position_mm: float, length_mm: float, percent: float
) -> VesselLesionTruth:
    tube = branches[at].healthy
    healthy = 2 * float(tube.radius_at(np.array([position_mm]))[0])
    forks = []
    if branches[at].parent is not None:
        forks.append(position_mm)
    if any(other.parent == at for other in branches):
        forks.append(tube.length_mm - position_mm)
    return VesselLesionTruth(
        branch=at,
        centre_mm=_place(tube, position_mm),
        position_mm=position_mm,
        start_mm=max(0.0, position_mm - length_mm / 2),
        stop_mm=min(tube.length_mm, position_mm + length_mm / 2),
        diameter_percent=percent,
        healthy_diameter_mm=healthy,
        open_diameter_mm=healthy * (1 - percent / 100),
        fork_mm=min(forks) if forks else None,
    )


def _carve(branch: DiseasedBranch, lesion: VesselLesionTruth, generator: Generator) -> VesselLesionTruth:
    """Cut a lesion into a branch; gives its truth back."""
    tube = branch.healthy
    half = max(lesion.position_mm - lesion.start_mm, lesion.stop_mm - lesion.position_mm)
    flat = float(generator.uniform(0.35, 0.6)) if lesion.is_occlusion else float(generator.uniform(0.1, 0.5))
    profile = narrowing_profile((tube.arc_mm - lesion.position_mm) / half, flat)
    lost = lesion.diameter_percent / 100 * profile
    middle = int(np.searchsorted(tube.arc_mm, lesion.position_mm))
    away = np.cross(tube.tangents[min(middle, len(tube.arc_mm) - 1)], generator.normal(size=3))
    away /= np.linalg.norm(away)
    if lesion.is_filling_defect:
        # a clot that takes the same area as a narrowing of that percentage: what is open is an annulus
        branch.core_radii_mm = np.maximum(branch.core_radii_mm, tube.radii_mm * np.sqrt(1 - (1 - lost) ** 2))
        return lesion
    radii = tube.radii_mm * (1 - lost)
    shift = float(generator.uniform(0, 1)) * (tube.radii_mm - radii)
    is_tighter = radii < branch.open_radii_mm
    branch.open_radii_mm = np.where(is_tighter, radii, branch.open_radii_mm)
    branch.offsets_mm = np.where(is_tighter[:, None], shift[:, None] * away, branch.offsets_mm)
    if lesion.is_calcified:
        reach = float(generator.uniform(0.25, 0.45)) * lesion.length_mm
        branch.calcium.append(Calcium(lesion.position_mm - reach, lesion.position_mm + reach, -away))
    if lesion.is_stented:
        reach = half + STENT_BEYOND_MM
        places = max(0.0, lesion.position_mm - reach), min(tube.length_mm, lesion.position_mm + reach)
        branch.stents.append(Stent(*places, away, tube.tangents[min(middle, len(tube.arc_mm) - 1)]))
    return lesion


def _is_apart(lesion: VesselLesionTruth, placed: list[VesselLesionTruth], branches: list[DiseasedBranch]) -> bool:
    """Whether a lesion is further than the SYNTAX distance from all others, along the vessels."""
    for other in placed:
        least = ONE_LESION_DIAMETERS * max(lesion.healthy_diameter_mm, other.healthy_diameter_mm) + 3.0
        if _gap_mm(lesion, other, branches) < least:
            return False
    return True


def _gap_mm(one: VesselLesionTruth, two: VesselLesionTruth, branches: list[DiseasedBranch]) -> float:
    """The way between two lesions on one branch or on branches of one fork; infinity where they are further apart."""
    if one.branch == two.branch:
        return max(two.start_mm - one.stop_mm, one.start_mm - two.stop_mm)
    parents = branches[one.branch].parent, branches[two.branch].parent
    if parents[0] == two.branch:
        return one.start_mm + branches[two.branch].healthy.length_mm - two.stop_mm
    if parents[1] == one.branch:
        return two.start_mm + branches[one.branch].healthy.length_mm - one.stop_mm
    return one.start_mm + two.start_mm if parents[0] is not None and parents[0] == parents[1] else np.inf


def _is_beyond(lesion: VesselLesionTruth, closed: list[VesselLesionTruth], branches: list[DiseasedBranch]) -> bool:
    """Whether a lesion lies downstream of an occlusion, where nothing is scored."""
    for other in closed:
        if lesion.branch == other.branch and lesion.position_mm > other.position_mm:
            return True
        at = branches[lesion.branch].parent
        while at is not None:
            if at == other.branch:
                return True
            at = branches[at].parent
    return False


def _place(tube: Tube, position_mm: float) -> Point:
    x, y, z = (float(np.interp(position_mm, tube.arc_mm, tube.points_mm[:, axis])) for axis in range(3))
    return x, y, z
