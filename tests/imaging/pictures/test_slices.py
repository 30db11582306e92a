"""Pictures of the three planes against a phantom whose anatomy is known by construction."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema
from medseg.core.task import Window
from medseg.core.volume import Volume
from medseg.imaging.pictures.slices import (
    PLANES,
    edges,
    for_screen,
    grey,
    mask_for_screen,
    mask_from_screen,
    percentile_window,
    picture,
    pixel_mm,
    to_screen_index,
)

CODE = Code(value="4147007", scheme="SCT", meaning="Mass")
SCHEMA = LabelSchema(labels=(Label(index=1, name="mass", code=CODE, category=CODE, colour=(255, 0, 0)),))
EVERY_ORIENTATION = [
    "".join(letters[flip] for letters, flip in zip(order, flips, strict=True))
    for order in permutations(("LR", "PA", "IS"))
    for flips in product((0, 1), repeat=3)
]


def ras_volume() -> Volume:
    """An RAS+ volume (i right, j front, k head) whose voxel (i, j, k) holds 100 i + 10 j + k."""
    i, j, k = np.indices((4, 5, 6))
    return Volume((100 * i + 10 * j + k).astype(np.int16), Geometry.from_spacing((4, 5, 6), (1.0, 2.0, 3.0)), "HU")


@pytest.mark.parametrize("axis_codes", EVERY_ORIENTATION)
def test_every_stored_orientation_gives_the_same_pictures(axis_codes: str) -> None:
    screen = for_screen(ras_volume().reoriented(axis_codes))
    # Axial 2, top left: the patient's right (i = 3) and front (j = 4).
    axial = picture(screen.array, "axial", 2)
    assert axial[0].tolist() == [342, 242, 142, 42]
    assert axial[:, 0].tolist() == [342, 332, 322, 312, 302]
    # Coronal 0 is the foremost (j = 4); top left: right and head (k = 5).
    coronal = picture(screen.array, "coronal", 0)
    assert coronal[0].tolist() == [345, 245, 145, 45]
    assert coronal[:, 0].tolist() == [345, 344, 343, 342, 341, 340]
    # Sagittal 0 is the rightmost (i = 3); top left: front and head.
    sagittal = picture(screen.array, "sagittal", 0)
    assert sagittal[0].tolist() == [345, 335, 325, 315, 305]
    assert sagittal[:, 0].tolist() == [345, 344, 343, 342, 341, 340]
    assert [pixel_mm(screen.geometry, plane) for plane in PLANES] == [(2.0, 1.0), (3.0, 1.0), (3.0, 2.0)]


@pytest.mark.parametrize("axis_codes", EVERY_ORIENTATION)
def test_letters_name_the_edges(axis_codes: str) -> None:
    geometry = for_screen(ras_volume().reoriented(axis_codes)).geometry
    letters = [(e.left, e.right, e.top, e.bottom) for e in (edges(geometry, plane) for plane in PLANES)]
    assert letters == [("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I")]


def test_an_oblique_grid_takes_its_nearest_axes_and_two_letters() -> None:
    angle = np.deg2rad(30.0)
    affine = np.eye(4)
    affine[:3, 0] = (np.cos(angle), np.sin(angle), 0.0)
    affine[:3, 1] = (-np.sin(angle), np.cos(angle), 0.0)
    volume = ras_volume()
    screen = for_screen(Volume(volume.array, Geometry((4, 5, 6), affine), "HU"))
    assert np.array_equal(screen.array, for_screen(volume).array)
    axial = edges(screen.geometry, "axial")
    assert (axial.left, axial.right, axial.top, axial.bottom) == ("RA", "LP", "AL", "PR")


def test_ten_degrees_are_one_letter() -> None:
    angle = np.deg2rad(10.0)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert edges(for_screen(Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 2), affine))).geometry, "axial").left == "R"


@pytest.mark.parametrize("axis_codes", EVERY_ORIENTATION)
def test_a_mask_comes_back_voxel_for_voxel(axis_codes: str) -> None:
    volume = ras_volume().reoriented(axis_codes)
    labels = (np.random.default_rng(7).random(volume.geometry.shape) < 0.3).astype(np.uint8)
    label_map = LabelMap(labels, volume.geometry, SCHEMA)
    back = mask_from_screen(mask_for_screen(label_map), volume.geometry, SCHEMA)
    assert np.array_equal(back.array, labels)
    assert back.geometry == volume.geometry


@pytest.mark.parametrize("axis_codes", EVERY_ORIENTATION)
def test_an_index_points_at_the_same_voxel(axis_codes: str) -> None:
    volume = ras_volume().reoriented(axis_codes)
    index = (1, 2, 3)
    i, j, k = to_screen_index(volume.geometry, index)
    assert for_screen(volume).array[k, j, i] == volume.array[index]


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"does not fit the scan, which is \(6, 5, 4\)"):
        mask_from_screen(np.zeros((4, 5, 6), np.uint8), ras_volume().geometry, SCHEMA)


def test_a_missing_slice_is_a_sentence() -> None:
    with pytest.raises(InputError, match="no axial slice 6: the volume has slices 0 to 5"):
        picture(for_screen(ras_volume()).array, "axial", 6)


def test_window_levels_by_hand() -> None:
    # Centre 40, width 400: -160 is black, 240 white; 40 is the middle, 127.5 rounded up.
    levels = grey(np.array([-1000, -160, 40, 140, 240, 3000]), Window(centre=40, width=400))
    assert levels.tolist() == [0, 0, 128, 191, 255, 255]


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.int32])
def test_whole_numbers_stay_exact(dtype: type) -> None:
    array: NDArray[Any] = np.array([-1024, 0, 3071, 32767], dtype=dtype).reshape(1, 2, 2)
    screen = for_screen(Volume(array, Geometry.from_spacing((1, 2, 2), (1, 1, 1))))
    assert (screen.slope, screen.intercept) == (1.0, 0.0)
    assert sorted(screen.values("sagittal", 0).ravel().tolist()) == [-1024, 0, 3071, 32767]


def test_unsigned_values_stay_exact() -> None:
    array = np.array([10, 40000, 65535], dtype=np.uint16).reshape(1, 1, 3)
    screen = for_screen(Volume(array, Geometry.from_spacing((1, 1, 3), (1, 1, 1))))
    assert sorted(screen.values("sagittal", 0).ravel().tolist()) == [10, 40000, 65535]


def test_fractions_are_within_half_a_step_and_nan_is_the_lowest() -> None:
    values: NDArray[np.float32] = np.linspace(0.0, 7.3, 24, dtype=np.float32).reshape(2, 3, 4)
    values[0, 0, 1] = np.nan
    screen = for_screen(Volume(values, Geometry.from_spacing((2, 3, 4), (1, 1, 1))))
    shown = np.sort(np.stack([screen.values("axial", k) for k in range(4)]).ravel())
    wanted = np.sort(np.nan_to_num(values, nan=0.0).ravel())
    assert np.abs(shown - wanted).max() <= 7.3 / 65535 / 2 + 1e-6


@pytest.mark.parametrize("value", [0.25, np.nan])
def test_one_value_only_is_shown(value: float) -> None:
    volume = Volume(np.full((2, 2, 2), value), Geometry.from_spacing((2, 2, 2), (1, 1, 1)))
    assert np.isfinite(for_screen(volume).values("axial", 0)).all()
    assert percentile_window(volume).width > 0


def test_percentile_window_spans_the_body_not_the_air() -> None:
    array = np.zeros((20, 20, 20))
    array[5:15, 5:15, 5:15] = np.linspace(100, 200, 1000).reshape(10, 10, 10)
    window = percentile_window(Volume(array, Geometry.from_spacing((20, 20, 20), (1, 1, 1))))
    assert window.centre == pytest.approx(150.0, abs=1.0)
    assert window.width == pytest.approx(98.5, abs=1.0)


def test_a_thinned_volume_keeps_values_and_places() -> None:
    whole = for_screen(ras_volume())
    half = for_screen(ras_volume(), 2)
    assert half.array.shape == (6, 3, 2)
    assert half.array[3, 2, 1] == whole.array[3, 4, 2]
    assert np.allclose(half.geometry.world((1, 2, 3)), whole.geometry.world((2, 4, 3)))
    assert half.geometry.shape == half.array.shape[::-1]
    assert for_screen(ras_volume(), 5).array.shape[1:] == whole.array[0, ::5, ::5].shape
