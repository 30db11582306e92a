"""Made studies: the mask against the formulas, and the same anatomy on every grid."""

from functools import cache

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.acquisition import Acquisition
from medseg.datasets.phantoms.anatomy import draw_anatomy
from medseg.datasets.phantoms.study import LUMEN_HU, PhantomStudy, make_study, phantom_grid

SEEDS = (3, 11)
FINE = phantom_grid((160, 160, 128), (1.5, 1.5, 1.5))


@cache
def study(seed: int, geometry: Geometry) -> PhantomStudy:
    return make_study(seed, geometry, Acquisition(noise_sd_hu=0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("geometry", [phantom_grid(), FINE], ids=["default", "fine"])
def test_volumes_follow_the_formulas(seed: int, geometry: Geometry) -> None:
    made = study(seed, geometry)
    voxel_ml = geometry.voxel_volume_ml
    lesions_ml = sum(lesion.volume_ml for lesion in made.truth.lesions)
    blockages_ml = sum(blockage.volume_ml for blockage in made.truth.blockages)
    assert made.label_map.mask(2).sum() * voxel_ml == pytest.approx(lesions_ml, rel=0.02)
    assert made.label_map.mask(4).sum() * voxel_ml == pytest.approx(blockages_ml, rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_lesion_has_its_volume_and_diameters(seed: int) -> None:
    made = study(seed, FINE)
    where = FINE.world(np.argwhere(made.label_map.mask(2)))
    nearest = np.argmin(
        [np.linalg.norm(where - np.asarray(lesion.centre_mm), axis=1) for lesion in made.truth.lesions], axis=0
    )
    for at, lesion in enumerate(made.truth.lesions):
        mine = where[nearest == at]
        assert len(mine) * FINE.voxel_volume_ml == pytest.approx(lesion.volume_ml, rel=0.03)
        longest, across = lesion.axial_diameters_mm()
        slice_mm = FINE.spacing_mm[2]
        disc = mine[np.abs(mine[:, 2] - lesion.centre_mm[2]) <= slice_mm / 2 + 1e-6]
        apart = np.linalg.norm(disc[:, None] - disc[None], axis=2).max()
        assert apart == pytest.approx(longest, abs=1.5 * np.hypot(*FINE.spacing_mm[:2]))
        assert across <= longest <= lesion.longest_diameter_mm + 1e-9


def test_the_organ_with_its_contents_follows_the_formula() -> None:
    made = study(SEEDS[0], FINE)
    anatomy = draw_anatomy(SEEDS[0])
    inside = FINE.world(np.argwhere(made.label_map.array > 0))
    filled_ml = (anatomy.organ.signed_bound_mm(inside) < 0).sum() * FINE.voxel_volume_ml
    assert filled_ml == pytest.approx(made.truth.organ.volume_ml, rel=0.005)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_healthy_vessel_is_as_bright_as_its_contrast_and_the_blockage_is_not(seed: int) -> None:
    made = study(seed, FINE)
    trunk = np.asarray(made.truth.branches[0].points_mm)
    along = np.round(FINE.index(trunk)).astype(int)
    along = along[(along[:, 2] > 2) & (along[:, 2] < 20)]
    assert np.median(made.volume.array[tuple(along.T)]) == pytest.approx(LUMEN_HU, abs=5)
    assert (made.label_map.array[tuple(along.T)] == 3).all()
    for blockage in made.truth.blockages:
        middle = tuple(np.round(FINE.index(blockage.centre_mm)).astype(int))
        assert made.label_map.array[middle] == 4
        if blockage.is_occlusion:
            assert made.volume.array[middle] < 150


@pytest.mark.parametrize("seed", range(8))
def test_every_study_holds_something_to_find(seed: int) -> None:
    truth = draw_anatomy(seed).truth
    assert len(truth.lesions) >= 2
    assert truth.blockages
    assert len(truth.branches) >= 3
    for branch in truth.branches[1:]:
        assert branch.parent is not None
        parent = truth.branches[branch.parent]
        np.testing.assert_allclose(branch.points_mm[0], parent.points_mm[-1])
        assert branch.healthy_radius_mm[0] < parent.healthy_radius_mm[-1]


def test_forks_obey_murray() -> None:
    truth = draw_anatomy(SEEDS[0]).truth
    children = [branch for branch in truth.branches if branch.parent == 0]
    assert len(children) == 2
    cubes = sum(child.healthy_radius_mm[0] ** 3 for child in children)
    assert cubes == pytest.approx(truth.branches[0].healthy_radius_mm[-1] ** 3)


def test_narrowings_are_as_tight_as_they_say() -> None:
    for seed in range(6):
        truth = draw_anatomy(seed).truth
        for blockage in truth.blockages:
            branch = truth.branches[blockage.branch]
            lost = 1 - np.asarray(branch.open_radius_mm) / np.asarray(branch.healthy_radius_mm)
            assert 100 * lost.max() == pytest.approx(blockage.diameter_percent, abs=0.5)
            left = 1 - blockage.area_percent / 100
            assert left == pytest.approx((1 - blockage.diameter_percent / 100) ** 2)


@pytest.mark.parametrize(
    ("turned", "least_same"),
    [
        (phantom_grid(axis_codes="RAS"), 0.999),
        (phantom_grid((64, 96, 96), (3.0, 2.5, 2.5), axis_codes="SPR"), 0.999),
        (phantom_grid(rotation_deg=(12.0, -9.0, 15.0)), 0.95),
    ],
    ids=["flipped", "permuted", "oblique"],
)
def test_flipped_and_oblique_grids_show_the_same_anatomy(turned: Geometry, least_same: float) -> None:
    straight = study(SEEDS[0], phantom_grid())
    other = study(SEEDS[0], turned)
    index = np.indices(straight.volume.geometry.shape).reshape(3, -1).T
    mask = straight.label_map.array.reshape(-1)
    held = index[mask > 0]
    there = turned.index(straight.volume.geometry.world(held))
    nearest = np.round(there).astype(int)
    on_grid = ((nearest >= 0) & (nearest < turned.shape)).all(axis=1)
    same = other.label_map.array[tuple(nearest[on_grid].T)] == mask[mask > 0][on_grid]
    assert same.mean() > least_same
    apart_hu = np.abs(
        other.volume.array[tuple(nearest[on_grid].T)].astype(float)
        - straight.volume.array[tuple(held[on_grid].T)].astype(float)
    )
    assert np.median(apart_hu) <= 3


def test_axis_codes_of_grids() -> None:
    assert phantom_grid(axis_codes="LPS").axis_codes == "LPS"
    assert phantom_grid((64, 96, 96), axis_codes="SPR").axis_codes == "SPR"
    np.testing.assert_allclose(phantom_grid(rotation_deg=(5, 0, 0)).centre_mm, phantom_grid().centre_mm)


def test_a_seed_gives_the_same_study_twice_and_another_seed_another() -> None:
    small = phantom_grid((48, 48, 32), (5.0, 5.0, 6.0))
    first, again, other = make_study(5, small), make_study(5, small), make_study(6, small)
    assert np.array_equal(first.volume.array, again.volume.array)
    assert np.array_equal(first.label_map.array, again.label_map.array)
    assert first.truth == again.truth
    assert not np.array_equal(first.volume.array, other.volume.array)


def test_noise_has_the_asked_spread_and_is_grainy_in_the_plane() -> None:
    grid = phantom_grid((64, 64, 24), (1.0, 1.0, 2.0))
    noise = Acquisition(noise_sd_hu=20.0).noise(grid, np.random.default_rng(0))
    assert noise.std() == pytest.approx(20, rel=1e-3)
    in_plane = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    across = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert in_plane > 0.5
    assert abs(across) < 0.05


def test_a_sharp_scanner_without_noise_leaves_the_perfect_image() -> None:
    made = make_study(3, phantom_grid(), Acquisition(point_spread_mm=0.0, noise_sd_hu=0.0))
    assert set(np.unique(made.volume.array)) >= {-1000, -100, 50, 110, 280}
