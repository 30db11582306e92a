"""The Dice of every bias at once is the Dice of each mask made by itself; the best one is the best over cases."""

import math

import numpy as np
import pytest

from medseg.analysis.evaluation.foreground_bias import BIASES, best_bias, dice_by_bias
from medseg.core.labels import IGNORED_CLASS


def test_a_row_of_voxels_by_hand() -> None:
    # log of background over label: -2.2, 0.4, 0.85, 2.2
    label = np.array([0.9, 0.4, 0.3, 0.1], np.float32).reshape(1, 1, 4)
    truth = np.array([1, 1, 0, 0], np.uint8).reshape(1, 1, 4)
    dice = dice_by_bias(np.stack([1 - label, label]), truth, (-3.0, 0.0, 0.5, 1.0, 3.0))
    # found: none, the first, the first two, the first three, all
    assert dice[:, 0].tolist() == pytest.approx([0, 2 / 3, 1, 4 / 5, 4 / 6])


def test_each_bias_is_the_mask_of_the_likeliest_class_of_biased_logits() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, size=(4, 7, 6, 5))
    probabilities = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    truth = generator.integers(0, 3, size=(7, 6, 5)).astype(np.uint8)  # the third label is nowhere
    dice = dice_by_bias(probabilities, truth)
    assert dice.shape == (len(BIASES), 3)
    for bias, row in zip(BIASES, dice, strict=True):
        mask = (logits + np.array([0, bias, bias, bias])[:, None, None, None]).argmax(0)
        for number, value in enumerate(row, start=1):
            found, true = mask == number, truth == number
            assert value == pytest.approx(2 * (found & true).sum() / (found.sum() + true.sum()))


def test_voxels_that_nobody_judged_do_not_count() -> None:
    sure = np.array([[0.1, 0.1, 0.9], [0.9, 0.9, 0.1]], np.float32).reshape(2, 1, 1, 3)
    truth = np.array([1, IGNORED_CLASS, 0], np.uint8).reshape(1, 1, 3)
    assert dice_by_bias(sure, truth, (0.0,))[0, 0] == 1


def test_a_tie_goes_to_background_as_the_first_class() -> None:
    even = np.full((2, 1, 1, 1), 0.5, np.float32)
    truth = np.ones((1, 1, 1), np.uint8)
    assert dice_by_bias(even, truth, (0.0, 0.25))[:, 0].tolist() == [0, 1]


def test_a_label_in_neither_mask_nor_truth_has_no_dice() -> None:
    background = np.zeros((3, 2, 2, 2), np.float32)
    background[0] = 1
    assert np.isnan(dice_by_bias(background, np.zeros((2, 2, 2), np.uint8))).all()
    assert (dice_by_bias(background, np.full((2, 2, 2), 2, np.uint8))[:, 1] == 0).all()


def test_the_best_bias_is_that_of_the_highest_mean_over_labels_of_means_over_cases() -> None:
    nan = math.nan
    curves = np.array(
        [
            [[0.5, 0.5], [0.9, 0.5], [0.6, 0.6]],
            [[0.5, nan], [0.5, nan], [0.9, nan]],  # a case that lacks the second label
        ]
    )
    # label 1: 0.5, 0.7, 0.75; label 2: 0.5, 0.5, 0.6
    assert best_bias(curves, (-1.0, 0.0, 1.0)) == 1.0
    assert best_bias(curves[:1], (-1.0, 0.0, 1.0)) == 0.0


def test_of_equal_biases_the_one_nearest_to_the_likeliest_class_is_taken() -> None:
    flat = np.full((3, len(BIASES), 2), 0.7)
    assert best_bias(flat) == 0.0
    assert best_bias(np.full_like(flat, math.nan)) == 0.0
    flat[:, BIASES.index(-2.0)] += 0.1
    flat[:, BIASES.index(-0.5)] += 0.1
    assert best_bias(flat) == -0.5
