"""Cuts in a drawn vessel: the section shrinks by the percentage, and nothing else changes."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.vessels.narrowing import Cut, narrowed

GRID = Geometry.from_spacing((40, 40, 80), (0.5, 0.5, 0.5), (-9.75, -9.75, -19.75))
LINE = np.stack([np.zeros(41), np.zeros(41), np.linspace(-20, 20, 41)], axis=1)


def ellipse_vessel() -> np.ndarray:
    i, j = (np.indices((40, 40)) - 19.5) * 0.5
    section = (i / 5.0) ** 2 + (j / 3.5) ** 2 < 1
    return np.repeat(section[:, :, None], 80, axis=2)


@pytest.mark.parametrize("percent", [30.0, 60.0])
def test_the_area_at_the_tightest_place_falls_with_the_square(percent: float) -> None:
    mask = ellipse_vessel()
    share = narrowed(mask, GRID, LINE, 7.0, [Cut(20.0, 12.0, percent)])
    area = share.sum(axis=(0, 1))
    assert area[39] == pytest.approx(area[5] * (1 - percent / 100) ** 2, rel=0.06)
    assert np.array_equal(share[:, :, :20], mask[:, :, :20])


def test_an_occlusion_closes_the_vessel() -> None:
    share = narrowed(ellipse_vessel(), GRID, LINE, 7.0, [Cut(20.0, 12.0, 100.0)])
    assert share[:, :, 39].sum() == 0


def test_a_cut_of_nothing_keeps_the_volume() -> None:
    mask = ellipse_vessel()
    share = narrowed(mask, GRID, LINE, 7.0, [Cut(20.0, 12.0, 0.0)])
    assert share.sum() == pytest.approx(mask.sum(), rel=0.01)
