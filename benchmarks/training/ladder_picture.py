"""What each rung makes of one held-out case: split and merge, the networks of `ladder.py`, the expert.

    python benchmarks/training/ladder_picture.py DATA --runs RUNS [--root DATA_ROOT] [--fold 0] [--picture FILE]

RUNS is the folder that `ladder.py` left. The case is the one in the middle by the U-Net's Dice, the slice the sagittal
one with most of the structure; colours are those of the labels, and the expert's outline is drawn over each.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from classical import CPU, SPLITS, SplitAndMergeSegmenter, learned
from matplotlib.figure import Figure

from medseg.analysis.evaluation.scores import CaseScores, score_case
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.datasets.manifest import Manifest
from medseg.exchange.read import read_label_map
from medseg.imaging.pictures.overlay import OverlayStyle, overlay
from medseg.imaging.pictures.slices import for_screen, grey, mask_for_screen, percentile_window, picture, pixel_mm
from medseg.models.bundle import load_bundle
from medseg.models.inference.segmenter import NetworkSegmenter, Segmenter
from medseg.workflows.models.evaluate_model import read_case_scores
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.segmenting.segment_study import read_channels

COLUMNS = 3
STYLE = OverlayStyle(opacity=0.45, has_outline=False)


def mean_dice(scores: CaseScores) -> float:
    return statistics.fmean(label.dice for label in scores.labels)


def middle_case(run: Path, manifest: Manifest) -> str:
    """The held-out case in the middle by its mean Dice over labels."""
    scores = read_case_scores(run / "validation.csv", manifest.task)
    ranked = sorted(scores, key=mean_dice)
    return ranked[len(ranked) // 2].case


def segmenters(runs: Path, manifest: Manifest, fold: int) -> dict[str, Segmenter]:
    """Each rung by name, the classical one first, then in the order that they were trained."""
    folders = sorted(
        (path for path in runs.iterdir() if (path / "model").is_dir()), key=lambda path: path.stat().st_ctime
    )
    unet = load_bundle(runs / "unet3d" / "model")
    names = learned(unet, manifest.training(fold), runs / "unet3d" / "prepared")
    split = SplitAndMergeSegmenter(unet.spec.preparation, manifest.task, names, SPLITS[0])
    return {"split and merge": split} | {
        folder.name: NetworkSegmenter(load_bundle(folder / "model"), CPU) for folder in folders
    }


def draw(volume: Volume, truth: LabelMap, found: dict[str, LabelMap]) -> Figure:
    """A panel a mask, the same sagittal slice in each."""
    screen, expert = for_screen(volume), mask_for_screen(truth)
    index = int(np.count_nonzero(expert, axis=(0, 1)).argmax())
    shade = grey(screen.values("sagittal", index), percentile_window(volume))
    height, width = pixel_mm(screen.geometry, "sagittal")
    outline = picture(expert, "sagittal", index)
    panels = {"the expert": truth, **found}
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.4 * rows), layout="constrained", facecolor="black")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, mask) in zip(figure.axes, panels.items(), strict=False):
        labels = picture(mask_for_screen(mask), "sagittal", index)
        axis.imshow(overlay(shade, labels, truth.schema, STYLE), aspect=height / width, interpolation="nearest")
        for label in truth.schema.indices:
            axis.contour(outline == label, levels=[0.5], colors="white", linewidths=0.8)
        dice = mean_dice(score_case(mask, truth, tolerance_mm=1.0))
        axis.set_title(name if mask is truth else f"{name}: {dice:.3f}", color="white", fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("ladder.png"))
    options = parser.parse_args()
    manifest = open_data_set(options.data, options.root)
    name = middle_case(options.runs / "unet3d", manifest)
    case = next(case for case in manifest.validation(options.fold) if case.name == name)
    if case.label is None:
        parser.error(f"{name} has no reference mask")
    images = {channel: scan.volume for channel, scan in read_channels(case.channels, manifest.task).items()}
    truth = read_label_map(case.label, manifest.task.label_schema)
    found = {
        rung: segmenter.segment(images).label_map
        for rung, segmenter in segmenters(options.runs, manifest, options.fold).items()
    }
    draw(next(iter(images.values())), truth, found).savefig(options.picture, dpi=110)
    print(f"{name}: {', '.join(found)} in {options.picture}")


if __name__ == "__main__":
    main()
