"""The blurred disc against its closed form and against discs that are blurred by brute force."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medseg.analysis.vessels.lumen.blurred_disc import Plaque, disc_costs, disc_value, lowest, plaque_costs

RADII = np.linspace(0.0, 4.0, 64)


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.5])
def test_at_its_centre_a_blurred_disc_is_one_less_a_gaussian(radius: float) -> None:
    value = disc_value(np.array([0.0]), np.array([radius]), 1.0)
    assert value[0] == pytest.approx(1 - np.exp(-(radius**2) / 2), abs=2e-3)


def test_the_edge_of_a_wide_disc_is_half_and_scales_beyond_the_table() -> None:
    for radius in (8.0, 30.0):
        assert disc_value(np.array([radius]), np.array([radius]), 1.0)[0] == pytest.approx(0.5, abs=0.03)
    assert disc_value(np.array([0.0]), np.array([40.0]), 1.0)[0] == pytest.approx(1, abs=1e-6)
    assert disc_value(np.array([60.0]), np.array([40.0]), 1.0)[0] == pytest.approx(0, abs=1e-6)


def test_it_is_the_same_in_any_unit() -> None:
    distance, radius = np.linspace(0, 5, 11), np.array([1.3])
    once = disc_value(distance, radius, 0.5)
    np.testing.assert_allclose(disc_value(3 * distance, 3 * radius, 1.5), once, atol=1e-12)


@pytest.mark.parametrize("radius", [0.35, 0.8, 1.6, 2.4])
def test_a_disc_blurred_by_brute_force_gives_its_radius_back(radius: float) -> None:
    step, blur = 0.05, 0.5
    axis = np.arange(-5, 5 + step / 2, step)
    disc = (np.hypot(axis[:, None], axis[None, :]) < radius).astype(float)
    blurred = gaussian_filter(disc, blur / step)
    middle = len(axis) // 2
    distances = axis[middle::6]
    profile = blurred[middle, middle::6][None]
    cost = disc_costs(profile, distances[None], distances, np.array([blur]), RADII)
    assert lowest(cost, RADII)[0] == pytest.approx(radius, abs=0.02)
    assert cost.min() < 1e-4 * distances.sum()


def test_nothing_has_radius_zero() -> None:
    distances = np.linspace(0, 3, 20)
    cost = disc_costs(np.zeros((1, 20)), np.ones((1, 20)), distances, np.array([0.4]), RADII)
    assert lowest(cost, RADII)[0] < 0.03


def test_plaque_around_a_lumen_does_not_count_as_lumen_where_its_level_is_free() -> None:
    distances = np.linspace(0, 2.4, 36)
    wall = np.array([1.5])
    disc, healthy = disc_value(distances, np.array([0.5]), 0.45), disc_value(distances, wall, 0.45)
    in_plaque = (disc + 0.25 * (healthy - disc))[None]
    weights, blur = distances[None], np.array([0.45])
    plaque = Plaque(wall, expected=np.array([0.12]), trust=0.04)
    free, level = plaque_costs(in_plaque, weights, distances, blur, RADII, plaque)
    fixed = disc_costs(in_plaque, weights, distances, blur, RADII)
    assert lowest(free, RADII)[0] == pytest.approx(0.5, abs=0.06)
    assert level[0, free.argmin()] == pytest.approx(0.25, abs=0.06)
    assert lowest(fixed, RADII)[0] > 0.7
