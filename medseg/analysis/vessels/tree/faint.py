"""Ways on from loose ends where a soft map still shows a little: a tight lumen is too faint for the mask, not gone.

What is seen is better than what is guessed, so these ways are laid before the bridges over gaps in which nothing shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from medseg.analysis.vessels.tree.branches import arc_of, smoothed
from medseg.analysis.vessels.tree.bridging import End, add_bridge, loose_ends, pieces_of, split
from medseg.analysis.vessels.tree.skeleton import Points, VesselGraph
from medseg.core.geometry import Geometry

FAINT = 0.08
"""The least share of vessel that leads on; a lumen of half a millimetre under a clinical blur shows twice as much."""

MOST_WAY_MM = 20.0
LEAST_WAY_MM = 3.0
"""Shorter ways outside the mask lead from a vessel's rim to its neighbour's."""

TURN_COSINE = 0.6
"""From one step to the next the way turns by less than 53 degrees."""

RAGGED_MM = 1.0
"""A mask's own end is ragged over this length."""

HEADING = 0.6
"""How much of its old direction the way keeps at each step."""

STRAIGHT = 0.03
"""What going straight on is worth, in shares of vessel."""

LANDING_MM = 6.0
"""How far from where the way meets a mask its centreline may begin: thinning eats tapered ends."""

SPUR_MM = 3.0
"""A way that meets a vessel this close to its loose end meets the end."""

REACHES = (0.5, 1.0, 1.5)
"""How far ahead the map is looked at, in steps."""

DIRECTIONS = 200


def follow_ends(graph: VesselGraph, soft: NDArray[np.float32], mask: NDArray[np.bool_], geometry: Geometry) -> int:
    """Join loose ends to other pieces along what a soft map (i, j, k) faintly shows outside its mask.

    Changes the graph; gives the number of ways found.
    """
    laid = 0
    tried: set[int] = set()
    while (end := next((end for end in loose_ends(graph) if end.node not in tried), None)) is not None:
        tried.add(end.node)
        way = _faint_way(end, soft, mask, geometry)
        if way is not None and _joined(graph, end, way):
            laid += 1
    return laid


def _faint_way(end: End, soft: NDArray[np.float32], mask: NDArray[np.bool_], geometry: Geometry) -> Points | None:
    """The points (n, 3) in mm from a loose end to where the mask begins again; None where the map leads nowhere."""
    step_mm = min(geometry.spacing_mm)
    here, heading = end.point_mm, end.direction
    way, outside_mm = [here], 0.0
    for _ in range(round(MOST_WAY_MM / step_mm)):
        ahead = _DIRECTIONS[_DIRECTIONS @ heading >= TURN_COSINE]
        share = np.mean([_value(soft, geometry, here + reach * step_mm * ahead) for reach in REACHES], axis=0)
        best = int(np.argmax(share + STRAIGHT * (ahead @ heading)))
        if share[best] < FAINT:
            return None
        here = here + step_mm * ahead[best]
        heading = HEADING * heading + (1 - HEADING) * ahead[best]
        heading /= np.linalg.norm(heading)
        way.append(here)
        if not _is_in(mask, geometry, here):
            outside_mm += step_mm
        elif outside_mm >= LEAST_WAY_MM:
            return np.array(way)
        elif outside_mm > RAGGED_MM:
            return None
        else:
            outside_mm = 0.0
    return None


def _joined(graph: VesselGraph, end: End, way: Points) -> bool:
    """Join an end to the vessel of another piece that its way has met; False where there is none."""
    pieces = pieces_of(graph)
    others = [number for number in graph.edges if pieces[number] != end.piece]
    if not others:
        return False
    numbers = np.concatenate([np.full(len(graph.edges[number].points_mm), number) for number in others])
    places = np.concatenate([np.arange(len(graph.edges[number].points_mm)) for number in others])
    distance, nearest = cKDTree(np.concatenate([graph.edges[number].points_mm for number in others])).query(way[-1])
    number, at = int(numbers[nearest]), int(places[nearest])
    edge = graph.edges[number]
    at = _end_near(graph, number, at)
    if distance > LANDING_MM:
        return False
    meeting = edge.points_mm[at]
    node = split(graph, number, at)
    step_mm = float(np.linalg.norm(way[1] - way[0]))
    add_bridge(graph, end, node, smoothed(np.concatenate([way, meeting[None]]), step_mm), float(edge.radii_mm[at]))
    graph.join(end.node)
    graph.join(node)
    return True


def _end_near(graph: VesselGraph, number: int, at: int) -> int:
    """The point of an edge's loose end where a point lies that close to it that a spur would stay, else the point."""
    edge = graph.edges[number]
    arc = arc_of(edge.points_mm)
    for node, point in ((edge.start, 0), (edge.stop, len(arc) - 1)):
        if abs(arc[point] - arc[at]) < SPUR_MM and len(graph.at(node)) == 1:
            return point
    return at


def _value(soft: NDArray[np.float32], geometry: Geometry, where_mm: Points) -> NDArray[np.float64]:
    index = geometry.index(where_mm).T
    return np.asarray(map_coordinates(soft, index, order=1, mode="nearest", output=np.float64))


def _is_in(mask: NDArray[np.bool_], geometry: Geometry, place_mm: Points) -> bool:
    voxel = np.round(geometry.index(place_mm[None])[0]).astype(int)
    return bool((voxel >= 0).all() and (voxel < mask.shape).all() and mask[tuple(voxel)])


def _even_directions(count: int) -> Points:
    """Unit vectors (n, 3) spread evenly over the sphere (Fibonacci's spiral)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)


_DIRECTIONS = _even_directions(DIRECTIONS)
