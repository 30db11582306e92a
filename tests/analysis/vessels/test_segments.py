"""Coronary segments on a tree drawn by hand, and what CAD-RADS makes of the left main."""

from __future__ import annotations

import numpy as np

from medseg.analysis.vessels.findings.segments import Ostia, coronary_segments, unseen_ostia
from medseg.analysis.vessels.tree.branches import VesselBranch, VesselTree

LEFT, RIGHT = (-10.0, 0.0, 0.0), (10.0, 5.0, 0.0)
OSTIA = Ostia(LEFT, RIGHT)


def branch(index: int, parent: int | None, start: tuple[float, ...], stop: tuple[float, ...]) -> VesselBranch:
    points = np.linspace(start, stop, 40)
    wide = np.full(40, 1.5)
    return VesselBranch(index, parent, 0 if parent is None else 1, index, index + 100, points, wide, wide < 0)


TREE = VesselTree(
    (
        branch(0, None, LEFT, (-20, 0, 0)),
        branch(1, 0, (-20, 0, 0), (-30, 30, -10)),
        branch(2, 0, (-20, 0, 0), (-40, -25, -10)),
        branch(3, 1, (-30, 30, -10), (-30, 50, -40)),
        branch(4, 1, (-30, 30, -10), (-45, 35, -15)),
        branch(5, 2, (-40, -25, -10), (-40, -50, -30)),
        branch(6, 2, (-40, -25, -10), (-50, -20, -25)),
        branch(7, None, RIGHT, (40, 10, -30)),
        branch(8, 7, (40, 10, -30), (20, -30, -60)),
        branch(9, 7, (40, 10, -30), (55, 20, -35)),
        branch(10, 8, (20, -30, -60), (-5, -10, -75)),
        branch(11, 8, (20, -30, -60), (-5, -40, -60)),
    )
)


def test_segments_get_the_names_of_the_model() -> None:
    names = {index: segment.name for index, segment in coronary_segments(TREE, OSTIA).items()}
    assert names == {
        0: "5 left main",
        1: "6 proximal LAD",
        2: "11 proximal LCx",
        3: "7 mid LAD",
        4: "9 first diagonal",
        5: "13 distal LCx",
        6: "12 first obtuse marginal",
        7: "1 proximal RCA",
        8: "2 mid RCA",
        10: "4 posterior descending",
        11: "16 posterolateral",
    }


def test_far_or_equal_ostia_name_nothing() -> None:
    assert coronary_segments(TREE, Ostia((90.0, 0.0, 0.0), (90.0, 9.0, 0.0))) == {}
    assert coronary_segments(TREE, Ostia(LEFT, LEFT)) == {}
    assert coronary_segments(VesselTree(()), OSTIA) == {}


def test_a_vessel_that_is_seen_only_from_beyond_its_ostium_is_not_called_open_there() -> None:
    assert unseen_ostia(TREE, OSTIA) == ()
    late = Ostia((-3.0, 0.0, 0.0), (90.0, 0.0, 0.0))
    assert unseen_ostia(TREE, late) == (
        "the left coronary artery is seen from 7 mm on: before, it may be blocked",
        "no vessel begins within 10 mm of the right ostium: is it occluded?",
    )
