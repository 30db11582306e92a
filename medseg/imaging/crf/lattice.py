"""Gaussian sums over points in a space of many dimensions, in time linear in their number.

The permutohedral lattice (Adams, Baek & Davis, Computer Graphics Forum 2010) tiles d dimensions with simplices. A
point's value is shared out over the d + 1 corners of its simplex, the lattice is blurred along its d + 1 directions
with weights 1/4, 1/2, 1/4, and the point collects what its corners then hold: on the whole a Gaussian of width 1. Only
corners near a point exist, so memory grows with the points and not with the volume of the space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medseg.core.errors import PlanError


class PermutohedralLattice:
    """The kernel exp(-|f_i - f_j|² / 2) between points with features f (point, dimension), as a linear map.

    Raises PlanError where the features span more of the space than 64-bit corner numbers can name.
    """

    def __init__(self, features: Tensor) -> None:
        count, dimensions = features.shape
        self._corners = dimensions + 1
        remainders, ranks, self._weights = _enclosing_simplices(features)
        keys, strides = _corner_keys(remainders, ranks, count)
        names, numbers = torch.unique(keys.reshape(-1), return_inverse=True)
        self._numbers = numbers.reshape(self._corners, count).to(torch.int32)
        self._count = len(names)
        self._neighbours = _neighbours(names, strides)
        # A blurred, shared-out point holds a density: times the volume of a lattice cell it is a sum over points, and
        # times (2 pi)^(d/2) the kernel is 1 where two points meet.
        self._scale = (4 * math.pi / 3) ** (dimensions / 2) * math.sqrt(dimensions + 1)

    @property
    def corner_count(self) -> int:
        """How many corners the points occupy."""
        return self._count

    def sums(self, values: Tensor) -> Tensor:
        """For each point the sum of all values (channel, point), each times the kernel; its own among them."""
        # One row more for the corners that do not exist: it stays 0.
        held: Tensor = values.new_zeros((self._count + 1, len(values)))
        rows = values.t()
        for number, weight in zip(self._numbers, self._weights, strict=True):
            held = held.index_add(0, number, rows * weight[:, None])
        for below, above in self._neighbours:
            blurred = held[:-1] * 0.5 + (held[below] + held[above]) * 0.25
            held = torch.cat((blurred, held[-1:]))
        total: Tensor = torch.zeros_like(rows)
        for number, weight in zip(self._numbers, self._weights, strict=True):
            total = total + held[number] * weight[:, None]
        return total.t().mul(self._scale)

    def own_share(self) -> Tensor:
        """The weight (point,) with which a point enters its own sum: about 1, as the lattice rounds the peak off.

        Two corners of a simplex that are c steps apart reach each other by c steps along different directions or by
        the d + 1 - c others backwards, since all directions together lead back to where they began.
        """
        n = self._corners
        share: Tensor = torch.zeros_like(self._weights[0])
        for apart in range(n):
            blur = 0.25**apart * 0.5 ** (n - apart) + 0.25 ** (n - apart) * 0.5**apart
            if apart == 0:
                blur += 0.25**n
            share = share + blur * (self._weights * self._weights.roll(-apart, dims=0)).sum(dim=0)
        return share.mul(self._scale)


def _enclosing_simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest lattice point of remainder 0 (d + 1, point), ranks of the coordinates, and weights of the corners."""
    dimensions = features.shape[1]
    n = dimensions + 1
    elevated = _elevation(dimensions).to(features) @ features.t()
    nearest = (elevated / n).round()
    off = elevated - nearest * n
    ranks = off.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    # The rounded point may lie off the plane on which coordinates sum to 0; ranks tell which to move back.
    ranks = ranks + nearest.sum(dim=0).long()
    nearest = nearest + (ranks < 0).to(nearest) - (ranks > dimensions).to(nearest)
    ranks = ranks % n
    off = (elevated - nearest * n) / n
    in_order = torch.empty_like(off).scatter_(0, ranks, off)  # from the largest coordinate to the smallest
    weights = torch.empty_like(off)
    weights[0] = 1 + in_order[-1] - in_order[0]
    for corner in range(1, n):
        weights[corner] = in_order[n - 1 - corner] - in_order[n - corner]
    return (nearest * n).long(), ranks, weights


def _elevation(dimensions: int) -> Tensor:
    """The map (d + 1, d) onto the plane of coordinates that sum to 0, scaled so that the blur has width 1."""
    matrix = torch.zeros(dimensions + 1, dimensions, dtype=torch.float64)
    for column in range(dimensions):
        matrix[: column + 1, column] = 1.0
        matrix[column + 1, column] = -(column + 1.0)
        matrix[:, column] /= math.sqrt((column + 1) * (column + 2))
    return matrix * (dimensions + 1) * math.sqrt(2 / 3)


def _corner_keys(remainders: Tensor, ranks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """One number for each corner of each point's simplex (d + 1, point), and what a step along each axis adds to it."""
    n = len(remainders)
    low = remainders[:-1].amin(dim=1) - 2 * n  # room for a neighbour of a corner without running into the next row
    spans = remainders[:-1].amax(dim=1) + 2 * n - low + 1
    if math.prod(int(span) for span in spans) >= 2**62:
        raise PlanError(
            "the random field's features span too many of their own widths: with "
            f"{n - 1} features the lattice would need {math.prod(int(s) for s in spans):.2g} places. "
            "Raise position_sd_mm or intensity_sd, or clip the image's intensities."
        )
    strides = torch.ones(n - 1, dtype=torch.int64, device=remainders.device)
    for axis in range(1, n - 1):
        strides[axis] = strides[axis - 1] * spans[axis - 1]
    keys = torch.empty((n, count), dtype=torch.int64, device=remainders.device)
    base = ((remainders[:-1] - low[:, None]) * strides[:, None]).sum(dim=0)
    for corner in range(n):
        moved = corner - n * (ranks[:-1] > n - 1 - corner).long()
        keys[corner] = base + (moved * strides[:, None]).sum(dim=0)
    return keys, strides


def _neighbours(names: Tensor, strides: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each direction the numbers of the corners one step back and one ahead; the number of corners where none."""
    n = len(strides) + 1
    result = []
    for direction in range(n):
        step = int(strides.sum()) - (n * int(strides[direction]) if direction < n - 1 else 0)
        result.append((_numbers_of(names, names - step), _numbers_of(names, names + step)))
    return result


def _numbers_of(names: Tensor, wanted: Tensor) -> Tensor:
    place = torch.searchsorted(names, wanted).clamp_max(len(names) - 1)
    return torch.where(names[place] == wanted, place, len(names)).to(torch.int32)
