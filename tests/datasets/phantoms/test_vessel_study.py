"""Made vessels: the voxels against the formulas, and the rules by which trees grow and lesions are placed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import label as connected_pieces

from medseg.core.geometry import Geometry
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.coverage import seen_lumen, vessel_coverage
from medseg.datasets.phantoms.vessels.lesions import Disease, DiseasedBranch
from medseg.datasets.phantoms.vessels.study import (
    BLOCKAGE,
    CALCIUM,
    VESSEL,
    VesselScene,
    VesselStudy,
    make_vessel_study,
    vessel_grid,
)
from medseg.datasets.phantoms.vessels.tree import STYLES, Likeness, grow_tree
from medseg.datasets.phantoms.vessels.truth import VesselLesionTruth, merged_lesions

GRID = vessel_grid((160, 160, 110), (0.5, 0.5, 0.7))
EXTENT = np.array([102.0, 102.0, 153.0])


@cache
def study(seed: int = 1, likeness: Likeness = "coronary") -> VesselStudy:
    return make_vessel_study(seed, likeness, geometry=GRID)


def straight(length_mm: float, radius_mm: float, open_mm: float) -> DiseasedBranch:
    points = np.stack([np.zeros(81), np.zeros(81), np.linspace(-length_mm / 2, length_mm / 2, 81)], axis=1)
    tube = Tube(points, np.full(81, radius_mm))
    return DiseasedBranch(None, tube, np.full(81, open_mm), np.zeros((81, 3)), np.zeros(81))


def test_a_narrow_lumen_fills_its_area() -> None:
    grid = Geometry.from_spacing((30, 30, 30), (0.4, 0.4, 0.4), (-5.8, -5.8, -5.8))
    covered = vessel_coverage([straight(40.0, 2.0, 0.5)], grid)
    voxel_mm2 = 0.16
    assert covered.lumen.sum(axis=(0, 1)).mean() * voxel_mm2 == pytest.approx(np.pi * 0.5**2, rel=0.04)
    assert covered.healthy.sum(axis=(0, 1)).mean() * voxel_mm2 == pytest.approx(np.pi * 2.0**2, rel=0.01)
    assert (covered.lumen <= covered.healthy + 1e-6).all()


@pytest.mark.parametrize(("open_mm", "pieces"), [(0.9, 1), (0.25, 1), (0.1, 2), (0.0, 2)])
def test_the_lumen_to_be_found_is_whole_until_no_image_shows_it(open_mm: float, pieces: int) -> None:
    tight = straight(20.0, 1.6, 1.6)
    tight.open_radii_mm[30:50] = open_mm
    tight.offsets_mm[30:50, 0] = 0.7 * (1.6 - open_mm)  # eccentric
    grid = Geometry.from_spacing((20, 20, 24), (0.5, 0.5, 1.0), (-4.8, -4.7, -11.6))
    lumen = seen_lumen(vessel_coverage([tight], grid), [tight], grid, least_mm=0.2)
    assert connected_pieces(lumen, np.ones((3, 3, 3)))[1] == pieces
    if open_mm == 0.25:
        row = np.argwhere(lumen[:, :, 12])
        assert 1 <= len(row) <= 6
        assert grid.world(np.array([[*row.mean(axis=0), 12]]))[0, 0] == pytest.approx(0.7 * 1.35, abs=0.3)


def test_the_lumen_to_be_found_runs_through_narrowings() -> None:
    made = study(3, "carotid")
    open_enough = [one for one in made.truth.lesions if one.open_diameter_mm > 1.0 and not one.is_calcified]
    assert open_enough
    for lesion in open_enough:
        branch = made.truth.branches[lesion.branch]
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(branch.points_mm, axis=0), axis=1))])
        inside = (arc >= lesion.start_mm) & (arc <= lesion.stop_mm)
        middle = np.round(GRID.index(np.asarray(branch.open_points_mm)[inside])).astype(int)
        assert made.lumen[tuple(middle.T)].all()


@pytest.mark.parametrize("likeness", list(STYLES))
def test_trees_obey_murray_and_stay_apart_and_in_the_box(likeness: Likeness) -> None:
    style = STYLES[likeness]
    for seed in range(3):
        grown = grow_tree(style, EXTENT, np.random.default_rng(seed))
        assert grown
        for at, branch in enumerate(grown):
            assert (np.abs(branch.tube.points_mm) <= EXTENT / 2).all()
            assert branch.tube.radii_mm[0] >= style.least_radius_mm
            children = [other for other in grown if other.parent == at]
            cubes = sum(float(child.tube.radii_mm[0]) ** 3 for child in children)
            assert cubes <= branch.tube.radii_mm[-1] ** 3 * (1 + 1e-9)
            if len(children) == 2:
                assert cubes == pytest.approx(float(branch.tube.radii_mm[-1]) ** 3)
            for other in grown[at + 1 :]:
                if branch.parent is None and other.parent is None:
                    place, distance = branch.tube.nearest(other.tube.points_mm)
                    room = distance - branch.tube.radius_at(place) - other.tube.radii_mm
                    assert room.min() >= style.gap_mm


def test_lesions_are_as_tight_as_their_truth_says() -> None:
    made = study()
    assert made.truth.lesions
    for lesion in made.truth.lesions:
        branch = made.truth.branches[lesion.branch]
        lost = 1 - np.asarray(branch.open_radius_mm) / np.asarray(branch.healthy_radius_mm)
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(branch.points_mm, axis=0), axis=1))])
        inside = (arc >= lesion.start_mm) & (arc <= lesion.stop_mm)
        assert 100 * lost[inside].max() == pytest.approx(lesion.diameter_percent, abs=1.0)


def test_the_image_and_the_soft_map_show_the_lumen() -> None:
    made = make_vessel_study(2, "carotid", geometry=GRID, scene=VesselScene(noise_sd_hu=0.0, has_surroundings=False))
    sure = made.probability.array > 0.99
    assert np.median(made.volume.array[sure]) == pytest.approx(400, abs=6)
    assert np.median(made.volume.array[made.probability.array < 0.001]) == pytest.approx(20, abs=15)


def test_labels_hold_vessel_blockage_and_calcium() -> None:
    made = study()
    present = set(np.unique(made.label_map.array).tolist())
    assert {0, VESSEL, BLOCKAGE} <= present
    for lesion in made.truth.lesions:
        middle = tuple(np.round(GRID.index(lesion.centre_mm)).astype(int))
        assert made.label_map.array[middle] in (BLOCKAGE, CALCIUM)


def test_an_occlusion_splits_the_lumen() -> None:
    for seed in range(12):
        made = study(seed)
        for lesion in made.truth.lesions:
            if lesion.is_occlusion:
                middle = tuple(np.round(GRID.index(lesion.centre_mm)).astype(int))
                assert made.probability.array[middle] < 0.05
                return
    pytest.fail("twelve seeds drew no occlusion")


def test_a_healthy_tree_has_no_lesion() -> None:
    made = make_vessel_study(1, geometry=GRID, disease=Disease(lesions=(0, 0)))
    assert made.truth.lesions == ()
    assert BLOCKAGE not in made.label_map.array


def test_a_clot_leaves_a_ring_of_the_area_of_its_narrowing() -> None:
    made = make_vessel_study(1, "peripheral", geometry=GRID, disease=Disease(filling_defect_share=1.0))
    defects = [lesion for lesion in made.truth.lesions if lesion.is_filling_defect]
    assert defects
    for lesion in defects:
        branch = made.truth.branches[lesion.branch]
        lost = 1 - np.asarray(branch.open_radius_mm) / np.asarray(branch.healthy_radius_mm)
        assert 100 * lost.max() >= lesion.diameter_percent - 1.0


def test_a_stent_is_a_mesh_in_the_wall_around_a_narrowing() -> None:
    scene = VesselScene(noise_sd_hu=0.0, point_spread_mm=0.0, has_surroundings=False)
    plain = Disease(lesions=(2, 2), occlusion_chance=0.0, calcified_share=0.0, serial_share=0.0)
    disease = replace(plain, stented_share=1.0)
    made = make_vessel_study(1, "carotid", geometry=GRID, scene=scene, disease=disease)
    assert made.truth.lesions
    assert all(lesion.is_stented for lesion in made.truth.lesions)
    bright = made.volume.array > 600
    for lesion in made.truth.lesions:
        branch = made.truth.branches[lesion.branch]
        tube = Tube(np.asarray(branch.points_mm), np.asarray(branch.healthy_radius_mm))
        place, distance = tube.nearest(GRID.world(np.argwhere(bright)))
        own = distance < tube.radius_at(place) + 1.0
        assert place[own].min() == pytest.approx(max(0.0, lesion.start_mm - 2.0), abs=1.0)
        assert place[own].max() == pytest.approx(lesion.stop_mm + 2.0, abs=1.0)
        assert (np.abs(distance[own] - tube.radius_at(place[own])) < 0.7).all()
    without = make_vessel_study(1, "carotid", geometry=GRID, scene=scene, disease=plain)
    assert not (without.volume.array > 600).any()


def test_a_seed_gives_the_same_study_twice() -> None:
    small = vessel_grid((64, 64, 64), (1.2, 1.2, 1.2))
    first, again = make_vessel_study(4, geometry=small), make_vessel_study(4, geometry=small)
    assert np.array_equal(first.volume.array, again.volume.array)
    assert first.truth == again.truth


def narrowing(start_mm: float, stop_mm: float, percent: float) -> VesselLesionTruth:
    return VesselLesionTruth(
        branch=0,
        centre_mm=(0.0, 0.0, 0.0),
        position_mm=(start_mm + stop_mm) / 2,
        start_mm=start_mm,
        stop_mm=stop_mm,
        diameter_percent=percent,
        healthy_diameter_mm=3.0,
        open_diameter_mm=3.0 * (1 - percent / 100),
    )


def test_narrowings_closer_than_three_diameters_are_one() -> None:
    near = merged_lesions([narrowing(10, 16, 40), narrowing(24, 30, 70)])
    assert len(near) == 1
    assert (near[0].diameter_percent, near[0].start_mm, near[0].stop_mm, near[0].narrowings) == (70, 10, 30, 2)
    assert len(merged_lesions([narrowing(10, 16, 40), narrowing(25.5, 30, 70)])) == 2
