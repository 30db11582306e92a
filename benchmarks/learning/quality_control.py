"""Is the quality control right? Coverage and error of the predicted Dice, calibration, and the input gate's ROC.

    python benchmarks/learning/quality_control.py DATA [--model hippocampus_mr]

Hippocampus; a model, on every case that it did not learn from. The predictor is fitted on four fifths of the subjects
and measured on the fifth, and on random halves over and over; so is the temperature, on two halves. The gate knows the
scans that the model learned from, and is shown the others as they are and changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import spearmanr

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.models.bundle import load_bundle
from medseg.models.quality.dice_prediction import DicePredictor
from medseg.models.quality.input_gate import SIDES, InputGate, scan_features
from medseg.models.quality.temperature import fit_temperature
from medseg.models.store import find_model
from medseg.workflows.models.qualify_model import Looked, look_at
from medseg.workflows.scans.data_sets import open_data_set

MANIFEST = Path(__file__).parents[2] / "data_manifests" / "msd_task04_hippocampus"
HALVINGS, FOLDS, DEALS = 200, 5, 20


def changed(volume: Volume, generator: np.random.Generator, ct: NDArray[np.float32]) -> dict[str, Volume]:
    """The scan, and what the gate should flag."""
    array, grid = volume.array.astype(np.float32), volume.geometry
    spread = float(np.percentile(array, 99) - np.percentile(array, 1))
    corner = [int(generator.integers(size - want + 1)) for size, want in zip(ct.shape, array.shape, strict=True)]
    patch = ct[tuple(slice(c, c + n) for c, n in zip(corner, array.shape, strict=True))]
    half = array[: array.shape[0] // 2]
    coarse = ndimage.zoom(array, 0.5, order=1)
    return {
        "as it is": volume,
        "flipped right-left": Volume(array[::-1].copy(), grid),
        "flipped front-back": Volume(array[:, ::-1].copy(), grid),
        "flipped head-foot": Volume(array[:, :, ::-1].copy(), grid),
        "cropped to half": Volume(half, Geometry.from_spacing(half.shape, grid.spacing_mm)),
        "rescaled by 2": Volume(coarse, Geometry.from_spacing(coarse.shape, tuple(2 * s for s in grid.spacing_mm))),
        "noise of a tenth": Volume((array + generator.normal(0, 0.1 * spread, array.shape)).astype(np.float32), grid),
        "CT of the head": Volume(patch, grid),
    }


def area(known: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    """Area under the ROC curve."""
    pairs = (strange[:, None] > known).mean() + 0.5 * (strange[:, None] == known).mean()
    return float(pairs)


def predicted(looked: list[Looked]) -> None:
    """Halve the cases again and again: how often the interval holds, and how far the prediction is off."""
    generator = np.random.default_rng(0)
    for coverage in (0.8, 0.9):
        held, errors, pairs = [], [], []
        for _ in range(HALVINGS):
            order = generator.permutation(len(looked))
            fit, test = order[: len(order) // 2], order[len(order) // 2 :]
            predictor = DicePredictor.fit([looked[n].shown for n in fit], [looked[n].dice for n in fit], coverage)
            for n in test:
                made = predictor.predict(looked[n].shown)
                held.append(made.interval[0] <= looked[n].dice <= made.interval[1])
                errors.append(abs(made.dice - looked[n].dice))
                pairs.append((made.dice, looked[n].dice))
        correlation = np.corrcoef(np.array(pairs).T)[0, 1]
        print(f"interval of {coverage:.0%}: held {np.mean(held):.1%}; MAE {np.mean(errors):.4f}, r {correlation:.2f}")
    dice = np.array([one.dice for one in looked])
    print(
        f"true Dice {dice.mean():.4f}, SD {dice.std():.4f}; the mean as a guess: {abs(dice - dice.mean()).mean():.4f}"
    )


def predicted_across(looked: list[Looked], subjects: list[str]) -> None:
    """Cross-validation, with the subjects dealt out anew each time: the predictor of four fifths on the fifth."""
    true = np.array([one.dice for one in looked])
    for coverage in (0.8, 0.9, 0.95):
        held, guesses = [], []
        for seed in range(DEALS):
            guess = np.zeros(len(looked))
            for test in dealt(subjects, seed):
                known = [one for one, is_test in zip(looked, test, strict=True) if not is_test]
                predictor = DicePredictor.fit([one.shown for one in known], [one.dice for one in known], coverage)
                for n in np.flatnonzero(test):
                    made = predictor.predict(looked[n].shown)
                    held.append(made.interval[0] <= true[n] <= made.interval[1])
                    guess[n] = made.dice
            guesses.append(guess)
        print(
            f"{FOLDS} folds, {len(looked)} cases, {DEALS} times, interval of {coverage:.0%}: held {np.mean(held):.1%}; "
            f"MAE {np.mean([np.abs(one - true).mean() for one in guesses]):.4f}, "
            f"r {np.mean([np.corrcoef(one, true)[0, 1] for one in guesses]):.2f}, "
            f"rank {np.mean([spearmanr(one, true).statistic for one in guesses]):.2f}"
        )
    worst = true <= np.quantile(true, 0.1)
    areas = [area(-one[~worst], -one[worst]) for one in guesses]
    print(f"the worst tenth told from the others by predicted Dice: AUC {np.mean(areas):.3f}")


def dealt(subjects: list[str], seed: int) -> list[NDArray[np.bool_]]:
    """Who is in each of the folds: (case) for each fold, whole subjects."""
    order = np.random.default_rng(seed).permutation(sorted(set(subjects)))
    fold_of = {subject: number % FOLDS for number, subject in enumerate(order)}
    folds = np.array([fold_of[subject] for subject in subjects])
    return [folds == number for number in range(FOLDS)]


def calibration(looked: list[Looked]) -> None:
    """Negative log-likelihood and Brier score before and after the temperature, fitted on the other half."""
    halves = looked[::2], looked[1::2]
    for fit, test in (halves, halves[::-1]):
        samples, truth = (np.concatenate([getattr(one, key) for one in fit]) for key in ("samples", "truth"))
        temperature = fit_temperature(samples, truth)
        samples, truth = (np.concatenate([getattr(one, key) for one in test]) for key in ("samples", "truth"))
        shown = []
        for power in (1.0, temperature):
            scaled = np.maximum(samples, 0.5 / 255) ** (1 / power)
            scaled /= scaled.sum(axis=1, keepdims=True)
            likely = scaled[np.arange(len(truth)), truth]
            right, sure = scaled.argmax(axis=1) == truth, scaled.max(axis=1)
            bins = np.minimum((sure * 15).astype(int), 14)
            error = sum(abs((sure - right)[bins == b].sum()) for b in range(15)) / len(truth)
            shown.append(f"NLL {-np.log(likely).mean():.4f}, ECE {error:.4f}")
        print(f"temperature {temperature:.2f}: {shown[0]} -> {shown[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="hippocampus_mr")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = open_data_set(MANIFEST, arguments.data)
    bundle = load_bundle(find_model(arguments.model))
    learned = bundle.provenance.case_sha256
    unseen = [case for case in manifest.cases if case.name not in learned]
    looked = look_at(bundle, unseen)
    predicted_across(looked, [case.subject for case in unseen])
    predicted(looked)
    calibration(looked)
    gate = InputGate.fit(
        [scan_features(read_scan(case.channels["MR"]).volume) for case in manifest.cases if case.name in learned]
    )
    ct = read_scan(arguments.data / "dicom_samples" / "slicer_CTHeadAxialDicom").volume.array.astype(np.float32)
    generator = np.random.default_rng(0)
    distances: dict[str, list[dict[str, float]]] = {}
    for case in unseen:
        for name, volume in changed(read_scan(case.channels["MR"]).volume, generator, ct).items():
            distances.setdefault(name, []).append({**gate.distances(scan_features(volume))})
    known = np.array([max(one.values()) for one in distances["as it is"]])
    for name, found in distances.items():
        highest = np.array([max(one.values()) for one in found])
        sides = {side: float(np.median([one[side] for one in found])) for side in SIDES}
        worst = max(sides, key=lambda side: sides[side])
        flagged, most = f"flagged {np.mean(highest >= 1):.0%}", f"{worst} ({sides[worst]:.2f})"
        print(f"{name}: {flagged}, AUC {area(known, highest):.3f}, most in {most}")


if __name__ == "__main__":
    main()
