"""Grid and dense CRF on made scenes: noise goes, an edge in the image is found again, memory is bounded."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.errors import PlanError
from medseg.core.geometry import Spacing
from medseg.imaging.crf.dense import DenseCRF
from medseg.imaging.crf.grid import GridCRF
from medseg.imaging.crf.region import UncertainRegion, tiles

EVERYWHERE = UncertainRegion(sure_from=1.0, margin_mm=100.0)
MM = (1.0, 1.0, 1.0)

Floats = NDArray[np.float32]


def two_classes(foreground: NDArray[np.floating]) -> Floats:
    return np.stack((1 - foreground, foreground)).astype(np.float32)


def dice(probabilities: Floats, truth: NDArray[np.bool_]) -> float:
    found = probabilities.argmax(0) == 1
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def ball(radius_mm: float, spacing_mm: Spacing = MM, side_mm: float = 32.0) -> NDArray[np.bool_]:
    shape = [round(side_mm / step) for step in spacing_mm]
    grid = (np.moveaxis(np.indices(shape), 0, -1) + 0.5) * spacing_mm - side_mm / 2
    return np.asarray((grid**2).sum(-1) <= radius_mm**2)


def noisy(truth: NDArray[np.bool_], seed: int = 0) -> Floats:
    """Right by 1 nat on average, with noise of 1.5 nats on every voxel."""
    evidence = np.where(truth, 1.0, -1.0) + 1.5 * np.random.default_rng(seed).normal(size=truth.shape)
    return two_classes(1 / (1 + np.exp(-evidence)))


def image_of(truth: NDArray[np.bool_], seed: int = 1) -> Floats:
    noise = 0.2 * np.random.default_rng(seed).normal(size=truth.shape)
    return (np.where(truth, 1.0, -1.0) + noise)[None].astype(np.float32)


@pytest.mark.parametrize("spacing_mm", [MM, (0.8, 0.8, 2.5)])
def test_noise_is_smoothed_away(spacing_mm: Spacing) -> None:
    truth = ball(10, spacing_mm)
    given = noisy(truth)
    assert dice(given, truth) < 0.65
    blind = np.zeros((1, *truth.shape), np.float32)
    smoothed = GridCRF(region=EVERYWHERE, strength_mm=1.0).apply(given, blind, spacing_mm)
    assert dice(smoothed, truth) > 0.92
    assert np.abs(smoothed.sum(0) - 1).max() < 1e-5


def test_the_grid_crf_takes_away_a_thin_sheet_that_the_dense_crf_keeps() -> None:
    truth = ball(9)
    sheet = np.zeros_like(truth)
    sheet[4:28, 4:28, 15:16] = True
    truth |= sheet
    given = two_classes(np.where(truth, 0.6, 0.25))
    thin = sheet & ~ndimage.binary_dilation(ball(9), iterations=2)
    by_grid = GridCRF(region=EVERYWHERE).apply(given, image_of(truth), MM)
    by_dense = DenseCRF(region=EVERYWHERE).apply(given, image_of(truth), MM)
    assert (given.argmax(0)[thin] == 1).all()
    assert (by_grid.argmax(0)[thin] == 1).mean() < 0.1
    assert (by_dense.argmax(0)[thin] == 1).mean() > 0.9


@pytest.mark.parametrize("spacing_mm", [MM, (0.8, 0.8, 2.5)])
def test_a_blurred_boundary_goes_back_to_the_edge_in_the_image(spacing_mm: Spacing) -> None:
    # The model's boundary lies 2 mm outside the true one, and is as soft as that of a coarse score map.
    truth = ball(9, spacing_mm)
    wide = ndimage.gaussian_filter(ball(11, spacing_mm).astype(float), [2 / step for step in spacing_mm])
    given = two_classes(wide)
    dense = DenseCRF(region=EVERYWHERE, position_sd_mm=4.0)
    by_dense = dense.apply(given, image_of(truth), spacing_mm)
    by_grid = GridCRF(region=EVERYWHERE).apply(given, image_of(truth), spacing_mm)
    assert dice(given, truth) < 0.85
    assert abs(dice(by_grid, truth) - dice(given, truth)) < 0.04
    assert dice(by_dense, truth) > 0.97


def test_without_an_edge_in_the_image_the_dense_crf_only_smooths() -> None:
    # Nothing holds the boundary, so a round thing shrinks, as under any Potts model: this is the price on flat images.
    truth = ball(9)
    given = two_classes(ndimage.gaussian_filter(truth.astype(float), 1.5))
    flat = np.zeros((1, *truth.shape), np.float32)
    blind = DenseCRF(region=EVERYWHERE).apply(given, flat, MM)
    seeing = DenseCRF(region=EVERYWHERE).apply(given, image_of(truth), MM)
    assert dice(seeing, truth) > 0.97
    assert 0.75 < dice(blind, truth) < 0.92
    assert (blind.argmax(0) <= truth).all()


def test_beliefs_are_near_those_of_the_sum_over_all_pairs() -> None:
    truth = ball(4, side_mm=12)
    given, image = noisy(truth), image_of(truth)
    crf = DenseCRF(region=EVERYWHERE, smoothness_weight=0.7, iterations=10)
    positions = np.argwhere(np.ones(truth.shape)).astype(float)
    apart = ((positions[:, None] - positions[None]) ** 2).sum(-1)
    unlike = (image.reshape(-1, 1) - image.reshape(1, -1)) ** 2
    coupling = np.zeros(apart.shape)
    for weight, kernel in (
        (3.0, np.exp(-apart / (2 * 3.0**2) - unlike / (2 * 0.5**2))),
        (0.7, np.exp(-apart / 2)),
    ):
        np.fill_diagonal(kernel, 0)
        scale = 1 / np.sqrt(np.maximum(kernel.sum(0), 1))
        coupling += weight * kernel * scale * scale[:, None]
    log_given = np.log(np.maximum(given.reshape(2, -1), 1e-4))
    beliefs = given.reshape(2, -1).astype(float)
    for _ in range(10):
        scores = np.exp(log_given + beliefs @ coupling)
        beliefs = scores / scores.sum(0)
    found = crf.apply(given, image, MM).reshape(2, -1)
    assert np.abs(found - beliefs).mean() < 0.02
    assert (found.argmax(0) == beliefs.argmax(0)).mean() > 0.985
    assert np.abs(given.reshape(2, -1) - beliefs).mean() > 0.2


@pytest.mark.parametrize("make", [GridCRF, DenseCRF])
def test_where_the_model_is_sure_nothing_changes(make: Callable[..., GridCRF | DenseCRF]) -> None:
    truth = ball(9)
    given = two_classes(truth.astype(float))
    image = image_of(truth)
    assert make().apply(given, image, MM) is given
    given[:, 16, 16, 16] = 0.5
    for margin_mm in (1.0, 2.0):
        refined = make(region=UncertainRegion(margin_mm=margin_mm)).apply(given, image, MM)
        changed = np.argwhere(np.abs(refined - given).max(0) > 0)
        assert len(changed) >= 1
        assert np.linalg.norm(changed - 16, axis=1).max() <= margin_mm


def test_the_grid_crf_hears_sure_neighbours_outside_its_region() -> None:
    given = two_classes(np.ones((3, 3, 3)))
    given[:, 1, 1, 1] = (0.6, 0.4)
    region = UncertainRegion(margin_mm=0)
    refined = GridCRF(region=region, strength_mm=0.5).apply(given, given[:1], MM)
    # Six neighbours, each 0.5 nats for foreground: odds of 0.4 / 0.6 times e³.
    assert refined[1, 1, 1, 1] == pytest.approx(1 / (1 + 1.5 * np.exp(-3)), rel=1e-4)


def test_tiles_share_out_a_region_and_none_is_larger_than_allowed() -> None:
    given = noisy(ball(10))
    region = UncertainRegion(sure_from=0.9, margin_mm=0).find(given, MM)
    assert region is not None
    counted = np.zeros(given.shape[1:], int)
    parts = list(tiles(region, halo=(3, 3, 2), max_voxels=6000))
    assert len(parts) > 2
    for part in parts:
        assert part.voxels.sum() <= 6000
        assert not (part.core & ~part.voxels).any()
        counted[part.context] += part.core
    assert np.array_equal(counted > 0, region.mask)
    assert counted.max() == 1
    with pytest.raises(PlanError, match="raise max_voxels"):
        list(tiles(region, halo=(20, 20, 20), max_voxels=1000))


def test_tiles_give_nearly_what_the_whole_gives() -> None:
    truth = ball(10, side_mm=36)
    given, image = noisy(truth), image_of(truth)
    whole = DenseCRF(region=EVERYWHERE, position_sd_mm=2.0).apply(given, image, MM)
    tiled = DenseCRF(region=EVERYWHERE, position_sd_mm=2.0, max_voxels=30_000).apply(given, image, MM)
    assert np.abs(whole - tiled).max() > 0
    assert (whole.argmax(0) == tiled.argmax(0)).mean() > 0.995


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("crf", [GridCRF(region=EVERYWHERE), DenseCRF(region=EVERYWHERE)])
def test_the_gpu_gives_what_the_cpu_gives(crf: GridCRF | DenseCRF) -> None:
    truth = ball(9)
    given, image = noisy(truth), image_of(truth)
    by_gpu = crf.apply(given, image, MM, torch.device("cuda"))
    assert np.abs(by_gpu - crf.apply(given, image, MM)).max() < 0.01
