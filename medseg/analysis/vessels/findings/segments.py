"""Names of coronary segments by the 18-segment model of the SCCT (Leipsic 2014), where both ostia are known.

The rule is coarse and by forks: of a fork's ways on, the one with the longest tree behind it is the vessel that goes
on, the others are its side branches. Of the left main's ways the one that runs most to the front is the anterior
descending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree

Vessel = Literal["left main", "LAD", "LCx", "RCA", "ramus"]
Place = tuple[float, float, float]

OSTIUM_MM = 10.0
"""A vessel whose start is further from an ostium does not come from it."""

SEEN_FROM_MM = 3.0
"""A vessel that starts further from its ostium has a stretch before it that nobody has judged."""

HEADING_MM = 20.0
"""Over which length after a fork a branch's course is judged."""

_COURSES: dict[Vessel, tuple[str, ...]] = {
    "LAD": ("6 proximal LAD", "7 mid LAD", "8 distal LAD"),
    "LCx": ("11 proximal LCx", "13 distal LCx"),
    "RCA": ("1 proximal RCA", "2 mid RCA", "3 distal RCA"),
}
_SIDES: dict[Vessel, tuple[str, ...]] = {
    "LAD": ("9 first diagonal", "10 second diagonal"),
    "LCx": ("12 first obtuse marginal", "14 second obtuse marginal"),
    "RCA": (),
}


@dataclass(frozen=True)
class Ostia:
    """Where the left and the right coronary artery leave the aorta, in RAS+ mm."""

    left_mm: Place
    right_mm: Place


@dataclass(frozen=True)
class Segment:
    """A segment's number and name, and the vessel it belongs to."""

    name: str
    vessel: Vessel


def coronary_segments(tree: VesselTree, ostia: Ostia) -> Mapping[int, Segment]:
    """The segment of each branch (by index) that can be named; the others keep their numbers only."""
    named: dict[int, Segment] = {}
    left, right = _root_at(tree, ostia.left_mm), _root_at(tree, ostia.right_mm)
    if left is not None and left is not right:
        named[left.index] = Segment("5 left main", "left main")
        ways = sorted(_children(tree, left), key=_front, reverse=True)
        vessels: Sequence[Vessel] = ("LAD", "LCx") if len(ways) == 2 else ("LAD", "ramus", "LCx")
        for way, vessel in zip(ways, vessels, strict=False):
            if vessel == "ramus":
                named[way.index] = Segment("17 ramus intermedius", vessel)
            else:
                _name_course(tree, way, vessel, named)
    if right is not None and left is not right:
        _name_course(tree, right, "RCA", named)
    return named


def unseen_ostia(tree: VesselTree, ostia: Ostia) -> tuple[str, ...]:
    """What to beware of at each ostium where no vessel is seen: a lumen too tight for the map is lost with it."""
    said = []
    for side, place in (("left", ostia.left_mm), ("right", ostia.right_mm)):
        root = _root_at(tree, place)
        gap_mm = 0.0 if root is None else _gap_mm(root, place)
        if root is None:
            said.append(f"no vessel begins within {OSTIUM_MM:.0f} mm of the {side} ostium: is it occluded?")
        elif gap_mm > SEEN_FROM_MM:
            said.append(f"the {side} coronary artery is seen from {gap_mm:.0f} mm on: before, it may be blocked")
    return tuple(said)


def _root_at(tree: VesselTree, ostium_mm: Place) -> VesselBranch | None:
    """The root that starts nearest to an ostium."""
    roots = [branch for branch in tree.branches if branch.parent is None]
    nearest = min(roots, key=lambda root: _gap_mm(root, ostium_mm), default=None)
    return nearest if nearest is not None and _gap_mm(nearest, ostium_mm) <= OSTIUM_MM else None


def _gap_mm(root: VesselBranch, ostium_mm: Place) -> float:
    return float(np.linalg.norm(root.points_mm[0] - np.asarray(ostium_mm)))


def _children(tree: VesselTree, branch: VesselBranch) -> list[VesselBranch]:
    return [tree.branches[index] for index in tree.children(branch.index)]


def _front(branch: VesselBranch) -> float:
    """How far to the front (RAS+ y) a branch runs after its fork, in mm."""
    near = branch.points_mm[branch.arc_mm <= HEADING_MM]
    return float(near[-1, 1] - near[0, 1])


def _length_behind(tree: VesselTree, branch: VesselBranch) -> float:
    return branch.length_mm + sum(_length_behind(tree, child) for child in _children(tree, branch))


def _name_course(tree: VesselTree, first: VesselBranch, vessel: Vessel, named: dict[int, Segment]) -> None:
    """Name a vessel's course from fork to fork, and the side branches that it gives off."""
    course, sides = _COURSES[vessel], list(_SIDES[vessel])
    at, step = first, 0
    while True:
        named[at.index] = Segment(course[min(step, len(course) - 1)], vessel)
        ways = sorted(_children(tree, at), key=lambda way: _length_behind(tree, way), reverse=True)
        if not ways:
            return
        if vessel == "RCA" and not any(_children(tree, way) for way in ways) and len(ways) == 2:
            front, back = sorted(ways, key=_front, reverse=True)
            named[front.index] = Segment("4 posterior descending", vessel)
            named[back.index] = Segment("16 posterolateral", vessel)
            return
        for side in ways[1:]:
            if sides:
                named[side.index] = Segment(sides.pop(0), vessel)
        at, step = ways[0], step + 1
