"""Confidence from probabilities that are known by formula."""

import math

import numpy as np
import pytest

from medseg.analysis.quantification.confidence import confidence_of
from medseg.analysis.quantification.diameters import axial_diameters
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import ProbabilityMap
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.imaging.regions.components import connected_components

SCHEMA = load_task("phantom_ct").label_schema


def test_a_soft_ball_lies_between_its_inner_and_outer_shell() -> None:
    # Probability falls from 1 at 10 mm to 0 at 14 mm: 0.975 at 10.1 mm, 0.5 at 12 mm, 0.025 at 13.9 mm.
    grid = np.moveaxis(np.indices((40, 40, 40)), 0, -1) - 19.5
    radius = np.sqrt((grid**2).sum(-1))
    probability = np.clip((14 - radius) / 4, 0, 1)
    geometry = Geometry.from_spacing((40, 40, 40), (1.0, 1.0, 1.0))
    array = np.where(probability >= 0.5, 2, 0).astype(np.uint8)
    label_map = LabelMap(array, geometry, SCHEMA)
    (lesion,) = connected_components(array == 2)
    longest_mm = axial_diameters(lesion, geometry).longest_mm
    confidence = confidence_of(lesion, ProbabilityMap.of(Volume(probability, geometry)), label_map, 2, longest_mm)
    expected_ml = [4 / 3 * math.pi * r**3 / 1000 for r in (10.1, 13.9)]
    assert confidence.volume_interval_ml == pytest.approx(expected_ml, rel=0.02)
    assert confidence.diameter_interval_mm == pytest.approx((20.2, 27.8), abs=0.5)
    assert confidence.probability == pytest.approx(probability[array == 2].mean(), abs=0.002)  # a byte a voxel


def test_certainty_has_no_entropy_and_no_width_and_evenness_has_one_bit() -> None:
    geometry = Geometry.from_spacing((9, 9, 9), (1.0, 1.0, 1.0))
    array = np.zeros((9, 9, 9), np.uint8)
    array[3:6, 3:6, 3:6] = 2
    (lesion,) = connected_components(array == 2)
    label_map = LabelMap(array, geometry, SCHEMA)
    sure = confidence_of(lesion, ProbabilityMap.of(Volume((array == 2) * 1.0, geometry)), label_map, 2, 3.0)
    assert sure.entropy_bit == pytest.approx(0, abs=1e-9)
    assert sure.volume_interval_ml == pytest.approx((0.027, 0.027))
    even = confidence_of(lesion, ProbabilityMap.of(Volume((array == 2) * 0.5, geometry)), label_map, 2, 3.0)
    assert even.entropy_bit == pytest.approx(1, abs=1e-4)
    assert even.probability == pytest.approx(0.5, abs=0.002)
    assert even.volume_interval_ml == pytest.approx((0.0, 0.027))
    assert even.diameter_interval_mm[0] == 0


def test_neighbours_and_likely_spots_apart_are_not_counted_in() -> None:
    geometry = Geometry.from_spacing((24, 9, 9), (1.0, 1.0, 1.0))
    array = np.zeros((24, 9, 9), np.uint8)
    array[3:6, 3:6, 3:6] = array[10:13, 3:6, 3:6] = 2
    probability = np.where(array == 2, 1.0, 0.0)
    probability[6:10, 3:6, 3:6] = 0.2  # a likely bridge of four: two are nearer to each
    probability[18:20, 3:6, 3:6] = 0.2  # likely, but apart
    first = connected_components(array == 2)[0]
    confidence = confidence_of(
        first, ProbabilityMap.of(Volume(probability, geometry)), LabelMap(array, geometry, SCHEMA), 2, 3.0
    )
    assert confidence.volume_interval_ml == pytest.approx((0.027, 0.027 + 0.018))
