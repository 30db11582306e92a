"""What a network sees, and that the way back lands on the scan's own grid."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import GeometryError, InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.imaging.preparing.normalize import FixedScale, ZScore
from medseg.imaging.preparing.padding import pad_to
from medseg.imaging.preparing.preparation import Preparation

SCHEMA = load_task("hippocampus_mr").label_schema
PREPARATION = Preparation(spacing_mm=(1.0, 1.0, 1.5), normalization=(ZScore(),))


def ball(geometry: Geometry, centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(geometry.world(index) - np.asarray(centre_mm), axis=-1) <= radius_mm)


@settings(max_examples=30, deadline=None)
@given(
    codes=st.sampled_from(["RAS", "LPS", "PSR", "IAL", "SRA"]),
    spacing=st.tuples(*(st.floats(0.6, 2.5),) * 3),
    degrees=st.floats(-30, 30),
    shear=st.floats(-0.3, 0.3),
)
def test_a_mask_comes_back_onto_the_same_anatomy_on_the_same_grid(
    codes: str, spacing: tuple[float, float, float], degrees: float, shear: float
) -> None:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    tilt = np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]])
    affine[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ tilt * spacing
    upright = Geometry((40, 38, 36), affine)
    scan = upright.reoriented(upright.reorientation_to(codes))
    centre = tuple(scan.centre_mm)
    truth = ball(scan, centre, 10.0)
    prepared = PREPARATION.apply({"MR": Volume(truth.astype(np.float32), scan)})
    assert not prepared.geometry.is_sheared
    assert prepared.geometry.spacing_mm == pytest.approx((1.0, 1.0, 1.5), rel=0.02)
    inside = ball(prepared.geometry, centre, 10.0).astype(np.float32)
    scores = np.stack([1 - inside, inside, np.zeros_like(inside)])
    restored = prepared.restore(scores, SCHEMA)
    assert restored.geometry == scan
    found = restored.mask(1)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.93


def test_the_patients_right_is_the_first_axis_of_what_the_network_sees() -> None:
    affine = np.diag((-1.0, -1.0, 1.5, 1.0))  # stored LPS
    scan = Geometry((10, 12, 8), affine)
    values = np.zeros(scan.shape, np.float32)
    values[1, 6, 4] = 1.0  # near the largest x: the patient's right
    prepared = PREPARATION.apply({"MR": Volume(values, scan)})
    assert prepared.geometry.axis_codes == "RAS"
    assert np.unravel_index(prepared.array[0].argmax(), prepared.array[0].shape) == (8, 5, 4)


def test_a_scan_of_the_wanted_spacing_is_not_resampled() -> None:
    scan = Geometry.from_spacing((9, 9, 9), (1.004, 0.996, 1.5))
    values = np.random.default_rng(0).normal(size=scan.shape).astype(np.float32)
    prepared = PREPARATION.apply({"MR": Volume(values, scan)})
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(prepared.array[0], expected, atol=1e-5)


def test_labels_become_class_numbers() -> None:
    scan = Geometry.from_spacing((2, 2, 1), (1.0, 1.0, 1.5))
    task = load_task("phantom_ct")
    sparse = task.label_schema.model_copy(update={"labels": task.labels[1:3]})  # labels 2 and 3
    mask = LabelMap(np.array([[[0], [2]], [[3], [3]]], np.uint8), scan, sparse)
    np.testing.assert_array_equal(PREPARATION.apply_to_labels(mask)[..., 0], [[0, 1], [2, 2]])


def test_channels_on_different_grids_are_refused_with_the_distance() -> None:
    preparation = Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(), ZScore()))
    here = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    there = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 2.5))
    images = {"A": Volume(np.zeros((4, 4, 4)), here), "B": Volume(np.zeros((4, 4, 4)), there)}
    with pytest.raises(GeometryError, match=r"channels A and B are on different grids.*2\.500 mm apart"):
        preparation.apply(images)
    with pytest.raises(InputError, match="takes 2 channels, got 1"):
        preparation.apply({"A": images["A"]})


def test_an_absurd_spacing_is_refused_before_memory_is_taken() -> None:
    huge = Volume(np.zeros((50, 50, 50), np.float32), Geometry.from_spacing((50, 50, 50), (90.0, 90.0, 90.0)))
    with pytest.raises(InputError, match="Is its spacing right"):
        PREPARATION.apply({"MR": huge})


def test_a_scan_in_parts_has_the_mean_and_spread_of_the_whole() -> None:
    values = np.concatenate([np.full(10, 1000.0), np.arange(90), np.full(300, -7.0)]).astype(np.float32)
    parts = [values[:10], values[10:60], values[60:]]
    expected = (values - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)
    np.testing.assert_allclose(ZScore().fit(parts)(values), expected, atol=1e-5)
    np.testing.assert_allclose(ZScore().apply(values), expected, atol=1e-5)


def test_fixed_scale_clips_then_standardises() -> None:
    scale = FixedScale(lower=-100, upper=300, mean=50, sd=25)
    np.testing.assert_allclose(scale.apply(np.array([-1000, 50, 75, 3000], np.float32)), [-6, 0, 1, 10])
    with pytest.raises(ValueError, match="below upper"):
        FixedScale(lower=5, upper=5, mean=0, sd=1)


def test_a_constant_scan_stays_finite() -> None:
    np.testing.assert_array_equal(ZScore().apply(np.full((3, 3), 7.0, np.float32)), np.zeros((3, 3)))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_planes_hold_the_numbers_of_the_whole(
    codes: str, axes: tuple[int, int, int], interpolation: Literal["linear", "cubic"]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, 1, 0.2], [0, 0, 1]]) * (0.4, 1.3, 1.5)  # finer, coarser, sheared
    grid = Geometry((31, 17, 19), affine)
    values = np.random.default_rng(0).normal(200, 50, grid.shape).astype(np.int16)
    volume = Volume(values, grid).reoriented(codes)
    preparation = Preparation(
        spacing_mm=(1.0, 1.0, 1.5),
        normalization=(ZScore(), FixedScale(lower=150, upper=300, mean=200, sd=9)),
        interpolation=interpolation,
        anti_alias=interpolation == "linear",
    )
    images = {"MR": volume, "CT": volume}
    whole = preparation.apply(images)
    planes = preparation.planes(images).along(axes)
    parts = np.concatenate(
        [
            planes.planes(start, min(start + 4, planes.geometry.shape[0]))
            for start in range(0, planes.geometry.shape[0], 4)
        ],
        axis=1,
    )
    expected = whole.array.transpose(0, *(axis + 1 for axis in axes))
    np.testing.assert_allclose(parts, expected, atol=1e-5)
    np.testing.assert_allclose(planes.lowest(), expected.min(axis=(1, 2, 3)), atol=1e-5)
    assert planes.scan_geometry == volume.geometry
    assert float(expected[0].mean()) == pytest.approx(0, abs=1e-4)
    assert float(expected[0].std()) == pytest.approx(1, abs=1e-4)


def test_padding_surrounds_each_channel_with_its_lowest_value() -> None:
    image = np.stack([np.full((2, 3, 4), 5.0), np.full((2, 3, 4), -1.0)]).astype(np.float32)
    image[0, 0, 0, 0] = 2.0
    padded, before = pad_to(image, (5, 3, 6))
    assert before == (1, 0, 1)
    assert padded.shape == (2, 5, 3, 6)
    assert (padded[0, 0] == 2.0).all()
    assert (padded[1] == -1.0).all()
    np.testing.assert_array_equal(padded[:, 1:3, :, 1:5], image)
    same, _ = pad_to(image, (2, 3, 4))
    assert same is image
