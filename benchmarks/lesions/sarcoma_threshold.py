"""What a fixed SUV threshold reaches on the sarcoma PET set: the figure that a model has to beat.

    python benchmarks/lesions/sarcoma_threshold.py --root DATA_ROOT

For each fold the threshold with the best mean Dice on the training patients is applied to the held-out ones; then the
one threshold that would have been best for all patients, which nobody can know beforehand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from medseg.core.study import Case
from medseg.datasets.manifest import Manifest, read_manifest
from medseg.exchange.read import read_label_map, read_scan

THRESHOLDS = np.round(np.geomspace(0.5, 20, 60), 2)


def dice_by_threshold(case: Case, manifest: Manifest) -> np.ndarray:
    """The Dice of "SUV above the threshold" against the reference, for each threshold."""
    assert case.label is not None
    image = read_scan(case.channels["PET"]).volume.array
    truth = read_label_map(case.label, manifest.task.label_schema).mask(1)
    found = [image >= threshold for threshold in THRESHOLDS]
    return np.array([2 * (f & truth).sum() / (f.sum() + truth.sum()) for f in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    root = parser.parse_args().root
    manifest = read_manifest(Path(__file__).parents[2] / "data_manifests/ibsi_sts_sarcoma_pet", root)
    dice = {case.name: dice_by_threshold(case, manifest) for case in manifest.cases}
    held_out: list[float] = []
    for fold in manifest.folds:
        best = int(np.mean([dice[case.name] for case in manifest.training(fold)], axis=0).argmax())
        scores = [float(dice[case.name][best]) for case in manifest.validation(fold)]
        held_out += scores
        print(f"fold {fold}: SUV {THRESHOLDS[best]:.2f}, Dice {np.mean(scores):.3f} on {len(scores)} patients")
    print(f"all folds: Dice {np.mean(held_out):.3f} on {len(held_out)} held-out patients")
    means = np.mean(list(dice.values()), axis=0)
    print(f"best for all at once: SUV {THRESHOLDS[means.argmax()]:.2f}, Dice {means.max():.3f}")


if __name__ == "__main__":
    main()
