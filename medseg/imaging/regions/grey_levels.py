"""A classical baseline without a network: regions of like grey level, named by how bright each class is and where.

The class of a voxel is drawn from its region's mean grey level (a normal distribution a class) and from its place in
the field of view (how often each class was there in the cases learned from). A region thus shares one judgement of its
grey level; the place may still divide it, as the two halves of one organ can only be told apart by where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.errors import InputError
from medseg.core.geometry import Shape
from medseg.imaging.regions.split_and_merge import Regions

SMALLEST_SD = 1e-3
"""Of a class whose grey levels were all alike, in the unit of the image."""

UNSEEN = 1.0
"""Voxels of each class imagined in each cell of the place map, over all cells: the unseen stays possible."""

PLACE_CELLS: Shape = (24, 24, 24)


@dataclass(frozen=True, slots=True, eq=False)
class GreyLevelModel:
    """Each class's mean and standard deviation, and how often it is found in each cell of the field of view."""

    means: NDArray[np.float64]
    sds: NDArray[np.float64]
    places: NDArray[np.float64]
    """(class, cell, cell, cell), summing to 1 over classes; cells divide the field of view evenly."""

    def probabilities(self, regions: Regions) -> NDArray[np.float32]:
        """Class probabilities (class, i, j, k) of the regions' voxels."""
        off = (regions.means[None] - self.means[:, None]) / self.sds[:, None]
        log_likelihood = -0.5 * off**2 - np.log(self.sds)[:, None]
        zoom = [n / cells for n, cells in zip(regions.numbers.shape, self.places.shape[1:], strict=True)]
        scores = np.empty((len(self.means), *regions.numbers.shape))
        for index, place in enumerate(self.places):
            prior = ndimage.zoom(place, zoom, order=1, mode="nearest", grid_mode=True)
            scores[index] = np.log(np.maximum(prior, 1e-12)) + log_likelihood[index][regions.numbers]
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        return np.asarray(scores / scores.sum(axis=0), dtype=np.float32)


def learn_grey_levels(
    cases: Iterable[tuple[NDArray[np.float32], NDArray[np.integer[Any]]]], class_count: int
) -> GreyLevelModel:
    """What cases of image and class numbers (i, j, k) say of each class. Raises InputError where a class has no voxel.

    Images must be on one scale of intensities, with one orientation and about the same field of view.
    """
    counts, sums, squares = (np.zeros(class_count) for _ in range(3))
    places = np.zeros((class_count, *PLACE_CELLS))
    for image, classes in cases:
        flat = classes.ravel().astype(np.int64)
        values = image.ravel().astype(np.float64)
        counts += np.bincount(flat, minlength=class_count)
        sums += np.bincount(flat, weights=values, minlength=class_count)
        squares += np.bincount(flat, weights=values**2, minlength=class_count)
        cell = np.zeros(classes.shape, dtype=np.int64)
        for axis, (n, cells) in enumerate(zip(classes.shape, PLACE_CELLS, strict=True)):
            along = np.arange(n) * cells // n
            cell = cell * cells + along.reshape([-1 if a == axis else 1 for a in range(3)])
        key = flat * int(np.prod(PLACE_CELLS)) + cell.ravel()
        places += np.bincount(key, minlength=places.size).reshape(places.shape)
    if (counts == 0).any():
        missing = ", ".join(str(index) for index in np.flatnonzero(counts == 0))
        raise InputError(f"the cases hold no voxel of class {missing}; add cases that do")
    means = sums / counts
    sds = np.sqrt(np.maximum(squares / counts - means**2, SMALLEST_SD**2))
    places += UNSEEN * (counts / counts.sum())[:, None, None, None]
    return GreyLevelModel(means, sds, places / places.sum(axis=0))


def label_by_seeds(regions: Regions, seeds: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """The label (i, j, k) of each region by the seeds within it: the most frequent one, the lowest of equals.

    `seeds` (i, j, k) is 0 where there is none. A region without a seed takes the label of the seeded region whose mean
    is nearest to its own. Raises InputError where there is no seed at all.
    """
    if seeds.shape != regions.numbers.shape:
        raise InputError(f"seeds and regions lie on one grid; got shapes {seeds.shape} and {regions.numbers.shape}")
    placed = seeds > 0
    if not placed.any():
        raise InputError("there is no seed. Mark at least one voxel of each class.")
    count = len(regions.means)
    votes = np.zeros((count, int(seeds.max()) + 1), dtype=np.int64)
    np.add.at(votes, (regions.numbers[placed], seeds[placed]), 1)
    seeded = np.flatnonzero(votes.sum(axis=1))
    by_mean = seeded[np.argsort(regions.means[seeded], kind="stable")]
    sorted_means = regions.means[by_mean]
    right = np.searchsorted(sorted_means, regions.means).clip(0, len(by_mean) - 1)
    left = np.maximum(right - 1, 0)
    is_left = np.abs(sorted_means[left] - regions.means) <= np.abs(sorted_means[right] - regions.means)
    nearest = by_mean[np.where(is_left, left, right)]
    nearest[seeded] = seeded
    return np.asarray(votes.argmax(axis=1)[nearest][regions.numbers], dtype=np.int32)
