"""Bridges over gaps: an occlusion splits the mask, and what is not bridged is never looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medseg.analysis.vessels.tree.skeleton import Edge, Points, VesselGraph

MOST_GAP_MM = 22.0
"""Longer gaps are not bridged: the way between the ends would be a guess."""

END_COSINE = 0.5
"""Both vessels must point at each other within 60 degrees."""

VEIN_END_COSINE = 0.2
"""Clots are long and veins bend: 78 degrees. What a clot leaves of the lumen's ring turns the end aside, too."""

BODY_COSINE = 0.6
BODY_GAP_MM, BODY_GAP_RADII, MOST_BODY_GAP_RADII = 20.0, 8.0, 12.0
"""How far the side of another vessel may be: 20 mm, or eight radii of a wide vessel; never over twelve."""

FORK_COSINE = 0.1
"""The ways of a fork leave it in the direction of its stem, or nearly across it."""

ROOT_SHARE = 0.8
"""A piece hangs from its widest end, or one at least this share as wide: a twig does not flow into a neighbour."""

DIRECTION_MM = 4.0
"""Over which length of a vessel's end its direction is taken."""

WIDTH_MM, WIDTH_PERCENTILE = 10.0, 80.0
"""Over which length its width is taken, and as which percentile of the radii there."""

STEP_MM = 0.5


@dataclass(frozen=True)
class End:
    """A loose end: where it is, where it points to, and how wide the vessel is there."""

    edge: int
    node: int
    point_mm: Points
    direction: Points
    radius_mm: float
    piece: int
    may_be_root: bool


def bridge_gaps(graph: VesselGraph, end_cosine: float = END_COSINE) -> int:
    """Lay bridges between loose ends that face each other, then from ends to the side of vessels of other pieces.

    Ends face each other where both point along the gap with at least this cosine. Changes the graph; gives the number
    of bridges.
    """
    laid = 0
    while (pair := _best_pair(loose_ends(graph), end_cosine)) is not None:
        one, two = pair
        bridge = _curve(one.point_mm, one.direction, two.point_mm, -two.direction)
        add_bridge(graph, one, two.node, bridge, two.radius_mm)
        graph.join(one.node)
        graph.join(two.node)
        laid += 1
    while (landing := _best_landing(graph, onto_fork=True) or _best_landing(graph, onto_fork=False)) is not None:
        end, number, at = landing
        node = split(graph, number, at)
        meeting = next(
            edge.points_mm[0] if edge.start == node else edge.points_mm[-1]
            for edge in graph.edges.values()
            if node in (edge.start, edge.stop)
        )
        gap = meeting - end.point_mm
        bridge = _curve(end.point_mm, end.direction, meeting, gap / np.linalg.norm(gap))
        add_bridge(graph, end, node, bridge, end.radius_mm)
        graph.join(end.node)
        laid += 1
    return laid


def loose_ends(graph: VesselGraph) -> list[End]:
    """The loose ends of the graph that are long enough to point somewhere."""
    pieces = pieces_of(graph)
    widest = _widest(graph, pieces)
    found = []
    for number, node in graph.ends():
        edge = graph.edges[number]
        outward = edge if edge.stop == node else edge.reversed()
        arc_back = np.cumsum(np.linalg.norm(np.diff(outward.points_mm[::-1], axis=0), axis=1))
        back = min(int(np.searchsorted(arc_back, DIRECTION_MM)) + 1, len(outward.points_mm) - 1)
        if back < 1:
            continue
        step = outward.points_mm[-1] - outward.points_mm[-1 - back]
        length = float(np.linalg.norm(step))
        if length > 0:
            width = float(_widths(outward)[-1])
            piece = pieces[number]
            may_be_root = width >= ROOT_SHARE * widest[piece]
            found.append(End(number, node, outward.points_mm[-1], step / length, width, piece, may_be_root))
    return found


def _widest(graph: VesselGraph, pieces: dict[int, int]) -> dict[int, float]:
    """The radius of each piece where it is widest: narrowings elsewhere make a piece no narrower."""
    widest: dict[int, float] = {}
    for number, edge in graph.edges.items():
        width = float(_widths(edge).max())
        widest[pieces[number]] = max(width, widest.get(pieces[number], 0.0))
    return widest


def _widths(edge: Edge) -> NDArray[np.float64]:
    """The radius (n,) of an edge's vessel at each point, over a length that ends there.

    A vessel that ends in a lesion tapers off: its width is what it was before.
    """
    step_mm = edge.length_mm / max(len(edge.points_mm) - 1, 1)
    count = min(round(WIDTH_MM / max(step_mm, 1e-6)) + 2, len(edge.radii_mm))
    stretches = np.lib.stride_tricks.sliding_window_view(edge.radii_mm, count)
    return np.asarray(np.percentile(stretches, WIDTH_PERCENTILE, axis=1))


def pieces_of(graph: VesselGraph) -> dict[int, int]:
    """Which connected piece each edge belongs to."""
    if not graph.edges:
        return {}
    starts = [edge.start for edge in graph.edges.values()]
    stops = [edge.stop for edge in graph.edges.values()]
    size = max(*starts, *stops) + 1
    links = coo_array((np.ones(len(starts)), (starts, stops)), shape=(size, size))
    _, piece = connected_components(links, directed=False)
    return {number: int(piece[edge.start]) for number, edge in graph.edges.items()}


def _best_pair(ends: list[End], end_cosine: float) -> tuple[End, End] | None:
    """The cheapest pair of ends that face each other; short, straight, of like width."""
    best: tuple[float, End, End] | None = None
    for at, one in enumerate(ends):
        for two in ends[at + 1 :]:
            if one.edge == two.edge or not (one.may_be_root or two.may_be_root or one.piece == two.piece):
                continue
            gap = two.point_mm - one.point_mm
            length = float(np.linalg.norm(gap))
            most = min(MOST_GAP_MM, 10.0 * max(one.radius_mm, two.radius_mm))
            if not 0 < length <= most or not 0.4 <= one.radius_mm / two.radius_mm <= 2.5:
                continue
            ahead = float(one.direction @ gap) / length
            back = -float(two.direction @ gap) / length
            if min(ahead, back) < end_cosine or (one.piece == two.piece and min(ahead, back) < 0.8):
                continue
            cost = length * (3.0 - ahead - back)
            if best is None or cost < best[0]:
                best = (cost, one, two)
    return best[1:] if best else None


def _best_landing(graph: VesselGraph, *, onto_fork: bool) -> tuple[End, int, int] | None:
    """The cheapest way from a loose end to the side of a vessel of another piece: (end, edge, point on it).

    Either the end is the root of its piece and hangs from that vessel, or, `onto_fork`, the vessel is the first fork of
    a piece that hangs from the end: as wide there as anywhere, with both its ways leading onward.
    """
    best: tuple[float, End, int, int] | None = None
    pieces = pieces_of(graph)
    widest = _widest(graph, pieces)
    for end in loose_ends(graph):
        if not (onto_fork or end.may_be_root):
            continue
        most = min(max(BODY_GAP_MM, BODY_GAP_RADII * end.radius_mm), MOST_BODY_GAP_RADII * end.radius_mm)
        for number, edge in graph.edges.items():
            if pieces[number] == end.piece:
                continue
            gaps = edge.points_mm - end.point_mm
            lengths = np.linalg.norm(gaps, axis=1)
            cosines = gaps @ end.direction / np.maximum(lengths, 1e-9)
            fits = (lengths - edge.radii_mm <= most) & (cosines >= BODY_COSINE)
            fits &= edge.radii_mm >= (ROOT_SHARE * widest[pieces[number]] if onto_fork else 0.4 * end.radius_mm)
            if onto_fork:
                fits &= _leads_onward(edge, gaps / np.maximum(lengths, 1e-9)[:, None])
            if not fits.any():
                continue
            costs = np.where(fits, lengths * (2.0 - cosines), np.inf)
            at = int(np.argmin(costs))
            if best is None or costs[at] < best[0]:
                best = (float(costs[at]), end, number, at)
    return best[1:] if best else None


def _leads_onward(edge: Edge, coming: Points) -> NDArray[np.bool_]:
    """Where along an edge (n,) both its ways go on in the direction (n, 3) that one comes from: the stem of a Y."""
    step_mm = edge.length_mm / max(len(edge.points_mm) - 1, 1)
    reach = max(1, round(DIRECTION_MM / max(step_mm, 1e-6)))
    at = np.arange(len(edge.points_mm))
    onward = np.ones(len(at), dtype=bool)
    for away in (np.minimum(at + reach, len(at) - 1), np.maximum(at - reach, 0)):
        way = edge.points_mm[away] - edge.points_mm
        length = np.linalg.norm(way, axis=1)
        onward &= (way * coming).sum(axis=1) >= FORK_COSINE * np.maximum(length, step_mm)
    return np.asarray(onward)


def split(graph: VesselGraph, number: int, at: int) -> int:
    """Make a node at a point of an edge; gives the node, which is an old one where the point is an edge's end."""
    edge = graph.edges[number]
    if at == 0:
        return edge.start
    if at == len(edge.points_mm) - 1:
        return edge.stop
    del graph.edges[number]
    node = graph.new_node()
    head, tail = slice(0, at + 1), slice(at, None)
    graph.add(Edge(edge.start, node, edge.points_mm[head], edge.radii_mm[head], edge.is_gap[head]))
    graph.add(Edge(node, edge.stop, edge.points_mm[tail], edge.radii_mm[tail], edge.is_gap[tail]))
    return node


def add_bridge(graph: VesselGraph, end: End, node: int, points: Points, far_radius_mm: float) -> None:
    """Add an edge along points (n, 3) in mm from a loose end to a node, whose vessel has a radius there."""
    radii = np.linspace(end.radius_mm, far_radius_mm, len(points))
    is_gap = np.ones(len(points), dtype=bool)
    is_gap[[0, -1]] = False
    graph.add(Edge(end.node, node, points, radii, is_gap))


def _curve(start: Points, leaving: Points, stop: Points, arriving: Points) -> Points:
    """A smooth curve (n, 3) from a point to a point with these directions at its ends (cubic Hermite)."""
    length = float(np.linalg.norm(stop - start))
    t = np.linspace(0.0, 1.0, max(3, round(length / STEP_MM) + 1))[:, None]
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * length * leaving
        + (3 * t**2 - 2 * t**3) * stop
        + (t**3 - t**2) * length * arriving
    )
