"""Temperature scaling sets right what was made too sure, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from medseg.analysis.evaluation.calibration import reliability
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.probability import CERTAIN, Probabilities, ProbabilityMap
from medseg.core.task import load_task
from medseg.models.quality.temperature import calibrated, class_samples, fit_temperature

SCHEMA = load_task("hippocampus_mr").label_schema
NAMES = tuple(label.name for label in SCHEMA.labels)
GRID = Geometry.from_spacing((40, 30, 20), (1.0, 1.0, 1.0))
HALF = Geometry.from_spacing((20, 30, 20), (1.0, 1.0, 1.0))


def made(too_sure: float) -> tuple[Probabilities, LabelMap]:
    """Labels drawn by true probabilities; what is told of them are those sharpened by a factor of their logarithms."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, *GRID.shape))
    true = np.exp(logits) / np.exp(logits).sum(axis=0)
    drawn = (generator.random(GRID.shape) > np.cumsum(true, axis=0)).sum(axis=0).clip(0, 2).astype(np.uint8)
    sharp = np.exp(too_sure * logits) / np.exp(too_sure * logits).sum(axis=0)
    maps = {
        name: ProbabilityMap(np.rint(sharp[n] * CERTAIN).astype(np.uint8), GRID)
        for n, name in enumerate(NAMES, start=1)
    }
    return Probabilities(maps), LabelMap(drawn, GRID, SCHEMA)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 2.5])
def test_the_temperature_is_how_much_too_sure_it_was(too_sure: float) -> None:
    samples, truth = class_samples(*made(too_sure), np.random.default_rng(1))
    assert samples.shape == (20_000, 3)
    assert fit_temperature(samples, truth) == pytest.approx(too_sure, rel=0.05)


def test_what_nobody_judged_says_nothing() -> None:
    told, reference = made(2.5)
    schema = SCHEMA.model_copy(update={"ignored": 9})
    array = reference.array.copy()
    array[:20] = 9
    samples, truth = class_samples(told, LabelMap(array, GRID, schema), np.random.default_rng(1))
    right, known = class_samples(
        Probabilities({name: ProbabilityMap(told.of_label[name].array[20:], HALF) for name in NAMES}),
        LabelMap(reference.array[20:], HALF, SCHEMA),
        np.random.default_rng(1),
    )
    assert np.array_equal(samples, right)
    assert np.array_equal(truth, known)


def test_calibrated_probabilities_are_true(tmp_path: Path) -> None:
    told, reference = made(2.5)
    right = calibrated(told, 2.5, tmp_path)
    for name in NAMES:
        truth = reference.mask(SCHEMA.named(name).index)
        assert reliability(told.of_label[name].array, truth).expected_error > 0.1
        assert reliability(right.of_label[name].array, truth).expected_error < 0.015
    assert list(tmp_path.iterdir()) == []


def test_a_temperature_of_one_changes_nothing_and_zeros_stay(tmp_path: Path) -> None:
    told, _ = made(1.0)
    assert calibrated(told, 1.0, tmp_path) is told
    nothing = Probabilities({name: ProbabilityMap(np.zeros(GRID.shape, np.uint8), GRID) for name in NAMES})
    assert not calibrated(nothing, 3.0, tmp_path).of_label[NAMES[0]].array.any()


def test_nothing_to_fit_on_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1.0
