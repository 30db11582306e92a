"""The leaderboard's rows without a network of their own: split and merge, and random fields over a trained model.

    python benchmarks/training/classical.py DATA --run RUN_FOLDER [--root DATA_ROOT] [--fold 0] [--tuning-cases 12]

RUN_FOLDER is a run of `medseg train` (or of `ladder.py`) on the same data and fold. Split and merge cuts
each prepared scan into regions of like grey level, named by what the training cases say of grey levels and places; the
random fields refine the run's probabilities. The settings of each are those of the short list here that do best on
some training cases: seen by the model, so that the fields are tuned on a surer model than they are scored with.
Printed as rows of the leaderboard: Dice and NSD with 95 % intervals over subjects, seconds of one case, peak memory of
the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.core.study import Case
from medseg.core.task import Task
from medseg.core.volume import Volume
from medseg.datasets.manifest import Manifest
from medseg.imaging.crf.dense import DenseCRF
from medseg.imaging.crf.grid import GridCRF
from medseg.imaging.preparing.preparation import Preparation
from medseg.imaging.refinement import RefinementConfig
from medseg.imaging.regions.grey_levels import GreyLevelModel, learn_grey_levels
from medseg.imaging.regions.split_and_merge import SplitAndMerge, split_and_merge
from medseg.models.bundle import ModelBundle, load_bundle
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation, Segmenter
from medseg.training.cases import prepare_cases
from medseg.workflows.models.evaluate_model import Evaluation, evaluate_model
from medseg.workflows.scans.data_sets import open_data_set

CPU = torch.device("cpu")
SPLITS = [SplitAndMerge(merge_difference=difference) for difference in (1.0, 2.0, 4.0)]
GRIDS = [GridCRF(strength_mm=strength) for strength in (0.35, 0.7, 1.4)]
DENSE = [
    DenseCRF(appearance_weight=weight, position_sd_mm=position)
    for weight, position in ((1.0, 3.0), (3.0, 3.0), (3.0, 6.0))
]


@dataclass(frozen=True)
class SplitAndMergeSegmenter:
    """Regions of like grey level, named by grey level and place, behind the Segmenter protocol."""

    preparation: Preparation
    task: Task
    model: GreyLevelModel
    settings: SplitAndMerge

    def segment(self, images: Mapping[str, Volume], progress: object = None) -> Segmentation:  # noqa: ARG002
        begin = time.perf_counter()
        prepared = self.preparation.apply(images)
        regions = split_and_merge(prepared.array[0], prepared.geometry.spacing_mm, self.settings)
        label_map = prepared.restore(self.model.probabilities(regions), self.task.label_schema)
        return Segmentation(label_map, time.perf_counter() - begin)


def learned(bundle: ModelBundle, cases: Sequence[Case], cache: Path) -> GreyLevelModel:
    """What the training cases say of grey levels and places."""
    prepared = prepare_cases(cases, bundle.spec.task, bundle.spec.preparation, cache)
    arrays: Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]] = ((c.image[0], c.classes) for c in prepared)
    return learn_grey_levels(arrays, bundle.spec.class_count)


def refined(bundle: ModelBundle, step: RefinementConfig) -> NetworkSegmenter:
    """The model with a random field behind it."""
    return NetworkSegmenter(replace(bundle, spec=bundle.spec.model_copy(update={"refinement": (step,)})), CPU)


def mean_dice(evaluation: Evaluation) -> float:
    return evaluation.summary.over_labels["dice"].mean


def row(name: str, evaluation: Evaluation, seconds: float) -> str:
    dice, nsd = evaluation.summary.over_labels["dice"], evaluation.summary.over_labels["nsd"]
    scores = [f"{s.mean:.3f} [{s.interval[0]:.3f}, {s.interval[1]:.3f}]" for s in (dice, nsd)]
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return f"| {name} | {scores[0]} | {scores[1]} | {seconds:.2f} | {peak_gb:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--tuning-cases", type=int, default=12)
    options = parser.parse_args()
    manifest: Manifest = open_data_set(options.data, options.root)
    bundle = load_bundle(options.run / "model")
    task, training = bundle.spec.task, manifest.training(options.fold)
    validation = manifest.validation(options.fold)
    tuning = training[:: max(1, len(training) // options.tuning_cases)][: options.tuning_cases]
    grey_levels = learned(bundle, training, options.run / "prepared")
    preparation = bundle.spec.preparation
    candidates: dict[str, list[tuple[str, Segmenter]]] = {
        "split and merge": [
            (f"merge_difference {s.merge_difference:g}", SplitAndMergeSegmenter(preparation, task, grey_levels, s))
            for s in SPLITS
        ],
        f"{bundle.spec.network.kind}": [("alone", NetworkSegmenter(bundle, CPU))],
        f"{bundle.spec.network.kind} + grid CRF": [(f"{g.strength_mm:g} mm", refined(bundle, g)) for g in GRIDS],
        f"{bundle.spec.network.kind} + dense CRF": [
            (f"weight {d.appearance_weight:g}, {d.position_sd_mm:g} mm", refined(bundle, d)) for d in DENSE
        ],
    }
    print("| | Dice | NSD | s a case | peak GB |\n|---|---|---|---|---|")
    for name, choices in candidates.items():
        best = choices[0]
        if len(choices) > 1:
            best = max(choices, key=lambda choice: mean_dice(evaluate_model(choice[1], task, tuning)))
        begin = time.perf_counter()
        evaluation = evaluate_model(best[1], task, validation)
        print(row(f"{name} ({best[0]})", evaluation, (time.perf_counter() - begin) / len(validation)), flush=True)


if __name__ == "__main__":
    main()
