"""outlines: closed polygons around the regions of a flat mask, along the edges of its pixels, holes and all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vertex = tuple[int, int]
_Loop = list[Vertex]

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Right, down, left, up, as (x, y) with y down; each is a turn to the right of the one before."""


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """One closed polygon (n, 2) of points (i, j) for each region of a mask (rows j, columns i); none where it is empty.

    Pixel centres have whole numbers, so the points lie at halves: a polygon holds exactly the area of its pixels, and
    no centre lies on its edge. Pixels that touch at a corner only are regions of their own. A hole is joined to its
    outline by a channel without width (the keyhole of PS3.3 C.8.8.6.3), so that a polygon says its region alone.
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _doubled_area(loop) > 0]
    holes = sorted((loop for loop in loops if _doubled_area(loop) < 0), key=min)
    owner = {vertex: number for number, loop in enumerate(outer) for vertex in loop}
    for hole in holes:
        start = min(hole)  # its leftmost corner, of those the uppermost: left of it lies the region
        x, y = start
        while (x, y) not in owner or (x, y) == start:
            x -= 1
        number = owner[(x, y)]
        outer[number] = _joined(outer[number], (x, y), hole, start)
        owner.update((vertex, number) for vertex in hole if vertex not in owner)
    return [np.array(_corners(loop), dtype=np.float64) - 0.5 for loop in outer]


def _loops(mask: NDArray[np.bool_]) -> list[_Loop]:
    """Closed walks along pixel edges with the mask on the right hand, one lattice point a step.

    Outlines come out with positive area, holes with negative.
    """
    framed = np.pad(mask, 1)
    leaving: dict[Vertex, list[int]] = {}
    # a pixel's upper edge is walked to the right, its right edge down, its lower edge to the left, its left edge up
    for direction, (row, column, x, y) in enumerate(((-1, 0, 0, 0), (0, 1, 1, 0), (1, 0, 1, 1), (0, -1, 0, 1))):
        neighbour = np.roll(framed, (-row, -column), axis=(0, 1))
        for j, i in np.argwhere(framed & ~neighbour) - 1:
            leaving.setdefault((int(i) + x, int(j) + y), []).append(direction)
    loops = []
    while leaving:
        start = next(iter(leaving))
        loop, vertex, direction = [], start, leaving[start][0]
        while True:
            choices = leaving[vertex]
            # where two pixels touch at a corner, the turn to the right stays with the pixel
            turn = next(d for d in ((direction + 1) % 4, direction, (direction - 1) % 4) if d in choices)
            choices.remove(turn)
            if not choices:
                del leaving[vertex]
            loop.append(vertex)
            vertex, direction = (vertex[0] + _STEPS[turn][0], vertex[1] + _STEPS[turn][1]), turn
            if vertex == start and (direction + 1) % 4 not in leaving.get(start, []):
                break
        loops.append(loop)
    return loops


def _doubled_area(loop: _Loop) -> int:
    following = [*loop[1:], loop[0]]
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, following, strict=True))


def _joined(outer: _Loop, bridge: Vertex, hole: _Loop, start: Vertex) -> _Loop:
    """The outline with a detour at `bridge`: to `start` of the hole, around it, and back."""
    at, first = outer.index(bridge), hole.index(start)
    return [*outer[: at + 1], *hole[first:], *hole[:first], start, *outer[at:]]


def _corners(loop: _Loop) -> _Loop:
    """The points at which the walk turns."""
    kept = []
    for before, vertex, after in zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True):
        if _heading(before, vertex) != _heading(vertex, after):
            kept.append(vertex)
    return kept


def _heading(start: Vertex, stop: Vertex) -> Vertex:
    return int(np.sign(stop[0] - start[0])), int(np.sign(stop[1] - start[1]))
