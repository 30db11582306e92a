"""Intensity, contrast and PET peak on images made by formula."""

import math

import numpy as np
import pytest

from medseg.analysis.quantification.intensity import PEAK_RADIUS_MM, contrast_to_noise, intensity_of, peak_of
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.imaging.regions.components import Component, connected_components

SCHEMA = load_task("phantom_ct").label_schema


def piece(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Component:
    (component,) = connected_components(mask)
    return component


def test_the_peak_ball_holds_one_millilitre() -> None:
    assert 4 / 3 * math.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0), (4.0, 4.0, 5.0)])
def test_the_peak_of_a_hot_ball_of_one_millilitre_is_its_own_value(spacing_mm: tuple[float, float, float]) -> None:
    # The image is the partial volume of the ball that the peak is taken over: the mean in it is sum of squares / sum.
    shape = (21, 21, 21)
    geometry = Geometry.from_spacing(shape, spacing_mm)
    fine = (np.moveaxis(np.indices([n * 5 for n in shape]), 0, -1) + 0.5) / 5 - 0.5 - 10
    share = ((fine * spacing_mm) ** 2).sum(-1) <= PEAK_RADIUS_MM**2
    image = share.reshape(21, 5, 21, 5, 21, 5).mean(axis=(1, 3, 5))
    peak = peak_of(piece(image > 0.5), Volume(6.0 * image, geometry, "SUVbw"))
    assert peak == pytest.approx(6.0 * (image**2).sum() / image.sum())


def test_the_peak_is_sought_inside_the_lesion_only_and_skips_what_has_no_value() -> None:
    geometry = Geometry.from_spacing((40, 20, 20), (2.0, 2.0, 2.0))
    image = np.full((40, 20, 20), 3.0)
    image[30:] = 50.0  # a hot bladder, far from the lesion
    image[10, 10, 10] = np.nan
    mask = np.zeros(image.shape, bool)
    mask[8:13, 8:13, 8:13] = True
    assert peak_of(piece(mask), Volume(image, geometry, "SUVbw")) == pytest.approx(3.0)
    assert peak_of(piece(mask), Volume(np.full_like(image, np.nan), geometry, "SUVbw")) is None


def test_the_peak_at_the_border_is_the_mean_of_what_is_there() -> None:
    geometry = Geometry.from_spacing((12, 12, 12), (2.0, 2.0, 2.0))
    mask = np.zeros((12, 12, 12), bool)
    mask[0:2, 0:2, 0:2] = True
    assert peak_of(piece(mask), Volume(np.full((12, 12, 12), 2.5), geometry, "SUVbw")) == pytest.approx(2.5)


def test_contrast_is_counted_in_the_noise_of_the_surroundings() -> None:
    generator = np.random.default_rng(0)
    array = np.zeros((40, 40, 40), np.uint8)
    array[15:25, 15:25, 15:25] = 2
    array[15:25, 15:25, 27:30] = 2  # another lesion near by is no background
    geometry = Geometry.from_spacing((40, 40, 40), (1.0, 1.0, 1.0))
    label_map = LabelMap(array, geometry, SCHEMA)
    image = generator.normal(50, 10, array.shape)
    image[array == 2] += 30
    first = connected_components(array == 2)[0]
    measured = contrast_to_noise(first, Volume(image, geometry, "HU"), label_map, 2)
    assert measured == pytest.approx(3.0, abs=0.1)


def test_contrast_without_noise_or_surroundings() -> None:
    geometry = Geometry.from_spacing((9, 9, 9), (1.0, 1.0, 1.0))
    array = np.zeros((9, 9, 9), np.uint8)
    array[3:6, 3:6, 3:6] = 2
    label_map, component = LabelMap(array, geometry, SCHEMA), piece(array == 2)
    flat, hot = np.zeros((9, 9, 9)), np.where(array == 2, 1.0, 0.0)
    assert contrast_to_noise(component, Volume(flat, geometry), label_map, 2) == 0
    assert contrast_to_noise(component, Volume(hot, geometry), label_map, 2) == math.inf
    everywhere = LabelMap(np.full((9, 9, 9), 2, np.uint8), geometry, SCHEMA)
    assert contrast_to_noise(piece(everywhere.mask(2)), Volume(flat, geometry), everywhere, 2) is None


def test_intensity_of_voxels_without_values() -> None:
    geometry = Geometry.from_spacing((3, 3, 3), (1.0, 1.0, 1.0))
    mask = np.ones((3, 3, 3), bool)
    assert intensity_of(piece(mask), Volume(np.full((3, 3, 3), np.nan), geometry)) is None
