"""Calibration by hand."""

import numpy as np
import pytest

from medseg.analysis.evaluation.calibration import Reliability, reliability


def test_by_hand() -> None:
    """Four voxels were given 0.8 and two are of the label; one 1.0 that is; the zeros do not count."""
    probability = np.array([204, 204, 204, 204, 255, 0, 0], np.uint8)
    truth = np.array([1, 1, 0, 0, 1, 0, 0], bool)
    found = reliability(probability, truth)
    assert found.expected_error == pytest.approx(abs(4 * 0.8 - 2) / 5)
    assert (found + found).expected_error == pytest.approx(found.expected_error)


def test_a_missed_voxel_counts_and_nothing_is_no_error() -> None:
    missed = reliability(np.zeros(3, np.uint8), np.array([True, False, False]))
    assert missed.expected_error == 1.0
    assert Reliability().expected_error == 0.0
