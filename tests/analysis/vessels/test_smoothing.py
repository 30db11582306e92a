"""Sections taken together: an even lumen is averaged, a tip is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from medseg.analysis.vessels.lumen.smoothing import noise_variance, smoothed_radius

RADII = np.linspace(0.0, 3.0, 64)
NOISE = 0.1


def noise(count: int, seed: int) -> NDArray[np.float64]:
    """Noise (n,) of standard deviation NOISE, blurred along the vessel as a scan's is."""
    grainy = gaussian_filter1d(np.random.default_rng(seed).normal(size=count + 20), 1.0)[10:-10]
    return np.asarray(grainy * NOISE * np.sqrt(2 * np.sqrt(np.pi)))


def fitted(truth: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The radius from parabolas around the truth, each off by noise that neighbours share."""
    measured = truth + noise(len(truth), seed)
    cost = (RADII[None, :] - measured[:, None]) ** 2
    # a parabola of bend 2 has this standard error at this variance
    return smoothed_radius((cost, RADII, np.ones(len(truth))), NOISE**2)


def test_the_tightest_section_of_an_even_lumen_is_not_the_noisiest() -> None:
    lows = [fitted(np.full(80, 1.5), seed).min() for seed in range(5)]
    single = [1.5 + noise(80, seed).min() for seed in range(5)]
    assert 1.5 - np.mean(lows) < 0.85 * (1.5 - np.mean(single))


def test_a_short_tight_place_is_not_filled() -> None:
    along = np.arange(80.0)
    truth = 1.5 - 1.0 * np.exp(-(((along - 40) / 3) ** 2) / 2)
    assert abs(np.mean([fitted(truth, seed)[39:42].min() for seed in range(5)]) - 0.5) < 0.15


def test_without_noise_nothing_changes() -> None:
    truth = 1.5 - 0.8 * np.exp(-(((np.arange(60.0) - 30) / 4) ** 2) / 2)
    cost = (RADII[None, :] - truth[:, None]) ** 2
    np.testing.assert_allclose(smoothed_radius((cost, RADII, np.ones(60)), 1e-8), truth, atol=0.01)


def test_a_branch_of_four_sections_has_four_radii() -> None:
    branch = ((RADII[None, :] - np.ones((4, 1))) ** 2, RADII, np.ones(4))
    assert smoothed_radius(branch, 0.01).shape == (4,)


def test_noise_is_told_from_a_shape_that_does_not_fit() -> None:
    measured = 1.5 + noise(300, 0)
    costs = [(RADII[None, :] - radius[:, None]) ** 2 for radius in (measured, np.full(300, 1.5))]
    noisy, even = ((cost + 5.0, RADII, np.ones(300)) for cost in costs)
    assert noise_variance([noisy]) == pytest.approx(NOISE**2, rel=0.3)
    assert noise_variance([even]) < 1e-6
    assert noise_variance([]) == 0.0
