"""Draw the plots of the docs from the tables of benchmarks/RESULTS.md, and a split and merge of a made study.

python docs/making/make_plots.py [--output docs/images]
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from medseg.datasets.phantoms.study import make_study
from medseg.imaging.regions.split_and_merge import SplitAndMerge, split_and_merge

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
INTERVAL = re.compile(r"\**([\d.]+)\** \[([\d.]+), ([\d.]+)\]")
WIDTH_IN = 9.0
INK, LIGHT = "#2f5d8a", "#b8c9da"


def table(heading: str, number: int = 0) -> list[dict[str, str]]:
    """The rows of a table below a heading of RESULTS.md, by column; `number` counts the tables there."""
    section = RESULTS.read_text(encoding="utf-8").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    block = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number]
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def ladder(output: Path) -> None:
    """Dice of each rung with its 95 % interval, on both data sets."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH_IN, 4.2), layout="constrained")
    for axis, (heading, title) in zip(
        axes,
        (
            ("The ladder on hippocampus", "Hippocampus, MR: 40 cases"),
            ("The ladder on sarcoma PET", "Sarcoma, PET: 7 patients"),
        ),
        strict=True,
    ):
        rows = {re.sub(r" \(.*", "", row["network"]): row["Dice"] for row in table(heading)}
        intervals(axis, rows)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("Dice, mean and 95 % interval")
    figure.savefig(output / "plot_ladder.png", dpi=110)


def intervals(axis: Axes, cells: dict[str, str]) -> None:
    """One line a row: the mean as a dot on its interval, the best on top."""
    found = {name: INTERVAL.search(cell) for name, cell in cells.items()}
    values = sorted(
        ((*map(float, match.groups()), name) for name, match in found.items() if match), key=lambda row: row[0]
    )
    for place, (mean, low, high, _) in enumerate(values):
        axis.plot([low, high], [place, place], color=LIGHT, linewidth=5, solid_capstyle="butt")
        axis.plot(mean, place, "o", color=INK)
    axis.set_yticks(range(len(values)), [row[3].replace("_", " ") for row in values])
    axis.grid(axis="x", alpha=0.3)


def beside_nnunet(output: Path) -> None:
    """Dice after half an hour on one core, and patches a second at the same network."""
    heading = "Beside nnU-Net v2"
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH_IN, 2.4), layout="constrained")
    intervals(axes[0], {row[""]: row["Dice"] for row in table(heading)})
    axes[0].set_xlim(0, 1)
    axes[0].set_xlabel("Dice after 30 minutes on one core")
    speeds = table(heading, 1)[::-1]
    axes[1].barh(
        [re.sub(r" \(.*", "", row[""]) for row in speeds], [float(row["patches a second"]) for row in speeds], color=INK
    )
    axes[1].set_xlabel("patches a second")
    figure.savefig(output / "plot_nnunet.png", dpi=110)


def vessels(output: Path) -> None:
    """Error of % diameter by where calibres come from."""
    rows = table("Vessels and blockages, 2026-11-26")[::-1]
    errors = [float(re.sub(r"[*]|/.*", "", row["% diameter: mean error / bias"])) for row in rows]
    figure, axis = plt.subplots(figsize=(WIDTH_IN, 2.6), layout="constrained")
    axis.barh([f"{row['calibre from']} ({row['studies']})" for row in rows], errors, color=INK)
    axis.set_xlabel("mean error of % diameter, points (studies in brackets)")
    figure.savefig(output / "plot_vessels.png", dpi=110)


def gate(output: Path) -> None:
    """How far each challenger is from the champion, and what the gate made of it."""
    rows = table("From corrections to the next model", 1)[::-1]
    figure, axis = plt.subplots(figsize=(WIDTH_IN, 3.0), layout="constrained")
    for place, row in enumerate(rows):
        mean, low, high = map(float, re.findall(r"[-+]\d[\d.]*", row["difference, 95 % interval"]))
        is_promoted = "promoted" in row["verdict"]
        axis.plot([low, high], [place, place], color=LIGHT, linewidth=5, solid_capstyle="butt")
        axis.plot(mean, place, "o", color=INK, markerfacecolor=INK if is_promoted else "white")
    axis.set_yticks(range(len(rows)), [textwrap.fill(row["challenger"], 46) for row in rows], fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_ylim(-0.5, len(rows) - 0.5)
    axis.set_xscale("symlog", linthresh=0.05)
    axis.set_xticks([-0.8, -0.2, -0.05, 0, 0.05], ["-0.8", "-0.2", "-0.05", "0", "0.05"])
    axis.set_xlabel("Dice, challenger less champion: mean and 95 % interval (filled: promoted)")
    figure.savefig(output / "plot_gate.png", dpi=110)


def viewer(output: Path) -> None:
    """Milliseconds from a change until all three panes show it."""
    rows = table("The viewer")[::-1]
    figure, axis = plt.subplots(figsize=(WIDTH_IN, 2.6), layout="constrained")
    for column, shade in (("95 %", LIGHT), ("median", INK)):
        axis.barh([row["change"] for row in rows], [float(row[column]) for row in rows], color=shade, label=column)
    axis.set_xlabel("milliseconds until the three panes show it, 512 x 512 x 300")
    axis.legend(frameon=False, loc="upper right")
    figure.savefig(output / "plot_viewer.png", dpi=110)


def regions(output: Path) -> None:
    """A slice of a made study, its blocks, its regions, and the truth."""
    study = make_study(4)
    image = study.volume.array.astype(np.float32)
    spacing_mm = study.volume.geometry.spacing_mm
    never = SplitAndMerge(merge_difference=1e-6, min_voxels=1)
    blocks = split_and_merge(image, spacing_mm, never)
    merged = split_and_merge(image, spacing_mm, SplitAndMerge())
    lesion = next(label.index for label in study.label_map.schema.labels if label.name == "lesion")
    k = int(np.argmax((study.label_map.array == lesion).sum(axis=(0, 1))))
    shades = np.random.default_rng(3).permutation(max(len(blocks.means), len(merged.means)))
    pictures = (
        ("the slice", np.clip(image[:, :, k], -100, 250), "gray"),
        (f"split: {len(blocks.means):,} blocks", shades[blocks.numbers[:, :, k]], "tab20"),
        (f"merged: {len(merged.means):,} regions", shades[merged.numbers[:, :, k]], "tab20"),
        ("the truth", study.label_map.array[:, :, k], "tab10"),
    )
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH_IN, 2.7), layout="constrained")
    for axis, (title, picture, colours) in zip(axes, pictures, strict=True):
        axis.imshow(np.asarray(picture).T, cmap=colours, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(output / "split_and_merge.png", dpi=110)


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    output = parser.parse_args().output
    mpl.use("Agg")
    for draw in (ladder, beside_nnunet, vessels, gate, viewer, regions):
        draw(output)


if __name__ == "__main__":
    main()
