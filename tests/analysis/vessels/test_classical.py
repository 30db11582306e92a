"""Vessels of a scan without a network: a made vessel is found, a scan without contrast is refused."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.analysis.vessels.classical import classical_map
from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.datasets.phantoms.vessels.study import VesselScene, make_vessel_study, vessel_grid

GRID = vessel_grid((48, 48, 48), (1.0, 1.0, 1.0))


def test_bright_tubes_are_found() -> None:
    scene = VesselScene(has_surroundings=False, noise_sd_hu=15.0)
    made = make_vessel_study(5, "peripheral", geometry=GRID, scene=scene)
    true, found = made.probability.array >= 0.5, classical_map(made.volume).array >= 0.5
    assert 2 * (true & found).sum() / (true.sum() + found.sum()) > 0.8


def test_a_scan_in_which_nothing_is_bright_is_refused() -> None:
    noise = np.random.default_rng(0).normal(40, 10, (24, 24, 24)).astype(np.float32)
    for array in (noise, np.zeros_like(noise)):
        with pytest.raises(InputError, match="no vessel stands out"):
            classical_map(Volume(array, vessel_grid((24, 24, 24)), "HU"))
