"""Dice and volume differences on arrays counted by hand."""

import math

import numpy as np
import pytest

from medseg.analysis.evaluation.overlap import Overlap, box_around, overlap_of


def test_overlap_of_counted_arrays() -> None:
    prediction, reference = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    prediction[0, 0, :3] = True
    reference[0, 0, 1:] = True
    reference[1, 0, 0] = True
    overlap = overlap_of(prediction, reference, 0.5)
    assert overlap == Overlap(prediction_voxels=3, reference_voxels=4, shared_voxels=2, voxel_volume_ml=0.5)
    assert overlap.dice == pytest.approx(4 / 7)
    assert (overlap.prediction_ml, overlap.reference_ml) == (1.5, 2.0)
    assert overlap.volume_difference_ml == -0.5
    assert overlap.volume_difference_percent == -25.0


def test_empty_masks_have_stated_results() -> None:
    both_empty, missed, invented = Overlap(0, 0, 0, 1.0), Overlap(0, 5, 0, 1.0), Overlap(5, 0, 0, 1.0)
    assert math.isnan(both_empty.dice)
    assert both_empty.volume_difference_ml == 0
    assert math.isnan(both_empty.volume_difference_percent)
    assert (missed.dice, missed.volume_difference_ml, missed.volume_difference_percent) == (0, -5, -100)
    assert (invented.dice, invented.volume_difference_ml, invented.volume_difference_percent) == (0, 5, math.inf)


def test_box_holds_every_voxel_of_both_and_no_more() -> None:
    first, second = np.zeros((6, 7, 8), bool), np.zeros((6, 7, 8), bool)
    first[1, 2, 3] = True
    second[4, 2, 7] = True
    assert box_around(first, second) == (slice(1, 5), slice(2, 3), slice(3, 8))
    assert box_around(np.zeros((2, 2, 2), bool)) is None
