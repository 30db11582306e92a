"""Calibrated probabilities by temperature scaling (Guo et al. 2017): a network's sureness, set right by one number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from medseg.core.label_map import LabelMap
from medseg.core.probability import CERTAIN, Probabilities, ProbabilityMap
from medseg.imaging.unnamed_bytes import UnnamedBytes

LOWEST, HIGHEST = 0.25, 8.0
MOST_VOXELS = 20_000
"""Voxels of a case that a temperature is fitted on: neighbours say the same."""

_LEAST = 0.5 / CERTAIN
"""What stands for a probability that is kept as 0: half a step."""


def class_samples(
    probabilities: Probabilities, reference: LabelMap, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities (voxel, class) with background first, and the true class (voxel), where a label is or may be.

    Voxels that nobody judged are left out. The labels are those whose maps are kept, in their order; maps and reference
    lie on one grid.
    """
    names = list(probabilities.of_label)
    maps = np.stack([probabilities.of_label[name].array for name in names])
    truth = np.zeros(reference.array.shape, dtype=np.int64)
    for number, name in enumerate(names, start=1):
        truth[reference.mask(reference.schema.named(name).index)] = number
    where = np.flatnonzero(((maps.max(axis=0) > 0) | (truth > 0)) & reference.known)
    if len(where) > MOST_VOXELS:
        where = generator.choice(where, MOST_VOXELS, replace=False)
    chosen = maps.reshape(len(names), -1)[:, where].T / np.float32(CERTAIN)
    background = np.clip(1 - chosen.sum(axis=1, keepdims=True), 0, 1)
    return np.concatenate((background, chosen), axis=1), truth.ravel()[where]


def fit_temperature(samples: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature at which the true classes are likeliest; 1 where there is nothing to fit on."""
    if len(samples) == 0:
        return 1.0
    logs = np.log(np.maximum(samples, _LEAST))

    def surprise(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        peak = scaled.max(axis=1, keepdims=True)
        total = peak[:, 0] + np.log(np.exp(scaled - peak).sum(axis=1))
        return float((total - scaled[np.arange(len(truth)), truth]).mean())

    found = minimize_scalar(surprise, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def calibrated(probabilities: Probabilities, temperature: float, folder: Path) -> Probabilities:
    """The maps of all labels at a temperature, kept on the disk of `folder`; the very ones where it is 1."""
    if temperature == 1.0 or not probabilities.of_label:
        return probabilities
    names = list(probabilities.of_label)
    old = [probabilities.of_label[name] for name in names]
    new = [UnnamedBytes(one.geometry.shape, folder) for one in old]
    for i in range(old[0].array.shape[0]):
        plane = np.stack([one.array[i] for one in old]).astype(np.float32) / CERTAIN
        likely = plane.max(axis=0) > 0
        shares = np.concatenate((np.clip(1 - plane.sum(axis=0, keepdims=True), 0, 1), plane))
        powers = np.maximum(shares, _LEAST) ** (1 / temperature)
        scaled = np.where(likely, powers[1:] / powers.sum(axis=0), 0)
        for kept, values in zip(new, scaled, strict=True):
            kept.array[i] = np.rint(values * CERTAIN)
    maps = {name: ProbabilityMap(kept.array, one.geometry) for name, kept, one in zip(names, new, old, strict=True)}
    return Probabilities(maps, probabilities.agreement)
