"""Clots in veins of known size: found, measured by the area they take, painted, and told from narrowings."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.lumen.veins import with_holes_filled
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile
from medseg.datasets.phantoms.tubes import Tube, bezier
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import DiseasedBranch
from medseg.datasets.phantoms.vessels.study import make_vessel_study, vessel_grid

RADIUS_MM, MIDDLE_MM, LENGTH_MM = 3.2, 26.0, 14.0
GRID = vessel_grid((48, 48, 80), (0.6, 0.6, 0.7))


def vein(core_share: float = 0.0, narrowed: float = 0.0) -> Volume:
    """The soft map of a bent vein, 52 mm long, with a clot of a share of its radius, or narrowed by a share."""
    points = bezier(np.array([[-2.0, 0.0, -26.0], [4.0, 3.0, 0.0], [-2.0, -1.0, 26.0]]))
    tube = Tube(points, np.full(len(points), RADIUS_MM))
    profile = narrowing_profile((tube.arc_mm - MIDDLE_MM) / (LENGTH_MM / 2), 0.5)
    branch = DiseasedBranch(
        None, tube, tube.radii_mm * (1 - narrowed * profile), np.zeros_like(points), core_share * RADIUS_MM * profile
    )
    lumen = vessel_coverage([branch], GRID).lumen
    return Volume(Acquisition(point_spread_mm=0.4).blurred(lumen, GRID), GRID)


def seen(soft: Volume) -> VesselAnalysis:
    return analyse_vessels(soft, kind="vein")


@pytest.mark.parametrize("core_share", [0.6, 0.8])
def test_a_clot_takes_the_area_it_was_made_with(core_share: float) -> None:
    analysis = seen(vein(core_share))
    (blockage,) = analysis.report.blockages
    assert blockage.kind == "filling defect"
    assert blockage.area_percent == pytest.approx(100 * core_share**2, abs=8)
    assert analysis.report.cad_rads is None
    painted_ml = float((analysis.blockages == 1).sum()) * GRID.voxel_volume_ml
    clot_ml = np.pi * (core_share * RADIUS_MM) ** 2 * LENGTH_MM * 0.75 / 1000
    assert painted_ml == pytest.approx(clot_ml, rel=0.4)


def test_an_artery_s_eye_does_not_see_the_clot_s_percentage() -> None:
    clot = vein(0.8)
    assert all(one.kind != "filling defect" for one in analyse_vessels(clot).report.blockages)


def test_a_vein_filled_by_a_clot_is_occluded() -> None:
    (blockage,) = seen(vein(narrowed=1.0)).report.blockages
    assert (blockage.kind, blockage.diameter_percent) == ("occlusion", 100)


def test_a_narrowed_vein_is_no_filling_defect() -> None:
    (blockage,) = seen(vein(narrowed=0.5)).report.blockages
    assert blockage.kind == "stenosis"
    assert blockage.diameter_percent == pytest.approx(50, abs=6)


def test_a_healthy_vein_has_nothing() -> None:
    assert seen(vein()).report.blockages == ()


def test_holes_are_filled_and_nothing_else() -> None:
    soft = vein(0.8).array
    filled = with_holes_filled(soft)
    assert (filled >= soft).all()
    clot_voxels = np.pi * (0.8 * RADIUS_MM) ** 2 * LENGTH_MM * 0.75 / (1000 * GRID.voxel_volume_ml)
    assert (filled - soft).sum() == pytest.approx(clot_voxels, rel=0.4)
    healthy = vein().array
    assert np.array_equal(with_holes_filled(healthy), healthy)
    empty = np.zeros((6, 6, 6), dtype=np.float32)
    assert with_holes_filled(empty) is empty


def test_a_made_venous_tree_is_wide() -> None:
    made = make_vessel_study(3, "venous", geometry=vessel_grid((48, 48, 60), (1.6, 1.6, 1.6)))
    assert min(branch.healthy_radius_mm[0] for branch in made.truth.branches) >= 2.2
