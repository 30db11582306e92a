"""Resampling, judged by a field whose value at any place is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.imaging import resample
from medseg.imaging.preparing.restore import restore_labels
from medseg.imaging.resample import interpolate, resample_label_map, resample_volume

SCHEMA = load_task("hippocampus_mr").label_schema


def ramp(geometry: Geometry) -> NDArray[np.float32]:
    """2x + 3y + 5z at each voxel centre: linear, so that trilinear interpolation must return it exactly."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    return np.asarray(geometry.world(index) @ (2.0, 3.0, 5.0), dtype=np.float32)


def oblique(shape: tuple[int, int, int], spacing: tuple[float, float, float], degrees: float) -> Geometry:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (-7, 4, 11)
    return Geometry(shape, affine)


@settings(max_examples=25, deadline=None)
@given(
    degrees=st.floats(-40, 40),
    finer=st.floats(0.5, 1.4),
    codes=st.sampled_from(["RAS", "LPS", "ASR", "SRP", "LIA"]),
)
def test_a_linear_field_is_the_same_field_on_any_grid(degrees: float, finer: float, codes: str) -> None:
    source = oblique((20, 22, 18), (1.5, 1.0, 2.0), degrees)
    inner = source.cropped((4, 4, 4), (10, 12, 8)).with_spacing((1.5 * finer, 1.0 * finer, 2.0 * finer))
    target = inner.reoriented(inner.reorientation_to(codes))
    resampled = resample_volume(Volume(ramp(source), source), target)
    np.testing.assert_allclose(resampled.array, ramp(target), atol=2e-3)


def test_the_same_grid_shifted_by_whole_voxels_is_copied_without_interpolation() -> None:
    source = Geometry.from_spacing((6, 7, 8), (1.0, 2.0, 3.0))
    values = np.random.default_rng(0).integers(0, 9, source.shape).astype(np.uint8)
    target = source.cropped((2, 1, 3), (3, 4, 5))
    np.testing.assert_array_equal(interpolate(values, source, target, order=0), values[2:5, 1:5, 3:8])


def test_a_mask_is_background_outside_its_own_grid() -> None:
    source = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    mask = LabelMap(np.full((4, 4, 4), 2, np.uint8), source, SCHEMA)
    for target in (
        source.cropped((-2, -2, -2), (8, 8, 8)),
        source.cropped((-2, -2, -2), (8, 8, 8)).with_spacing((0.5,) * 3),
    ):
        moved = resample_label_map(mask, target).array
        assert moved[0, 0, 0] == 0
        middle = tuple(n // 2 for n in target.shape)
        assert moved[middle] == 2
        assert float((moved == 2).sum()) * target.voxel_volume_ml == pytest.approx(0.064, rel=0.3)


def test_detail_finer_than_the_target_does_not_alias() -> None:
    source = Geometry.from_spacing((64, 8, 8), (1.0, 1.0, 1.0))
    stripes = np.zeros(source.shape, np.float32)
    stripes[::2] = 100.0
    coarse = resample_volume(Volume(stripes, source), source.with_spacing((4.0, 1.0, 1.0))).array
    np.testing.assert_allclose(coarse[2:-2], 50.0, atol=8.0)


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.7, 5.0, 1.9)])
def test_boxes_change_nothing(
    degrees: float, spacing: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = oblique((33, 40, 29), (1.0, 1.1, 0.8), degrees)
    image = Volume(np.random.default_rng(2).integers(-1000, 1000, source.shape).astype(np.int16), source)
    target = oblique((33, 40, 29), (1.0, 1.1, 0.8), 0).with_spacing(spacing)
    monkeypatch.setattr(resample, "BOX_SIDE", 7)
    cut = resample_volume(image, target).array
    # As a whole, by scipy: blurred, then interpolated.
    matrix = np.linalg.inv(source.affine) @ target.affine
    steps = np.abs(matrix[:3, :3]).max(axis=1)
    blurred = ndimage.gaussian_filter(
        image.array.astype(np.float64), [(step - 1) / 2 if step > 1.5 else 0 for step in steps], mode="nearest"
    )
    expected = ndimage.affine_transform(
        blurred, matrix[:3, :3], matrix[:3, 3], output_shape=target.shape, order=1, mode="nearest"
    )
    np.testing.assert_allclose(cut, expected, atol=1e-2)  # of 1000: float32


@pytest.mark.parametrize("side", [1, 5, 10**9])
def test_labels_are_restored_the_same_in_boxes_of_any_size(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "BOX_SIDE", side)
    source = Geometry.from_spacing((10, 11, 12), (2.0, 2.0, 2.0))
    scores = np.random.default_rng(1).random((3, *source.shape)).astype(np.float32)
    target = source.with_spacing((1.3, 1.7, 2.1))
    values = np.array([0, 1, 2], np.uint8)
    whole = np.stack([interpolate(score, source, target, order=1) for score in scores]).argmax(axis=0)
    np.testing.assert_array_equal(restore_labels(scores, source, target, values), values[whole])


def test_restored_labels_are_background_where_the_network_saw_nothing() -> None:
    source = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    scores = np.stack([np.zeros(source.shape), np.ones(source.shape)]).astype(np.float32)
    target = source.cropped((-3, 0, 0), (10, 4, 4))
    restored = restore_labels(scores, source, target, np.array([0, 7], np.uint8))
    np.testing.assert_array_equal(restored[:, 0, 0], [0, 0, 0, 7, 7, 7, 7, 0, 0, 0])


@pytest.mark.parametrize("finer", [0.4, 1.0, 1.7])
def test_cubic_splines_in_boxes_are_those_of_the_whole_volume(finer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "BOX_SIDE", 20)
    source = Geometry.from_spacing((44, 40, 42), (1.0, 1.0, 1.0))
    values = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    target = source.with_spacing((1 / finer, 1 / finer, 1 / finer)).cropped((1, 0, 0), (15, 14, 16))
    found = resample_volume(Volume(values, source), target, order=3, anti_alias=False).array
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"))
    place = source.index(target.world(np.moveaxis(index, 0, -1)))
    expected = ndimage.map_coordinates(values.astype(float), np.moveaxis(place, -1, 0), order=3, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_without_the_blur_every_other_value_is_kept() -> None:
    source = Geometry.from_spacing((8, 8, 8), (1.0, 1.0, 1.0))
    values = np.random.default_rng(0).normal(size=source.shape).astype(np.float32)
    every_other = Geometry.from_spacing((4, 4, 4), (2.0, 2.0, 2.0))
    kept = resample_volume(Volume(values, source), every_other, anti_alias=False).array
    np.testing.assert_allclose(kept, values[::2, ::2, ::2], atol=1e-6)
    assert np.abs(resample_volume(Volume(values, source), every_other).array - kept).max() > 0.1
