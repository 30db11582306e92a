"""Windows that cover, weights that blend, and a sweep that gives back what a voxel-wise network says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn

from medseg.models.inference.sliding_window import gaussian_weights, nnunet_weights, sweep, window_starts
from medseg.models.spec import SlidingWindow

CPU = torch.device("cpu")


class VoxelWise(nn.Module):
    """Scores that depend on each voxel alone, so that any window must say the same of it."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [torch.cat([-images, images], dim=1)]


class PlaceInWindow(nn.Module):
    """Scores that depend on the place in the window along i, and not on the image: the blend shows."""

    def forward(self, images: Tensor) -> list[Tensor]:
        ramp = torch.linspace(-1, 1, images.shape[2]).view(1, 1, -1, 1, 1).expand_as(images)
        return [torch.cat([-ramp, ramp], dim=1)]


@given(length=st.integers(1, 300), side=st.integers(1, 64), overlap=st.floats(0, 0.9))
def test_windows_cover_every_voxel_with_the_wanted_overlap(length: int, side: int, overlap: float) -> None:
    starts = window_starts(length, side, overlap)
    covered = np.zeros(max(length, side), bool)
    for start in starts:
        covered[start : start + side] = True
    assert covered[:length].all()
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == max(0, length - side)
    assert max(np.diff(starts), default=0) <= max(1, np.ceil(side * (1 - overlap)))


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 9, 30), (17, 8, 11)])
@pytest.mark.parametrize("mirror_axes", [(), (0,), (0, 1, 2)])
def test_a_voxel_wise_network_is_swept_exactly(shape: tuple[int, int, int], mirror_axes: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    window = SlidingWindow(patch=(8, 8, 8), overlap=0.5, mirror_axes=mirror_axes)
    scores = sweep(VoxelWise(), image, window, class_count=2, device=CPU)
    expected = 1 / (1 + np.exp(-2 * image[0]))
    assert scores.shape == (2, *shape)
    np.testing.assert_allclose(scores[1], expected, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)


def test_the_middle_of_a_window_outweighs_its_border() -> None:
    window = SlidingWindow(patch=(8, 8, 8), overlap=0.5)
    scores = sweep(PlaceInWindow(), np.zeros((1, 12, 8, 8), np.float32), window, class_count=2, device=CPU)
    first = torch.softmax(torch.stack([-torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8)]), 0)[1].numpy()
    weight = gaussian_weights((8, 8, 8))[:, 4, 4].numpy()
    # voxel 5 lies at place 5 of the window from 0 and at place 1 of the window from 4
    blended = (weight[5] * first[5] + weight[1] * first[1]) / (weight[5] + weight[1])
    assert scores[1, 5, 4, 4] == pytest.approx(blended, abs=1e-5)
    assert weight[4] > 100 * weight[0] / 10


def test_mirrored_views_cancel_what_only_the_side_explains() -> None:
    window = SlidingWindow(patch=(8, 8, 8), mirror_axes=(0,))
    scores = sweep(PlaceInWindow(), np.zeros((1, 8, 8, 8), np.float32), window, class_count=2, device=CPU)
    np.testing.assert_allclose(scores, 0.5, atol=1e-5)


@pytest.mark.parametrize("patch", [(8, 10, 12), (9, 16, 7), (40, 56, 40)])
def test_nnunets_weights_are_those_of_its_recipe(patch: tuple[int, int, int]) -> None:
    point = np.zeros(patch)  # nnunetv2/inference/sliding_window_prediction.py, compute_gaussian
    point[tuple(side // 2 for side in patch)] = 1
    weights = ndimage.gaussian_filter(point, [side / 8 for side in patch], 0, mode="constant", cval=0)
    weights = (weights / weights.max() * 10).astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    np.testing.assert_allclose(nnunet_weights(patch) * 10, weights.astype(np.float32), rtol=2e-3, atol=1.3e-7)


def test_where_windows_overlap_logits_are_averaged_when_asked_for() -> None:
    window = SlidingWindow(patch=(8, 8, 8), overlap=0.5, average="logits")
    scores = sweep(PlaceInWindow(), np.zeros((1, 12, 8, 8), np.float32), window, class_count=2, device=CPU)
    ramp = np.linspace(-1, 1, 8)
    weight = gaussian_weights((8, 8, 8))[:, 4, 4].numpy()
    # voxel 5 lies at place 5 of the window from 0 and at place 1 of the window from 4: logits are -ramp and +ramp, and
    # of each only the difference to the higher one counts
    blended = (weight[5] * ramp[5] + weight[1] * ramp[1]) / (weight[5] + weight[1])
    assert scores[1, 5, 4, 4] == pytest.approx(1 / (1 + np.exp(-2 * blended)), abs=1e-5)


def test_a_class_far_below_is_not_lost_to_the_scale() -> None:
    certain = np.full((1, 8, 8, 8), 40, np.float32)
    scores = sweep(VoxelWise(), certain, SlidingWindow(patch=(8, 8, 8), average="logits"), class_count=2, device=CPU)
    np.testing.assert_allclose(scores[1], 1, atol=1e-6)


def test_progress_counts_windows() -> None:
    seen: list[tuple[int, int]] = []
    window = SlidingWindow(patch=(8, 8, 8), overlap=0.0)
    sweep(
        VoxelWise(),
        np.zeros((1, 16, 8, 8), np.float32),
        window,
        class_count=2,
        device=CPU,
        progress=lambda *p: seen.append(p),
    )
    assert seen == [(1, 2), (2, 2)]
