"""Split and merge: an image cut into regions of like grey level (Horowitz & Pavlidis, J. ACM 1976), in 3-D.

Split: from the whole image down, a block whose grey levels vary too much is cut along the axes in which it is long, so
that blocks stay near cubes in mm whatever the spacing. Merge: of the regions that touch, each joins the one whose mean
grey level is nearest to its own, where that is the larger of the two and the means differ by no more than a limit,
round after round until none does. What is left too small joins its most alike neighbour. Rounds, not a queue: they are
array operations, and a result does not depend on the order in which voxels are stored but for exact ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse
from scipy.sparse import csgraph

from medseg.core.errors import InputError
from medseg.core.geometry import Shape, Spacing

NORMAL_SD_OF_MAD = 1.4826
"""Standard deviation of normal noise in units of its median absolute value."""

_SCATTER = np.uint64(0x9E3779B97F4A7C15)
"""An odd constant that scatters edge numbers: it decides between equal differences."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class SplitAndMerge(BaseModel):
    """How alike grey levels must be, in multiples of the image's noise, and how small a region may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split_sd: Annotated[float, Field(gt=0)] = 1.5
    """A block whose grey levels have a larger standard deviation than this times the noise is split."""

    merge_difference: Annotated[float, Field(ge=0)] = 2.0
    """Regions merge while their means differ by at most this times the noise."""

    min_voxels: Annotated[int, Field(ge=1)] = 8
    noise_sd: Annotated[float, Field(gt=0)] | None = None
    """Noise in the unit of the image; None has it estimated from the differences of neighbouring voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Which region each voxel (i, j, k) belongs to, numbered from 0 in order of first voxel; their means and sizes."""

    numbers: NDArray[np.int32]
    means: Floats
    voxel_counts: Ints
    block_count: int
    """How many blocks the split left to merge."""


@dataclass(slots=True, eq=False)
class _Graph:
    """Regions while they merge: `of_block` says which region each block is in, edges (2, n) which regions touch."""

    of_block: Ints
    means: Floats
    counts: Ints
    edges: Ints


def split_and_merge(image: NDArray[np.float32], spacing_mm: Spacing, settings: SplitAndMerge) -> Regions:
    """The regions of a grey-level image (i, j, k). Raises InputError where it is empty or holds what is no number."""
    if image.ndim != 3 or image.size == 0 or not np.isfinite(image).all():
        raise InputError(
            f"split and merge takes a 3-D image of finite numbers; got shape {image.shape} with "
            f"{int(np.count_nonzero(~np.isfinite(image)))} values that are none"
        )
    noise_sd = settings.noise_sd or estimate_noise_sd(image)
    blocks = split(image, spacing_mm, settings.split_sd * noise_sd)
    counts = np.bincount(blocks.ravel())
    means = np.bincount(blocks.ravel(), weights=image.ravel()) / counts
    graph = _Graph(np.arange(len(counts)), means, counts, _touching(blocks))
    limit = settings.merge_difference * noise_sd
    while (pairs := _joining_pairs(graph, limit)).size:
        _merge(graph, pairs)
    while (pairs := _small_and_neighbour(graph, settings.min_voxels)).size:
        _merge(graph, pairs)
    # Numbers follow the first voxel, which a block's number does not.
    found = graph.of_block[blocks]
    _, first = np.unique(found, return_index=True)
    rank = np.empty(len(first), dtype=np.int32)
    order = np.argsort(first)
    rank[order] = np.arange(len(first), dtype=np.int32)
    return Regions(rank[found], graph.means[order], graph.counts[order], len(counts))


def estimate_noise_sd(image: NDArray[np.float32]) -> float:
    """The noise's standard deviation, from the median difference of face neighbours: edges are too few to move it."""
    differences = [np.abs(np.diff(image, axis=axis)).ravel() for axis in range(3)]
    together = np.concatenate(differences)
    return float(np.median(together)) * NORMAL_SD_OF_MAD / np.sqrt(2) if together.size else 0.0


def block_sides(shape: Shape, spacing_mm: Spacing) -> list[Shape]:
    """The sides of blocks in voxels, from one voxel to all: at each level twice as long along the axes still short."""
    sides = [(1, 1, 1)]
    while any(side < n for side, n in zip(sides[-1], shape, strict=True)):
        shortest_mm = min(s * mm for s, mm, n in zip(sides[-1], spacing_mm, shape, strict=True) if s < n)
        i, j, k = (
            s * 2 if s < n and s * mm < 1.5 * shortest_mm else s
            for s, mm, n in zip(sides[-1], spacing_mm, shape, strict=True)
        )
        sides.append((i, j, k))
    return sides


def split(image: NDArray[np.float32], spacing_mm: Spacing, largest_sd: float) -> Ints:
    """The number of the block (i, j, k) that each voxel is in: the largest whose standard deviation is low enough."""
    shape: Shape = (image.shape[0], image.shape[1], image.shape[2])
    sides = block_sides(shape, spacing_mm)
    centred = image.astype(np.float64) - float(image.mean(dtype=np.float64))
    sums = [np.stack((np.ones(shape), centred, centred**2))]
    for below, above in pairwise(sides):
        total = sums[-1]
        for axis in range(3):
            if above[axis] > below[axis]:
                total = np.add.reduceat(total, np.arange(0, total.shape[axis + 1], 2), axis=axis + 1)
        sums.append(total)
    numbers: Ints = np.full(sums[-1].shape[1:], -1, dtype=np.int64)
    used = 0
    for level in range(len(sides) - 1, -1, -1):
        count, first, second = sums[level]
        variance = np.maximum(second / count - (first / count) ** 2, 0)
        rounding = 1e-12 * float(sums[0][2].max())
        whole = (numbers < 0) & ((variance <= largest_sd**2 + rounding) | (level == 0))
        numbers[whole] = np.arange(used, used + int(whole.sum()))
        used += int(whole.sum())
        if level > 0:
            for axis in range(3):
                if sides[level][axis] > sides[level - 1][axis]:
                    numbers = numbers.repeat(2, axis=axis)
            i, j, k = sums[level - 1].shape[1:]
            numbers = numbers[:i, :j, :k]
    return numbers


def _touching(numbers: Ints) -> Ints:
    """The pairs (2, n) of regions that share a face, the lower number first, each once."""
    total = int(numbers.max()) + 1
    keys = []
    for axis in range(3):
        a = np.moveaxis(numbers, axis, 0)[:-1].ravel()
        b = np.moveaxis(numbers, axis, 0)[1:].ravel()
        apart = a != b
        keys.append(np.unique(np.minimum(a, b)[apart] * total + np.maximum(a, b)[apart]))
    return np.stack(np.divmod(np.unique(np.concatenate(keys)), total))


def _by_likeness(graph: _Graph) -> tuple[Ints, Floats]:
    """The edges and their mean differences, the most alike first; equal ones in a scattered but fixed order."""
    difference = np.abs(graph.means[graph.edges[0]] - graph.means[graph.edges[1]])
    scattered = np.arange(difference.size, dtype=np.uint64) * _SCATTER
    order = np.lexsort((scattered, difference))
    return graph.edges[:, order], difference[order]


def _first_edge(edges: Ints, count: int) -> Ints:
    """The place of each region's first edge in the list; the list's length where it has none."""
    size = edges.shape[1]
    first = np.full(count, size, dtype=np.int64)
    backwards = np.arange(size - 1, -1, -1)
    first[edges[0, ::-1]] = backwards
    other = np.full(count, size, dtype=np.int64)
    other[edges[1, ::-1]] = backwards
    return np.minimum(first, other)


def _joining_pairs(graph: _Graph, limit: float) -> Ints:
    """The pairs that merge in one round: a region with its most alike neighbour, where that is the larger of the two.

    A neighbour that itself joins another in this round is left for the next: otherwise a ramp of grey levels would
    become one region link by link, with ends that no limit ever compared.
    """
    edges, difference = _by_likeness(graph)
    edges = edges[:, difference <= limit]
    regions = np.arange(len(graph.means))
    first = _first_edge(edges, len(regions))
    joining = regions[first < edges.shape[1]]
    neighbour = edges[:, first[joining]].sum(axis=0) - joining
    sizes, others = graph.counts[joining], graph.counts[neighbour]
    smaller = (sizes < others) | ((sizes == others) & (joining > neighbour))
    joining, neighbour = joining[smaller], neighbour[smaller]
    stays = np.ones(len(regions), dtype=bool)
    stays[joining] = False
    return np.stack((joining, neighbour))[:, stays[neighbour]]


def _small_and_neighbour(graph: _Graph, min_voxels: int) -> Ints:
    """Each region that is too small with its most alike neighbour, however unlike."""
    edges, _ = _by_likeness(graph)
    first = _first_edge(edges, len(graph.means))
    chosen = first[(graph.counts < min_voxels) & (first < edges.shape[1])]
    return edges[:, np.unique(chosen)]


def _merge(graph: _Graph, pairs: Ints) -> None:
    """Make one region of each group that the pairs join."""
    count = len(graph.means)
    joined = sparse.coo_matrix((np.ones(pairs.shape[1], dtype=np.int8), (pairs[0], pairs[1])), shape=(count, count))
    groups, group_of = csgraph.connected_components(joined, directed=False)
    group_of = group_of.astype(np.int64)
    sums = np.bincount(group_of, weights=graph.means * graph.counts, minlength=groups)
    graph.counts = np.bincount(group_of, weights=graph.counts, minlength=groups).astype(np.int64)
    graph.means = sums / graph.counts
    graph.of_block = group_of[graph.of_block]
    a, b = group_of[graph.edges]
    apart = a != b
    keys = np.unique(np.minimum(a, b)[apart] * groups + np.maximum(a, b)[apart])
    graph.edges = np.stack(np.divmod(keys, groups))
