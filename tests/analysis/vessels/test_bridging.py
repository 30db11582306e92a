"""Which gaps are bridged: stumps that face each other or a fork, not the tips of twigs that point at a neighbour."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.analysis.vessels.tree.bridging import bridge_gaps
from medseg.analysis.vessels.tree.skeleton import Edge, VesselGraph

Place = tuple[float, float, float]


def line(graph: VesselGraph, nodes: tuple[int, int], start: Place, stop: Place, radius_mm: float) -> None:
    count = max(4, round(float(np.linalg.norm(np.subtract(stop, start))) / 0.5))
    points = np.linspace(start, stop, count)
    graph.add(Edge(*nodes, points, np.full(count, radius_mm), np.zeros(count, dtype=bool)))


def graph_of(*lines: tuple[int, int, Place, Place, float]) -> VesselGraph:
    graph = VesselGraph()
    for _ in range(8):
        graph.new_node()
    for start, stop, first, last, radius in lines:
        line(graph, (start, stop), first, last, radius)
    return graph


def test_stumps_that_face_each_other_are_joined() -> None:
    graph = graph_of((0, 1, (0, 0, -20), (0, 0, 0), 1.5), (2, 3, (0, 0, 8), (0, 0, 30), 1.4))
    assert bridge_gaps(graph) == 1
    (edge,) = graph.edges.values()
    assert edge.is_gap.sum() * 0.5 == pytest.approx(8, abs=1.5)


def test_a_stump_is_joined_to_the_fork_that_it_faces() -> None:
    graph = graph_of((0, 1, (0, 0, -20), (0, 0, 0), 1.6), (2, 3, (-12, 0, 25), (0, 0, 10), 1.3))
    line(graph, (3, 4), (0, 0, 10), (12, 0, 25), 1.3)
    graph.join(3)
    assert bridge_gaps(graph) == 1
    assert sorted(len(graph.at(node)) for edge in graph.edges.values() for node in (edge.start, edge.stop))[-1] == 3


def test_a_twig_is_not_joined_to_a_trunk_that_it_points_at() -> None:
    """A tree with its own root, whose thin tip points across 6 mm at another tree's trunk."""
    graph = graph_of(
        (0, 1, (-30, 0, -20), (-30, 0, 0), 2.0),
        (1, 2, (-30, 0, 0), (-8, 0, 0), 1.0),
        (1, 3, (-30, 0, 0), (-30, 0, 20), 1.6),
        (4, 5, (0, 0, -20), (0, 0, 20), 2.0),
    )
    assert bridge_gaps(graph) == 0


def test_a_side_branch_cut_off_at_its_root_hangs_from_the_trunk() -> None:
    graph = graph_of((0, 1, (0, 0, -20), (0, 0, 20), 2.0), (2, 3, (8, 0, 2), (30, 0, 6), 1.2))
    assert bridge_gaps(graph) == 1


def test_a_narrowing_makes_no_root_of_an_end() -> None:
    """Two vessels that taper off towards each other: each is wider elsewhere, however much of it is narrowed."""
    graph = VesselGraph()
    for start, stop, away in ((0, 1, -1.0), (2, 3, 1.0)):
        far = np.linspace(0.0, 60.0, 121)
        radii = np.select([far < 12, far < 24], [1.5, 2.4], 1.2)
        points = np.stack([np.zeros(121), np.zeros(121), away * (5.0 + far)], axis=1)
        graph.add(Edge(start, stop, points, radii, np.zeros(121, dtype=bool)))
    assert bridge_gaps(graph) == 0
