"""The skeleton of a vessel mask as a graph of nodes and curves, in world mm.

A hard mask is good for topology only: which way the vessels run and where they meet. Calibres come from `lumen`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects, generate_binary_structure
from scipy.ndimage import label as connected_pieces
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.graph import route_through_array
from skimage.morphology import skeletonize

from medseg.core.geometry import Geometry

Points = NDArray[np.float64]

NEIGHBOUR_REACH = 1.8
"""Further than the corner of a voxel cube (1.73), nearer than two steps."""

MOST_STUMPS, STUMP_MM = 3, 2.0
"""How many eaten stumps are grown again, and how far beyond two widths from the skeleton one must reach."""


RING_MM, RING_RADII = 4.0, 4.0
"""A ring shorter than this, or than so many radii of its vessel, is a hole in the mask or a corner of the skeleton."""


@dataclass
class Edge:
    """A curve between two nodes: points (n, 3) in mm with the inscribed radius (n,) at each; both nodes' included.

    `is_gap` marks points where no vessel was seen and a bridge was laid.
    """

    start: int
    stop: int
    points_mm: Points
    radii_mm: NDArray[np.float64]
    is_gap: NDArray[np.bool_]

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1).sum())

    def reversed(self) -> Edge:
        return Edge(self.stop, self.start, self.points_mm[::-1], self.radii_mm[::-1], self.is_gap[::-1])


@dataclass
class VesselGraph:
    """Edges by number; a node is the number that edges share. An end has one edge, a fork three or more."""

    edges: dict[int, Edge] = field(default_factory=dict)
    _next_edge: int = 0
    _next_node: int = 0

    def new_node(self) -> int:
        self._next_node += 1
        return self._next_node - 1

    def add(self, edge: Edge) -> int:
        self.edges[self._next_edge] = edge
        self._next_edge += 1
        return self._next_edge - 1

    def at(self, node: int) -> list[int]:
        """The edges at a node; a loop counts twice."""
        return [number for number, edge in self.edges.items() for end in (edge.start, edge.stop) if end == node]

    def ends(self) -> list[tuple[int, int]]:
        """Every loose end as (edge, node)."""
        degree: dict[int, int] = {}
        for edge in self.edges.values():
            degree[edge.start] = degree.get(edge.start, 0) + 1
            degree[edge.stop] = degree.get(edge.stop, 0) + 1
        return [
            (number, node)
            for number, edge in self.edges.items()
            for node in (edge.start, edge.stop)
            if degree[node] == 1
        ]

    def join(self, node: int) -> None:
        """Make the two edges at a node one, where exactly two different edges meet there."""
        numbers = self.at(node)
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            return
        first, second = (self.edges.pop(number) for number in numbers)
        first = first if first.stop == node else first.reversed()
        second = second if second.start == node else second.reversed()
        self.add(
            Edge(
                first.start,
                second.stop,
                np.concatenate([first.points_mm, second.points_mm[1:]]),
                np.concatenate([first.radii_mm, second.radii_mm[1:]]),
                np.concatenate([first.is_gap, second.is_gap[1:]]),
            )
        )

    def remove(self, number: int) -> None:
        """Take an edge away and make one of the two that it leaves at each of its nodes."""
        edge = self.edges.pop(number)
        for node in {edge.start, edge.stop}:
            self.join(node)


def skeleton_graph(mask: NDArray[np.bool_], geometry: Geometry, least_mm3: float) -> VesselGraph:
    """The pruned skeleton of a mask (i, j, k); pieces smaller than `least_mm3` are specks and are left out.

    An empty mask gives an empty graph.
    """
    cleaned, start = _without_specks(mask, least_mm3 / (1000.0 * geometry.voxel_volume_ml))
    if cleaned is None:
        return VesselGraph()
    padded = np.pad(cleaned, 1)
    surface = np.argwhere(padded & ~binary_erosion(padded, generate_binary_structure(3, 1)))
    voxels = _with_lost_stumps(np.argwhere(skeletonize(padded)), surface, padded, geometry)
    if len(voxels) == 0:
        return VesselGraph()
    points = geometry.world(voxels + (start - 1))
    half_voxel_mm = 0.5 * float(np.mean(geometry.spacing_mm))
    radii = cKDTree(geometry.world(surface + (start - 1))).query(points)[0] + half_voxel_mm
    graph = _traced(voxels, points, radii)
    _drop_small_rings(graph)
    _prune(graph)
    _collapse_double_forks(graph)
    _drop_small_rings(graph)
    _prune(graph)
    return graph


def _with_lost_stumps(
    skeleton: NDArray[np.int64], surface: NDArray[np.int64], mask: NDArray[np.bool_], geometry: Geometry
) -> NDArray[np.int64]:
    """The skeleton's voxels (n, 3), and ways along the middle to parts of the mask that thinning has eaten.

    Thinning peels layers; a short thick stump, or a straight one that is an even number of voxels wide, may go whole.
    """
    steps = geometry.affine[:3, :3].T
    thinned = skeleton
    for _ in range(MOST_STUMPS + 1):
        if len(skeleton) == 0:
            return skeleton
        finder = cKDTree(skeleton @ steps)
        away, at = finder.query(surface @ steps)
        width = cKDTree(surface @ steps).query(skeleton @ steps)[0]
        lost = away - 2.0 * width[at] - STUMP_MM
        if lost.max() <= 0:
            return skeleton
        tip, root = surface[int(lost.argmax())], skeleton[at[int(lost.argmax())]]
        margin = int(np.ceil(2 * width.max() / min(geometry.spacing_mm))) + 2
        low = np.maximum(np.minimum(tip, root) - margin, 0)
        high = np.minimum(np.maximum(tip, root) + margin + 1, mask.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        depth = distance_transform_edt(mask[box], geometry.spacing_mm)
        cost = np.where(mask[box], 1.0 / (depth + 0.1) ** 2, 1e6)
        way, _ = route_through_array(cost, tip - low, root - low, fully_connected=True, geometric=True)
        skeleton = np.unique(np.concatenate([skeleton, np.asarray(way, dtype=np.int64) + low]), axis=0)
    return thinned  # so many lost parts are no stumps: this is a plate or a leak, and stays as it was thinned


def _without_specks(mask: NDArray[np.bool_], least_voxels: float) -> tuple[NDArray[np.bool_] | None, NDArray[np.int64]]:
    """The mask without its small pieces, cropped to what is left, and where the crop starts; None where it is empty."""
    boxes = find_objects(mask.astype(np.uint8))
    if not boxes or boxes[0] is None:
        return None, np.zeros(3, dtype=np.int64)
    box = boxes[0]
    pieces, count = connected_pieces(mask[box], generate_binary_structure(3, 3))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    keep = sizes >= least_voxels
    keep[0] = False
    if not keep.any():
        return None, np.zeros(3, dtype=np.int64)
    return keep[pieces], np.array([part.start for part in box], dtype=np.int64)


def _traced(voxels: NDArray[np.int64], points: Points, radii: NDArray[np.float64]) -> VesselGraph:
    """The graph of skeleton voxels: clusters of voxels with more than two neighbours become one node each."""
    count = len(voxels)
    pairs = cKDTree(voxels).query_pairs(NEIGHBOUR_REACH, output_type="ndarray")
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in pairs:
        neighbours[a].append(int(b))
        neighbours[b].append(int(a))
    degree = np.array([len(found) for found in neighbours])
    is_fork = degree >= 3
    fork_pairs = pairs[is_fork[pairs].all(axis=1)] if len(pairs) else np.empty((0, 2), dtype=int)
    links = coo_array((np.ones(len(fork_pairs)), (fork_pairs[:, 0], fork_pairs[:, 1])), shape=(count, count))
    _, cluster = connected_components(links, directed=False)
    graph = VesselGraph()
    node_of: dict[int, int] = {}
    middle: dict[int, int] = {}
    for name in np.unique(cluster[is_fork]):
        members = np.flatnonzero(is_fork & (cluster == name))
        node = graph.new_node()
        centre = points[members].mean(axis=0)
        middle[node] = int(members[np.argmin(np.linalg.norm(points[members] - centre, axis=1))])
        node_of.update(dict.fromkeys(members.tolist(), node))
    for end in np.flatnonzero(degree == 1):
        node = graph.new_node()
        middle[node] = int(end)
        node_of[int(end)] = node
    visited = np.zeros(count, dtype=bool)
    walks: list[list[int]] = []
    for voxel in list(node_of):
        for onward in neighbours[voxel]:
            if onward not in node_of and not visited[onward]:
                walks.append(_walk(voxel, onward, neighbours, node_of, visited))
            elif onward in node_of and node_of[onward] != node_of[voxel] and voxel < onward:
                walks.append([voxel, onward])
    for voxel in np.flatnonzero(~visited & (degree == 2)).tolist():  # what is left are closed rings without a fork
        if not visited[voxel]:
            node_of[voxel] = node = graph.new_node()
            middle[node] = voxel
            walks.append(_walk(voxel, neighbours[voxel][0], neighbours, node_of, visited))
    for walk in walks:
        start, stop = node_of[walk[0]], node_of[walk[-1]]
        chain = [middle[start], *walk[1:-1], middle[stop]]
        graph.add(Edge(start, stop, points[chain], radii[chain], np.zeros(len(chain), dtype=bool)))
    return graph


def _walk(
    start: int, onward: int, neighbours: list[list[int]], node_of: dict[int, int], visited: NDArray[np.bool_]
) -> list[int]:
    """The voxels from a node's voxel along a chain of single neighbours to the next node's voxel."""
    walk = [start]
    before, here = start, onward
    while here not in node_of:
        visited[here] = True
        walk.append(here)
        one, two = neighbours[here]
        before, here = here, two if one == before else one
    walk.append(here)
    return walk


def _drop_small_rings(graph: VesselGraph) -> None:
    """Remove edges that come back to their own node too soon to go around anything."""
    while True:
        small = [
            number
            for number, edge in graph.edges.items()
            if edge.start == edge.stop
            and edge.length_mm < max(RING_MM, RING_RADII * float(edge.radii_mm.max()))
            and len(graph.at(edge.start)) > 2
        ]
        if not small:
            return
        graph.remove(small[0])


def _prune(graph: VesselGraph) -> None:
    """Remove spurs, the shortest first: loose edges that hardly leave the vessel they stand on."""
    while True:
        spurs = []
        for number, node in graph.ends():
            edge = graph.edges[number]
            fork = edge.start if edge.stop == node else edge.stop
            if len(graph.at(fork)) < 3:
                continue
            at_fork = edge.radii_mm[0] if edge.start == fork else edge.radii_mm[-1]
            if edge.length_mm < 1.4 * at_fork + 1.0:
                spurs.append((edge.length_mm, number))
        if not spurs:
            return
        graph.remove(min(spurs)[1])


def _collapse_double_forks(graph: VesselGraph) -> None:
    """Make one fork of two that lie within one vessel radius of each other."""
    while True:
        short = [
            (edge.length_mm, number)
            for number, edge in graph.edges.items()
            if edge.start != edge.stop
            and edge.length_mm < 0.9 * float(max(edge.radii_mm[0], edge.radii_mm[-1]))
            and len(graph.at(edge.start)) > 2
            and len(graph.at(edge.stop)) > 2
        ]
        if not short:
            return
        edge = graph.edges.pop(min(short)[1])
        kept, gone = edge.start, edge.stop
        meeting = edge.points_mm[0]
        for number in set(graph.at(gone)):
            other = graph.edges[number]
            if other.start == gone:
                other.start = kept
                other.points_mm = np.concatenate([meeting[None], other.points_mm])
                other.radii_mm = np.concatenate([edge.radii_mm[:1], other.radii_mm])
                other.is_gap = np.concatenate([[False], other.is_gap])
            if other.stop == gone:
                other.stop = kept
                other.points_mm = np.concatenate([other.points_mm, meeting[None]])
                other.radii_mm = np.concatenate([other.radii_mm, edge.radii_mm[:1]])
                other.is_gap = np.concatenate([other.is_gap, [False]])
