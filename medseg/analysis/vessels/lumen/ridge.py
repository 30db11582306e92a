"""The brightest smooth way through a stack of cross-sections: where a nearly closed lumen runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

JUMP_COST = 0.03
"""What a step to a neighbouring sample costs, in shares of vessel: noise alone is not worth a detour."""


def brightest_way(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Grid positions (n, 2) through sections (n, m, m) that begin and end in the middle and have the highest sum.

    From one section to the next the way moves by at most one sample along each axis (dynamic programming).
    """
    count, size, _ = score.shape
    middle = size // 2
    moves = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    costs = np.array([JUMP_COST * np.hypot(a, b) for a, b in moves])
    total = np.full((size, size), -np.inf)
    total[middle, middle] = score[0, middle, middle]
    came_by = np.zeros((count, size, size), dtype=np.int8)
    for at in range(1, count):
        padded = np.pad(total, 1, constant_values=-np.inf)
        options = np.stack([padded[1 - a : 1 - a + size, 1 - b : 1 - b + size] for a, b in moves])
        options -= costs[:, None, None]
        came_by[at] = np.argmax(options, axis=0)
        total = options.max(axis=0) + score[at]
    way = np.empty((count, 2), dtype=np.intp)
    place = (middle, middle)
    for at in range(count - 1, -1, -1):
        way[at] = place
        a, b = moves[int(came_by[at][place])]
        place = (int(np.clip(place[0] - a, 0, size - 1)), int(np.clip(place[1] - b, 0, size - 1)))
    return way
