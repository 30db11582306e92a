"""Made scenes of known grey levels cut into their regions, and regions named by a model or by seeds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.imaging.regions.grey_levels import label_by_seeds, learn_grey_levels
from medseg.imaging.regions.split_and_merge import SplitAndMerge, block_sides, estimate_noise_sd, split, split_and_merge

MM = (1.0, 1.0, 1.0)


def scene(seed: int = 0, noise: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Two balls of levels 10 and 20 in 0, with noise; and which is where."""
    grid = np.moveaxis(np.indices((40, 44, 36)), 0, -1)
    truth = np.zeros(grid.shape[:3], np.intp)
    truth[((grid - (14, 20, 18)) ** 2).sum(-1) <= 100] = 1
    truth[((grid - (30, 28, 18)) ** 2).sum(-1) <= 36] = 2
    image = 10.0 * truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    return image.astype(np.float32), truth


def test_noisy_balls_are_three_regions_in_order_of_first_voxel() -> None:
    image, truth = scene()
    regions = split_and_merge(image, MM, SplitAndMerge())
    assert regions.means == pytest.approx([0, 10, 20], abs=0.1)
    assert (regions.numbers == truth).mean() > 0.999
    assert np.array_equal(regions.voxel_counts, np.bincount(regions.numbers.ravel()))
    assert regions.block_count > 100
    again = split_and_merge(image, MM, SplitAndMerge())
    assert np.array_equal(again.numbers, regions.numbers)


def test_without_noise_the_cut_is_exact_and_one_level_is_one_block() -> None:
    image, truth = scene(noise=0)
    assert np.array_equal(split_and_merge(image, MM, SplitAndMerge()).numbers, truth)
    flat = split_and_merge(np.full((5, 6, 7), 3.0, np.float32), MM, SplitAndMerge())
    assert (flat.block_count, flat.means.tolist(), flat.voxel_counts.tolist()) == (1, [3.0], [210])


def test_the_mirrored_image_has_the_mirrored_regions() -> None:
    image, truth = scene()
    mirrored = split_and_merge(image[::-1, :, ::-1].copy(), MM, SplitAndMerge())
    levels = mirrored.means[mirrored.numbers][::-1, :, ::-1]  # the balls' numbers change places with their first voxels
    assert (np.abs(levels - 10 * truth) < 1).mean() > 0.999


def test_blocks_stay_near_cubes_in_mm() -> None:
    assert block_sides((8, 8, 2), (1.0, 1.0, 5.0)) == [(1, 1, 1), (2, 2, 1), (4, 4, 1), (8, 8, 2)]
    assert block_sides((1, 3, 1), MM) == [(1, 1, 1), (1, 2, 1), (1, 4, 1)]


def test_only_the_block_with_another_level_is_split() -> None:
    image = np.zeros((4, 4, 4), np.float32)
    image[0, 0, 0] = 8
    # Seven blocks of 2 x 2 x 2 stay whole, the eighth falls into its eight voxels.
    assert sorted(np.bincount(split(image, MM, 0.5).ravel())) == [1] * 8 + [8] * 7


def test_regions_merge_up_to_the_limit_and_a_ramp_is_not_one() -> None:
    steps = np.repeat(np.array([0.0, 3.0, 9.0], np.float32), 4)[:, None, None] * np.ones((1, 4, 4), np.float32)
    for limit, count in ((2.9, 3), (3.0, 2), (8.0, 1)):
        settings = SplitAndMerge(noise_sd=1.0, merge_difference=limit, split_sd=0.1)
        assert len(split_and_merge(steps, MM, settings).means) == count, limit
    ramp = np.arange(64, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    cut = split_and_merge(ramp, MM, SplitAndMerge(noise_sd=1.0, merge_difference=4.0, split_sd=0.1))
    assert 5 < len(cut.means) < 32


def test_a_speck_joins_its_neighbour_unless_it_may_be_so_small() -> None:
    image = np.zeros((6, 6, 6), np.float32)
    image[3, 3, 3] = 100
    assert len(split_and_merge(image, MM, SplitAndMerge(noise_sd=1.0)).means) == 1
    assert len(split_and_merge(image, MM, SplitAndMerge(noise_sd=1.0, min_voxels=1)).means) == 2


def test_the_noise_is_found_beside_edges() -> None:
    assert estimate_noise_sd(scene(noise=2.0)[0]) == pytest.approx(2.0, rel=0.03)


def test_what_is_no_image_is_refused() -> None:
    for image in (np.zeros((3, 3)), np.zeros((0, 3, 3)), np.full((2, 2, 2), np.nan)):
        with pytest.raises(InputError, match="3-D image of finite numbers"):
            split_and_merge(image.astype(np.float32), MM, SplitAndMerge())


def test_a_model_learned_from_one_scene_names_the_regions_of_another() -> None:
    model = learn_grey_levels([scene(seed=1)], class_count=3)
    assert model.means == pytest.approx([0, 10, 20], abs=0.1)
    assert model.sds == pytest.approx([1, 1, 1], abs=0.1)
    image, truth = scene(seed=2)
    probabilities = model.probabilities(split_and_merge(image, MM, SplitAndMerge()))
    assert np.abs(probabilities.sum(0) - 1).max() < 1e-5
    assert (probabilities.argmax(0) == truth).mean() > 0.999
    with pytest.raises(InputError, match="no voxel of class 3"):
        learn_grey_levels([scene()], class_count=4)


def test_classes_of_one_grey_level_are_told_apart_by_their_place() -> None:
    image, truth = scene(noise=0)
    halves = np.where(truth > 0, np.where(np.arange(44)[None, :, None] < 22, 1, 2), 0)
    model = learn_grey_levels([(np.where(truth > 0, 10, image).astype(np.float32), halves)], class_count=3)
    found = model.probabilities(split_and_merge(np.where(truth > 0, 10, image).astype(np.float32), MM, SplitAndMerge()))
    assert (found.argmax(0) == halves).mean() > 0.98


def test_seeds_name_their_regions_and_those_alike() -> None:
    image, truth = scene()
    seeds = np.zeros(truth.shape, np.intp)
    seeds[0, 0, 0], seeds[14, 20, 18] = 2, 5
    labels = label_by_seeds(split_and_merge(image, MM, SplitAndMerge()), seeds)
    assert (labels == np.array([2, 5, 5])[truth]).mean() > 0.999
    with pytest.raises(InputError, match="no seed"):
        label_by_seeds(split_and_merge(image, MM, SplitAndMerge()), seeds * 0)
