"""VesselTree: smooth branches from fork to fork, each with its parent, in world mm."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medseg.analysis.vessels.tree.skeleton import Edge, Points, VesselGraph

SMOOTHING_MM = 1.2
"""Standard deviation of the smoothing along a centreline: a skeleton steps from voxel to voxel."""


@dataclass(frozen=True)
class VesselBranch:
    """A branch from node to node: points (n, 3) in mm at even steps, away from the root.

    `inscribed_mm` is the radius of the largest ball in the mask at each point: a rough width, not the calibre.
    `is_gap` marks where no vessel was seen. `parent` is the index of the branch before, None for a root;
    `generation` counts from 0.
    """

    index: int
    parent: int | None
    generation: int
    start_node: int
    stop_node: int
    points_mm: Points
    inscribed_mm: NDArray[np.float64]
    is_gap: NDArray[np.bool_]

    @property
    def arc_mm(self) -> NDArray[np.float64]:
        """Way along the branch (n,) from its start."""
        return arc_of(self.points_mm)

    @property
    def length_mm(self) -> float:
        return float(self.arc_mm[-1])

    @property
    def tortuosity(self) -> float:
        """Length over the straight distance between the ends, 1 for a straight branch; infinite for a ring."""
        chord = float(np.linalg.norm(self.points_mm[-1] - self.points_mm[0]))
        return self.length_mm / chord if chord > 1e-6 else float("inf")

    def tangents(self, window_mm: float = 2.0) -> Points:
        """Unit directions (n, 3), each taken over `window_mm` to both sides."""
        arc = self.arc_mm
        ahead = _interpolated(self.points_mm, arc, np.minimum(arc + window_mm, arc[-1]))
        behind = _interpolated(self.points_mm, arc, np.maximum(arc - window_mm, 0.0))
        steps = ahead - behind
        return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9))


@dataclass(frozen=True)
class VesselTree:
    """The branches of a scan's vessels, parents before children; there may be several roots."""

    branches: tuple[VesselBranch, ...]

    def children(self, index: int) -> tuple[int, ...]:
        """The branches that leave a branch's end."""
        return tuple(branch.index for branch in self.branches if branch.parent == index)

    def is_loose(self, node: int) -> bool:
        """Whether only one branch touches a node: the vessel ends there."""
        return sum((branch.start_node == node) + (branch.stop_node == node) for branch in self.branches) == 1

    @property
    def length_mm(self) -> float:
        return sum(branch.length_mm for branch in self.branches)


def tree_of(graph: VesselGraph, step_mm: float) -> VesselTree:
    """The tree of a graph: each piece is walked from its widest loose end (or, a ring, from anywhere).

    A ring's last branch hangs, like all others, from the branch that reached it first.
    """
    branches: list[VesselBranch] = []
    waiting = dict(graph.edges)
    while waiting:
        root = _widest_end(graph, waiting)
        front: deque[tuple[int, int | None, int]] = deque([(root, None, 0)])
        while front:
            node, parent, generation = front.popleft()
            for number in dict.fromkeys(graph.at(node)):
                edge = waiting.pop(number, None)
                if edge is None:
                    continue
                onward = edge if edge.start == node else edge.reversed()
                branches.append(_branch(onward, len(branches), parent, generation, step_mm))
                front.append((onward.stop, len(branches) - 1, generation + 1))
    return VesselTree(tuple(branches))


def arc_of(points_mm: Points) -> NDArray[np.float64]:
    """Way along a polyline (n,) from its first point, in mm."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])


def smoothed(points_mm: Points, step_mm: float, sigma_mm: float = SMOOTHING_MM) -> Points:
    """A polyline (n, 3) at even steps, smoothed along its way with both ends held."""
    even = _even(points_mm, step_mm)
    sigma = sigma_mm / step_mm
    # reflected about its ends, a curve keeps them and its direction there
    reach = min(len(even) - 1, int(4 * sigma) + 1)
    head = 2 * even[0] - even[reach:0:-1]
    tail = 2 * even[-1] - even[-2 : -reach - 2 : -1]
    smooth = gaussian_filter1d(np.concatenate([head, even, tail]), sigma, axis=0, mode="nearest")
    return _even(smooth[reach : reach + len(even)], step_mm)


def _widest_end(graph: VesselGraph, waiting: dict[int, Edge]) -> int:
    best: tuple[float, int] | None = None
    for number, node in graph.ends():
        if number in waiting:
            radii = waiting[number].radii_mm
            width = float(np.median(radii))
            if best is None or width > best[0]:
                best = (width, node)
    return best[1] if best else next(iter(waiting.values())).start


def _branch(edge: Edge, index: int, parent: int | None, generation: int, step_mm: float) -> VesselBranch:
    points = smoothed(edge.points_mm, step_mm)
    share = np.linspace(0.0, 1.0, len(points))
    old = arc_of(edge.points_mm)
    place = share * old[-1]
    radii = np.interp(place, old, edge.radii_mm)
    is_gap = np.interp(place, old, edge.is_gap.astype(float)) > 0.5
    return VesselBranch(index, parent, generation, edge.start, edge.stop, points, radii, is_gap)


def _even(points_mm: Points, step_mm: float) -> Points:
    arc = arc_of(points_mm)
    count = max(4, round(float(arc[-1]) / step_mm) + 1)
    return _interpolated(points_mm, arc, np.linspace(0.0, float(arc[-1]), count))


def _interpolated(points_mm: Points, arc_mm: NDArray[np.float64], at_mm: NDArray[np.float64]) -> Points:
    return np.stack([np.interp(at_mm, arc_mm, points_mm[:, axis]) for axis in range(3)], axis=1)
