"""The sliding window plane by plane says what the sweep in memory says, whatever the axis, the grid and the order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, special
from torch import Tensor, nn

from medseg.core.geometry import Geometry, Shape
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.imaging.preparing.normalize import FixedScale, ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.inference.sliding_window import LOGIT_RANGE, PatchReader, sweep
from medseg.models.inference.streaming import home_of_scores, plan_sweep, stream_scores
from medseg.models.spec import ModelSpec, SlidingWindow

CPU = torch.device("cpu")


class Mixed(nn.Module):
    """Scores of three classes that differ with the voxel, its neighbours along each axis, and its place in a window."""

    def forward(self, images: Tensor) -> list[Tensor]:
        i, j, k = (torch.linspace(-1, 1, n) for n in images.shape[2:])
        place = i[:, None, None] + 2 * j[None, :, None] - k[None, None, :]
        near = images.roll(1, 2) - 2 * images.roll(1, 3) + 0.5 * images.roll(1, 4)
        return [torch.cat([images + place, near - place, 0.3 * images * near], dim=1)]


class Counted(Mixed):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, images: Tensor) -> list[Tensor]:
        self.count += 1
        return super().forward(images)


def scan(shape: Shape, seed: int = 0, spacing: tuple[float, float, float] = (1.0, 1.0, 1.5)) -> Volume:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Volume(ndimage.gaussian_filter(values, 1.0), Geometry.from_spacing(shape, spacing, (-9.0, 3.0, 5.0)))


def streamed(network: nn.Module, volume: Volume, window: SlidingWindow, axis: int | None) -> NDArray[np.float64]:
    """Probabilities (class, i, j, k), put together from the planes and turned back."""
    planes = Preparation(spacing_mm=volume.geometry.spacing_mm, normalization=(ZScore(),)).planes({"MR": volume})
    plan = plan_sweep(planes.geometry.shape, window, axis)
    parts = stream_scores(PatchReader(network, window, CPU), planes.along(plan.axes), window, plan, 3)
    whole = np.concatenate([part.numpy().copy() for part in parts], axis=1) / plan.one
    back = [plan.axes.index(n) + 1 for n in range(3)]
    return whole.transpose(0, *back)


def in_memory(network: nn.Module, volume: Volume, window: SlidingWindow) -> NDArray[np.float32]:
    prepared = Preparation(spacing_mm=volume.geometry.spacing_mm, normalization=(ZScore(),)).apply({"MR": volume})
    return sweep(network, prepared.array, window, class_count=3, device=CPU)


@pytest.mark.parametrize("shape", [(19, 23, 31), (8, 30, 9), (5, 20, 6), (4, 4, 4)])
@pytest.mark.parametrize("blend", ["gaussian", "nnunet", "even"])
def test_planes_along_any_axis_hold_what_the_sweep_in_memory_says(shape: Shape, blend: Any) -> None:
    window = SlidingWindow(patch=(8, 6, 10), overlap=0.5, mirror_axes=(1,), blend=blend)
    expected = in_memory(Mixed(), scan(shape), window)
    results = [streamed(Mixed(), scan(shape), window, axis) for axis in (0, 1, 2)]
    plan = plan_sweep(shape, window, 0)
    # Half a unit for each window over a voxel, and float32's rounding of the sum that it is compared with.
    np.testing.assert_allclose(results[0], expected, atol=0.5 * plan.windows_over_a_voxel / plan.one + 1e-6, rtol=0)
    # Three axes are three orders of the windows: whole numbers sum to the same in each, up to a share's last bit.
    for other in results[1:]:
        assert np.abs(other - results[0]).max() <= 1.01 / plan.one
        assert (other != results[0]).mean() < 1e-3


def test_logits_are_averaged_and_become_the_probabilities_of_the_mean() -> None:
    window = SlidingWindow(patch=(8, 6, 10), mirror_axes=(1,), average="logits")
    volume = scan((19, 23, 31))
    scores = streamed(Mixed(), volume, window, None)
    assert scores.max() == pytest.approx(1, abs=1e-3)
    mean = in_memory(Mixed(), volume, window)  # computed in float32, with no scale and no whole numbers
    np.testing.assert_allclose(special.softmax(scores * LOGIT_RANGE, axis=0), mean, atol=5e-3)
    plain = in_memory(Mixed(), volume, window.model_copy(update={"average": "probabilities"}))
    assert np.abs(plain - mean).max() > 0.02


def test_a_large_overlap_is_summed_in_four_bytes() -> None:
    window = SlidingWindow(patch=(8, 8, 8), overlap=0.9)
    plan = plan_sweep((14, 12, 11), window)
    assert plan.windows_over_a_voxel > 64
    assert plan.score_type == torch.int32
    assert plan_sweep((14, 12, 11), SlidingWindow(patch=(8, 8, 8))).score_type == torch.int16
    expected = in_memory(Mixed(), scan((14, 12, 11)), window)
    np.testing.assert_allclose(streamed(Mixed(), scan((14, 12, 11)), window, None), expected, atol=2e-6)


def test_the_axis_is_the_one_whose_planes_are_smallest() -> None:
    window = SlidingWindow(patch=(8, 8, 8))
    assert plan_sweep((20, 20, 40), window).axes == (2, 0, 1)
    assert plan_sweep((20, 40, 20), window).axes == (1, 0, 2)
    assert plan_sweep((20, 20, 20), window).axes == (0, 1, 2)
    flat = SlidingWindow(patch=(2, 8, 8))  # a thin window holds few planes
    assert plan_sweep((20, 20, 40), flat).axes == (0, 1, 2)
    assert plan_sweep((20, 20, 40), window, 0).axes == (0, 1, 2)


def test_scores_lie_on_a_gpu_where_it_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, gpu = plan_sweep((64, 64, 64), SlidingWindow(patch=(16, 16, 16))), torch.device("cuda")
    assert home_of_scores(CPU, plan, 5) == CPU
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (10**12, 10**12))
    assert home_of_scores(gpu, plan, 5) == gpu
    held = 5 * 64 * 64 * 2 * 16  # classes, a plane, two bytes, the planes of a window
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (2 * held, 10**12))
    assert home_of_scores(gpu, plan, 5) == CPU


def test_windows_over_a_voxel_are_counted() -> None:
    plan = plan_sweep((8, 12, 16), SlidingWindow(patch=(8, 8, 8), overlap=0.5))
    assert plan.starts == ((0, 4, 8), (0,), (0, 4))  # along k, then i, j
    assert plan.windows_over_a_voxel == 2 * 1 * 2
    assert plan.window_count == 6


def test_windows_of_one_constant_value_are_read_once_and_change_nothing() -> None:
    values = np.full((16, 16, 64), -1000, np.float32)
    values[:, :, :12] = scan((16, 16, 12)).array * 300
    volume = Volume(values, Geometry.from_spacing(values.shape, (1.0, 1.0, 1.0)), "HU")
    preparation = Preparation(
        spacing_mm=(1.0, 1.0, 1.0), normalization=(FixedScale(lower=-500, upper=500, mean=0, sd=100),)
    )

    def run(window: SlidingWindow) -> tuple[NDArray[Any], int]:
        planes, network = preparation.planes({"CT": volume}), Counted()
        plan = plan_sweep(planes.geometry.shape, window)
        read = PatchReader(network, window, CPU)
        parts = stream_scores(read, planes.along(plan.axes), window, plan, 3)
        return np.concatenate([part.numpy().copy() for part in parts], axis=1), network.count

    window = SlidingWindow(patch=(8, 8, 8))
    spared, few = run(window)
    plain, many = run(window.model_copy(update={"reuse_constant": False}))
    np.testing.assert_array_equal(spared, plain)
    assert many == 3 * 3 * 15
    assert few == 3 * 3 * 3 + 1  # rows that begin at 0, 4 and 8 hold tissue; of all the others the network saw one


def test_two_constants_are_two_answers() -> None:
    network = Counted()
    read = PatchReader(network, SlidingWindow(patch=(4, 4, 4)), CPU)
    patches = [np.full((1, 4, 4, 4), value, np.float32) for value in (0.0, 1.0)]
    first, second = read(patches[0]), read(patches[1])
    assert not torch.equal(first, second)
    assert torch.equal(read(patches[1]), second)
    assert network.count == 2
    assert torch.equal(read(patches[0]), first)


def oracle(spec: ModelSpec, network: nn.Module, volume: Volume) -> NDArray[np.unsignedinteger[Any]]:
    """The mask as it was made before: all scores in memory, scipy's interpolation of whole classes, then argmax."""
    prepared = spec.preparation.apply({"MR": volume})
    scores = sweep(network, prepared.array, spec.window, class_count=spec.class_count, device=CPU)
    to_source = np.linalg.inv(prepared.geometry.affine) @ volume.geometry.affine
    there = np.stack(
        [
            ndimage.affine_transform(
                score, to_source[:3, :3], to_source[:3, 3], volume.geometry.shape, order=1, mode="nearest"
            )
            for score in scores
        ]
    ).argmax(axis=0)
    index = np.stack(np.meshgrid(*map(np.arange, volume.geometry.shape), indexing="ij"), axis=-1)
    place = prepared.geometry.index(volume.geometry.world(index))
    inside = ((place >= -0.5 - 1e-4) & (place <= np.asarray(prepared.geometry.shape) - 0.5 + 1e-4)).all(axis=-1)
    values = np.asarray(spec.task.label_schema.indices, np.uint8)
    return values[np.where(inside, there, 0)]


def grids() -> Iterator[Any]:
    """The kinds of scans: stored in other orders, finer and coarser than the model, turned, sheared, one slice."""
    upright = Geometry.from_spacing((30, 26, 41), (1.0, 1.0, 1.0), (4.0, -7.0, 2.0))
    for codes in ("RAS", "LPS", "SAL", "PIR"):
        yield pytest.param(upright.reoriented(upright.reorientation_to(codes)), id=codes)
    finer = Geometry.from_spacing((52, 44, 37), (0.55, 0.6, 1.3))
    yield pytest.param(finer.reoriented(finer.reorientation_to("LPS")), id="finer")
    yield pytest.param(Geometry.from_spacing((14, 13, 9), (2.2, 1.9, 3.0)), id="coarser")
    yield pytest.param(Geometry.from_spacing((30, 26, 1), (1.0, 1.0, 4.0)), id="one slice")
    yield pytest.param(Geometry.from_spacing((30, 26, 41), (1.004, 0.996, 1.0)), id="not resampled")
    for degrees, shear in ((20, 0.0), (44, 0.0), (0, 0.25), (13, -0.3)):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]]) * (0.9, 1.2, 1.1)
        yield pytest.param(Geometry((28, 25, 33), affine), id=f"turned {degrees}, sheared {shear}")


@pytest.mark.parametrize("grid", list(grids()))
def test_the_mask_on_any_scan_is_the_one_of_the_whole_volume(
    grid: Geometry, spec: ModelSpec, weights: dict[str, Tensor], provenance: Provenance
) -> None:
    values = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=grid.shape), 2.0).astype(np.float32)
    volume = Volume(values, grid)
    segmenter = NetworkSegmenter(ModelBundle("m", "0", spec, weights, provenance, None), CPU)
    segmenter._network = Mixed()  # quicker than a U-Net, and its three classes are all there
    mask = segmenter.segment({"MR": volume}).label_map
    expected = oracle(spec, Mixed(), volume)
    assert mask.geometry == grid
    assert len(np.unique(expected)) == 3
    # Not one voxel in a thousand: those whose two best classes lie closer than the rounding of a score, 1 in 32 000.
    assert (np.asarray(mask.array) != expected).mean() < 1e-3


def test_threads_change_a_probability_by_no_more_than_bfloat16_can_say(
    spec: ModelSpec, weights: dict[str, Tensor]
) -> None:
    network = spec.network.build(1, 3)
    network.load_state_dict({**network.state_dict(), **weights})
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(streamed(network, scan((20, 18, 22)), spec.window, None))
    finally:
        torch.set_num_threads(before)
    assert np.abs(results[0] - results[1]).max() < 2**-7
    assert load_task("hippocampus_mr").label_schema.indices == (0, 1, 2)
