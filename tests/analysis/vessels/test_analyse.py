"""The whole chain on vessels with truth by formula: percentages, counts, invariances, and what must not be graded."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.analysis.vessels.analyse import UNGRADED, VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.findings.segments import Ostia
from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import narrowing_profile, rotation
from medseg.datasets.phantoms.tubes import Tube, bezier
from medseg.datasets.phantoms.vessels.coverage import vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import Calcium, DiseasedBranch

POINT_SPREAD_MM = 0.4


@dataclass(frozen=True)
class Narrowing:
    """A narrowing at a place of the vessel, in mm and percent."""

    position_mm: float
    length_mm: float
    percent: float


def grid(spacing_mm: tuple[float, float, float] = (0.4, 0.4, 0.5), turned_deg: float = 0.0) -> Geometry:
    shape = np.round(np.array([26.0, 26.0, 52.0]) / spacing_mm).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation(0.6 * turned_deg, turned_deg, 0) @ np.diag(spacing_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def branch(*narrowings: Narrowing, radius_mm: float = 1.6, scale: float = 1.0) -> DiseasedBranch:
    """A gently bent vessel of 44 mm, with narrowings."""
    points = scale * bezier(np.array([[-3.0, 0.0, -21.0], [6.0, 5.0, 0.0], [-3.0, -2.0, 21.0]]))
    tube = Tube(points, np.full(len(points), scale * radius_mm))
    radii = tube.radii_mm.copy()
    for one in narrowings:
        place = (tube.arc_mm - scale * one.position_mm) / (scale * one.length_mm / 2)
        radii *= 1 - one.percent / 100 * narrowing_profile(place, 0.3)
    return DiseasedBranch(None, tube, radii, np.zeros_like(points), np.zeros(len(points)))


def soft_map(*branches: DiseasedBranch, geometry: Geometry | None = None, blur_mm: float = POINT_SPREAD_MM) -> Volume:
    geometry = geometry or grid()
    lumen = vessel_coverage(list(branches), geometry).lumen
    return Volume(Acquisition(point_spread_mm=blur_mm).blurred(lumen, geometry), geometry)


def found(analysis: VesselAnalysis) -> list[float]:
    return [blockage.diameter_percent for blockage in analysis.report.blockages]


@pytest.mark.parametrize("percent", [30.0, 50.0, 70.0, 85.0])
def test_a_narrowing_has_the_percentage_it_was_made_with(percent: float) -> None:
    analysis = analyse_vessels(soft_map(branch(Narrowing(22, 10, percent))))
    (blockage,) = analysis.report.blockages
    assert blockage.diameter_percent == pytest.approx(percent, abs=3)
    assert blockage.reference_diameter_mm == pytest.approx(3.2, abs=0.1)
    assert blockage.interval[0] <= percent <= blockage.interval[1]
    assert blockage.kind == "stenosis"
    assert blockage.length_mm == pytest.approx(8, abs=2.5)


def test_a_healthy_vessel_has_no_blockage() -> None:
    report = analyse_vessels(soft_map(branch())).report
    assert report.blockages == ()
    assert report.cad_rads == "0"
    assert report.branches[0].mean_diameter_mm == pytest.approx(3.2, abs=0.1)
    assert report.length_mm == pytest.approx(Tube(branch().healthy.points_mm, branch().open_radii_mm).length_mm, abs=4)


def test_a_step_down_that_does_not_recover_is_no_blockage() -> None:
    stepped = branch()
    stepped.open_radii_mm = np.where(stepped.healthy.arc_mm < 22, 1.6, 1.1)
    assert found(analyse_vessels(soft_map(stepped))) == []


@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("position_mm", [0.0, 1.0, 2.0, 43.0])
def test_a_tight_ostium_is_found_and_left_to_the_eye(position_mm: float, is_image: bool) -> None:
    soft = soft_map(branch(Narrowing(position_mm, 10, 70)))
    report = analyse_vessels(soft, noisy_image(soft) if is_image else None, prefer_image=is_image).report
    (blockage,) = report.blockages
    assert blockage.diameter_percent == pytest.approx(70, abs=4)
    assert blockage.confidence == "review"
    assert "healthy vessel is seen on one side only" in blockage.reasons
    assert report.cad_rads in ("3", "4A")


def test_the_tight_ostium_of_a_tree_is_found_and_its_far_ends_are_not() -> None:
    trunk = np.array([[0, 0, -20], [0, 0, 0]], dtype=float)
    ways = [np.array([[0, 0, 0], [side * 9, 0, 19]], dtype=float) for side in (-1, 1)]
    parts = []
    for points, radius_mm in ((trunk, 2.2), (ways[0], 1.7), (ways[1], 1.7)):
        tube = Tube(np.linspace(points[0], points[1], 60), np.full(60, radius_mm))
        narrow_at = 1.0 if points is trunk else tube.length_mm - 1.0
        radii = tube.radii_mm * (1 - 0.6 * narrowing_profile((tube.arc_mm - narrow_at) / 5.0, 0.3))
        parts.append(DiseasedBranch(None, tube, radii, np.zeros((60, 3)), np.zeros(60)))
    (blockage,) = analyse_vessels(soft_map(*parts)).report.blockages
    assert blockage.branch == 0
    assert blockage.position_mm < 5
    assert blockage.diameter_percent == pytest.approx(60, abs=5)


def test_an_occlusion_is_bridged_and_found() -> None:
    analysis = analyse_vessels(soft_map(branch(Narrowing(22, 14, 100))))
    (blockage,) = analysis.report.blockages
    assert blockage.kind == "occlusion"
    assert blockage.diameter_percent == 100
    assert blockage.gap_mm > 0
    assert blockage.confidence == "review"
    assert analysis.report.cad_rads == "5"


def test_a_narrowed_left_main_is_four_b() -> None:
    vessel = soft_map(branch(Narrowing(22, 10, 60)))
    start = analyse_vessels(vessel).tree.branches[0].points_mm[0]
    ostia = Ostia((float(start[0]), float(start[1]), float(start[2])), (90.0, 0.0, 0.0))
    report = analyse_vessels(vessel, ostia=ostia).report
    assert report.branch_name(report.blockages[0].branch) == "5 left main"
    assert (analyse_vessels(vessel).report.cad_rads, report.cad_rads) == ("3", "4B")
    assert report.warnings == ("no vessel begins within 10 mm of the right ostium: is it occluded?",)


def test_near_narrowings_are_one_lesion_and_far_ones_two() -> None:
    near = analyse_vessels(soft_map(branch(Narrowing(16, 6, 50), Narrowing(25, 6, 65)))).report.blockages
    assert len(near) == 1
    assert near[0].narrowings == 2
    assert near[0].diameter_percent == pytest.approx(65, abs=4)
    far = analyse_vessels(soft_map(branch(Narrowing(10, 6, 50), Narrowing(32, 6, 65)))).report.blockages
    assert [one.diameter_percent for one in far] == pytest.approx([65, 50], abs=4)
    assert [one.number for one in far] == [1, 2]


def test_the_mask_of_a_blockage_is_the_vessel_over_its_length() -> None:
    analysis = analyse_vessels(soft_map(branch(Narrowing(22, 10, 70))))
    (blockage,) = analysis.report.blockages
    volume_mm3 = float((analysis.blockages == 1).sum()) * grid().voxel_volume_ml * 1000
    assert volume_mm3 == pytest.approx(np.pi * 1.6**2 * blockage.length_mm, rel=0.15)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_flips_change_nothing(axes: tuple[int, ...]) -> None:
    vessel = soft_map(branch(Narrowing(18, 9, 60)))
    turned = Volume(np.flip(vessel.array, axes).copy(), vessel.geometry)
    assert found(analyse_vessels(turned)) == pytest.approx(found(analyse_vessels(vessel)), abs=1.0)


def test_rotations_of_the_grid_change_little() -> None:
    for turned_deg in (15.0, 40.0):
        vessel = soft_map(branch(Narrowing(22, 10, 60)), geometry=grid(turned_deg=turned_deg))
        assert found(analyse_vessels(vessel)) == pytest.approx([60], abs=3)


def test_anisotropic_voxels_change_little() -> None:
    vessel = soft_map(branch(Narrowing(22, 10, 60)), geometry=grid((0.35, 0.35, 0.8)))
    assert found(analyse_vessels(vessel)) == pytest.approx([60], abs=4)


def test_twice_the_size_has_the_same_percentage() -> None:
    geometry = grid((0.8, 0.8, 1.0))
    affine = geometry.affine.copy()
    shape = np.round(np.array([52.0, 52.0, 104.0]) / (0.8, 0.8, 1.0)).astype(int)
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    large = Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    vessel = soft_map(branch(Narrowing(22, 10, 60), scale=2.0), geometry=large, blur_mm=0.8)
    (blockage,) = analyse_vessels(vessel).report.blockages
    assert blockage.diameter_percent == pytest.approx(60, abs=3)
    assert blockage.reference_diameter_mm == pytest.approx(6.4, abs=0.2)


def noisy_image(vessel: Volume, noise: float = 20.0) -> Volume:
    generator = np.random.default_rng(3)
    image = 30 + 370 * vessel.array + noise * generator.standard_normal(vessel.array.shape)
    return Volume(image.astype(np.float32), vessel.geometry, "HU")


def test_the_image_gives_the_percentage_where_the_mask_is_hard() -> None:
    soft = soft_map(branch(Narrowing(22, 10, 60)))
    hard = Volume((soft.array >= 0.5).astype(np.uint8), soft.geometry)
    report = analyse_vessels(hard, noisy_image(soft)).report
    assert report.source == "image"
    assert [one.diameter_percent for one in report.blockages] == pytest.approx([60], abs=6)


@pytest.mark.parametrize("axes", [(0,), (1, 2)])
def test_flips_change_nothing_in_the_image(axes: tuple[int, ...]) -> None:
    soft = soft_map(branch(Narrowing(18, 9, 60)))
    image = noisy_image(soft)
    plain = analyse_vessels(soft, image, prefer_image=True)
    turned = [Volume(np.flip(one.array, axes).copy(), one.geometry, one.unit) for one in (soft, image)]
    assert found(analyse_vessels(*turned, prefer_image=True)) == pytest.approx(found(plain), abs=1.5)


def test_rotations_and_anisotropy_change_little_in_the_image() -> None:
    for geometry in (grid(turned_deg=35.0), grid((0.35, 0.35, 0.8))):
        soft = soft_map(branch(Narrowing(22, 10, 60)), geometry=geometry)
        assert found(analyse_vessels(soft, noisy_image(soft), prefer_image=True)) == pytest.approx([60], abs=6)


def test_a_vessel_with_a_leak_into_a_chamber_keeps_its_own_narrowing() -> None:
    sick = branch(Narrowing(22, 10, 60))
    soft = soft_map(sick)
    end = soft.geometry.index(sick.healthy.points_mm[-1:])[0]
    away = (np.indices(soft.geometry.shape).T - end).T * np.asarray(soft.geometry.spacing_mm)[:, None, None, None]
    chamber = np.clip(7.0 - np.linalg.norm(away - np.array([0, 0, 5.0])[:, None, None, None], axis=0), 0.0, 1.0)
    leaking = Volume(np.maximum(soft.array, chamber).astype(np.float32), soft.geometry)
    assert found(analyse_vessels(leaking)) == pytest.approx([60], abs=4)


def test_a_hard_mask_alone_is_only_for_review() -> None:
    soft = soft_map(branch(Narrowing(22, 10, 50)))
    hard = Volume((soft.array >= 0.5).astype(np.uint8), soft.geometry)
    report = analyse_vessels(hard).report
    assert report.source == "mask"
    (blockage,) = report.blockages
    assert blockage.confidence == "review"
    assert (report.cad_rads, blockage.cad_rads, blockage.nascet) == ("N", None, None)
    assert report.warnings == (UNGRADED,)
    start = analyse_vessels(soft).tree.branches[0].points_mm[0]
    ostia = Ostia((float(start[0]), float(start[1]), float(start[2])), (90.0, 0.0, 0.0))
    assert analyse_vessels(hard, ostia=ostia).report.cad_rads == "N"


def test_an_empty_map_says_so() -> None:
    report = analyse_vessels(
        Volume(np.zeros((20, 20, 20), dtype=np.uint8), Geometry.from_spacing((20, 20, 20), (1, 1, 1)))
    ).report
    assert report.not_assessable is not None
    assert "empty" in report.not_assessable
    assert (report.cad_rads, report.blockages) == ("N", ())


def drawn(where: NDArray[np.bool_], spacing_mm: float = 0.5) -> VesselAnalysis:
    shape = (where.shape[0], where.shape[1], where.shape[2])
    geometry = Geometry.from_spacing(shape, (spacing_mm, spacing_mm, spacing_mm))
    return analyse_vessels(Volume(where.astype(np.float32), geometry))


def test_shapes_that_are_no_vessels_are_not_graded() -> None:
    i, j, k = np.indices((48, 48, 48)) - 23.5
    ball = i**2 + j**2 + k**2 < 15**2
    specks = (
        (np.indices((48, 48, 48)).sum(axis=0) % 17 == 0) & (np.abs(i) < 20) & (np.indices((48, 48, 48))[0] % 6 == 0)
    )
    leak = (np.abs(i) < 3) & (np.abs(j) < 20) & (np.abs(k) < 20)
    wire = np.zeros((48, 48, 48), dtype=bool)
    wire[24, 24, 4:44] = True
    for shape in (ball, specks, leak, wire):
        report = drawn(shape).report
        assert report.not_assessable is not None
        assert report.blockages == ()
        assert report.cad_rads == "N"


def test_a_ring_is_walked_once_and_has_no_blockage() -> None:
    i, j, k = np.indices((72, 72, 24)) - np.array([35.5, 35.5, 11.5])[:, None, None, None]
    ring = (np.hypot(i, j) - 25) ** 2 + k**2 < 4**2
    analysis = drawn(ring)
    assert analysis.report.blockages == ()
    assert analysis.tree.length_mm == pytest.approx(2 * np.pi * 25 * 0.5, rel=0.1)


def test_huge_voxels_are_below_resolution() -> None:
    vessel = soft_map(branch(Narrowing(22, 10, 60), radius_mm=2.5), geometry=grid((2.5, 2.5, 2.5)), blur_mm=0.8)
    report = analyse_vessels(vessel).report
    assert report.blockages == ()
    assert report.not_assessable is not None
    assert "below resolution" in report.not_assessable


def test_the_soft_map_tells_calcium_from_the_lumen_of_an_image() -> None:
    sick = branch(Narrowing(22, 10, 60))
    sick.offsets_mm[:] = 0.9 * (sick.healthy.radii_mm - sick.open_radii_mm)[:, None] * np.array([0.0, 1.0, 0.0])
    sick.calcium.append(Calcium(18.5, 25.5, np.array([0.0, -1.0, 0.0])))
    covered = vessel_coverage([sick], grid())
    hu = 20 + 25 * covered.healthy + 355 * covered.lumen
    hu += covered.calcium * (800 - hu)
    scanner = Acquisition(point_spread_mm=POINT_SPREAD_MM)
    noise = np.random.default_rng(2).normal(0, 20, hu.shape)
    image = Volume((scanner.blurred(hu, grid()) + noise).astype(np.float32), grid(), "HU")
    analysis = analyse_vessels(soft_map(sick), image, prefer_image=True)
    assert found(analysis) == pytest.approx([60], abs=8)
    assert analysis.report.blockages[0].is_calcified
    assert analysis.report.calcium_ml is not None
    assert analysis.report.calcium_ml == pytest.approx(covered.calcium.sum() * grid().voxel_volume_ml, rel=0.6)


def calcified(percent: float, radius_mm: float, lumen_hu: float, calcium_hu: float) -> tuple[Volume, Volume]:
    """The map of a network that takes calcium for lumen, and the image: an eccentric lumen beside a calcified wall."""
    sick = branch(Narrowing(22, 9, percent), radius_mm=radius_mm)
    sick.offsets_mm[:] = 0.6 * (sick.healthy.radii_mm - sick.open_radii_mm)[:, None] * np.array([0.0, 1.0, 0.0])
    if percent:
        sick.calcium.append(Calcium(18.8, 25.2, np.array([0.0, -1.0, 0.0])))
    covered = vessel_coverage([sick], grid())
    hu = 20 + 25 * covered.healthy + (lumen_hu - 45) * covered.lumen
    hu += covered.calcium * (calcium_hu - hu)
    scanner = Acquisition(point_spread_mm=POINT_SPREAD_MM)
    noise = np.random.default_rng(4).normal(0, 20, hu.shape)
    taken = scanner.blurred(np.minimum(covered.lumen + covered.calcium, 1), grid())
    return Volume(taken, grid()), Volume((scanner.blurred(hu, grid()) + noise).astype(np.float32), grid(), "HU")


@pytest.mark.parametrize(("percent", "radius_mm", "lumen_hu", "calcium_hu"), [(60, 1.6, 380, 700), (60, 1.3, 470, 950)])
def test_a_network_that_takes_calcium_for_lumen_hides_no_narrowing(
    percent: float, radius_mm: float, lumen_hu: float, calcium_hu: float
) -> None:
    soft, image = calcified(percent, radius_mm, lumen_hu, calcium_hu)
    (blockage,) = analyse_vessels(soft, image, prefer_image=True, of_network=True).report.blockages
    assert blockage.diameter_percent == pytest.approx(percent, abs=12)
    assert blockage.is_calcified


@pytest.mark.parametrize("radius_mm", [1.1, 1.6])
def test_noise_in_a_healthy_vessel_is_no_calcium(radius_mm: float) -> None:
    report = analyse_vessels(*calcified(0, radius_mm, 380, 700), prefer_image=True, of_network=True).report
    assert report.blockages == ()
    assert report.calcium_ml == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize(("percent", "within"), [(40.0, 6), (60.0, 6), (100.0, 1)])
def test_where_a_map_lost_the_vessel_the_image_is_measured(percent: float, within: float) -> None:
    vessel = soft_map(branch(Narrowing(22, 10, percent)))
    lost = vessel.array.copy()
    ahead = np.abs(vessel.geometry.world(np.argwhere(lost >= 0))[:, 2].reshape(lost.shape)) < 4.0
    lost[ahead] = 0.0
    broken = Volume(lost, vessel.geometry)
    (blockage,) = analyse_vessels(broken, noisy_image(vessel), prefer_image=True, of_network=True).report.blockages
    assert blockage.diameter_percent == pytest.approx(percent, abs=within)
    assert blockage.gap_mm > 4.0
    assert blockage.confidence == "review"


def test_an_image_without_contrast_is_not_assessable() -> None:
    soft = soft_map(branch(Narrowing(22, 10, 60)))
    flat = Volume(np.random.default_rng(0).normal(30, 20, soft.array.shape).astype(np.float32), soft.geometry, "HU")
    report = analyse_vessels(soft, flat, prefer_image=True).report
    assert report.not_assessable is not None
    assert "no contrast" in report.not_assessable


def test_labels_that_are_no_probabilities_are_refused() -> None:
    geometry = Geometry.from_spacing((8, 8, 8), (1, 1, 1))
    with pytest.raises(InputError, match="between 0 and 1"):
        analyse_vessels(Volume(np.full((8, 8, 8), 7, dtype=np.uint8), geometry))


def test_an_image_on_another_grid_is_refused() -> None:
    map_ = Volume(np.zeros((8, 8, 8), dtype=np.float32), Geometry.from_spacing((8, 8, 8), (1, 1, 1)))
    image = Volume(np.zeros((8, 8, 9), dtype=np.float32), Geometry.from_spacing((8, 8, 9), (1, 1, 1)))
    with pytest.raises(GeometryError, match="different grids"):
        analyse_vessels(map_, image)
