"""A network's map: what is fainter than its arteries is left out, with words, and nothing else is."""

import numpy as np
import pytest

from medseg.analysis.vessels.network_map import NETWORK_DOUBT, analyse_network_map, without_veins
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch

GRID = Geometry.from_spacing((70, 50, 80), (0.45, 0.45, 0.55))


def share(middle_mm: float, radius_mm: float, percent: float = 0.0) -> np.ndarray:
    """The blurred share of an upright vessel at a place of the first axis, narrowed half-way."""
    points = np.stack([np.full(77, middle_mm), np.full(77, 11.0), np.linspace(3.0, 41.0, 77)], axis=1)
    tube = Tube(points, np.full(77, radius_mm))
    radii = tube.radii_mm * (1 - percent / 100 * narrowing_profile((tube.arc_mm - 19.0) / 5.0, 0.3))
    branch = DiseasedBranch(None, tube, radii, np.zeros((77, 3)), np.zeros(77))
    return Acquisition(point_spread_mm=0.4).blurred(vessel_coverage([branch], GRID).lumen, GRID)


def scan(artery: np.ndarray, other: np.ndarray, of_contrast: float) -> tuple[Volume, Volume]:
    """A map that holds both vessels, and an image in which the other has that part of the artery's contrast."""
    image = 30 + 350 * artery + 350 * of_contrast * other + np.random.default_rng(1).normal(0, 15, GRID.shape)
    return Volume(np.maximum(artery, other), GRID), Volume(image.astype(np.float32), GRID, "HU")


@pytest.mark.parametrize(("radius_mm", "of_contrast", "left_out"), [(1.6, 0.65, 1), (1.6, 0.97, 0), (0.9, 1.0, 0)])
def test_a_vein_beside_an_artery_is_left_out_and_a_thin_artery_is_not(
    radius_mm: float, of_contrast: float, left_out: int
) -> None:
    artery, other = share(9.0, 1.6, 60.0), share(23.0, radius_mm, 50.0)
    soft, image = scan(artery, other, of_contrast)
    kept, count = without_veins(soft, image)
    assert count == left_out
    assert (kept.array[:35] == soft.array[:35]).all()
    assert bool((kept.array[35:] > 0.5).any()) == (left_out == 0)


def test_what_was_left_out_is_said_and_not_graded() -> None:
    soft, image = scan(share(9.0, 1.6, 60.0), share(23.0, 1.6, 50.0), 0.65)
    report = analyse_network_map(soft, image).report
    assert [one.diameter_percent for one in report.blockages] == pytest.approx([60], abs=6)
    assert report.warnings[0] == NETWORK_DOUBT
    assert report.warnings[1].startswith("a piece of the vessels, fainter than the rest")


def test_an_empty_map_stays_empty() -> None:
    empty = Volume(np.zeros(GRID.shape, np.float32), GRID)
    assert without_veins(empty, empty) == (empty, 0)
    assert analyse_network_map(empty, empty).report.not_assessable is not None
