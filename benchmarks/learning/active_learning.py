"""Does reading in the worklist's order make a better model than reading at random?

    python benchmarks/learning/active_learning.py DATA [--seeds 5] [--rounds 3] [--workers 1] [--folder FOLDER]
    python benchmarks/learning/active_learning.py DATA --only-report --folder FOLDER --picture PNG

A U-Net is trained on 20 subjects of the hippocampus set; then, round after round, 10 scans of the pool are "read"
(their reference masks revealed), in the order of the worklist or at random, and the model is fine-tuned on all that is
revealed. All arms begin from one model and take as many steps; Dice is on 50 cases of other subjects. The streams are
told of in `reading_rounds.py`. An arm that was cut off goes on from its last model.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from reading_rounds import MANIFEST, Arm, Setting, Stream, first_model, run_arm

from medseg.datasets.manifest import Manifest
from medseg.workflows.scans.data_sets import open_data_set

KEYS = {"dice": "all test cases", "worst_tenth": "their worst tenth", "dice_rare": "the rare contrast"}
COLOURS = {"worklist": "#0b6e99", "random": "#b35c00", "nobody": "#8a8a8a"}
Rows = list[dict[str, Any]]


def one_thread() -> None:
    torch.set_num_threads(1)


def run_all(manifest: Manifest, seeds: int, workers: int, setting: Setting) -> None:
    """Every arm of every seed, so many processes at a time."""
    with ProcessPoolExecutor(workers, get_context("spawn"), one_thread) as pool:
        if workers > 1:  # else each seed's first model comes with its first arm
            for first in [pool.submit(first_model, manifest, seed, setting) for seed in range(seeds)]:
                first.result()
        wanted = [(seed, stream, arm) for seed in range(seeds) for stream, arm in _arms()]
        for run in [pool.submit(run_arm, manifest, *one, setting) for one in wanted]:
            run.result()


def _arms() -> Iterator[tuple[Stream, Arm]]:
    """Those that are compared first; what the steps alone gain is asked of the scans as they are."""
    streams: tuple[Stream, ...] = get_args(Stream)
    for stream in streams:
        yield stream, "worklist"
        yield stream, "random"
    yield "as they are", "nobody"


def read_rows(folder: Path) -> Rows:
    """The rows of all arms; of a round that was measured twice, since an arm was cut off, the last."""
    found = {}
    for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[row["seed"], row["stream"], row["arm"], row["read"]] = row
    return [found[key] for key in sorted(found)]


def table_of(rows: Rows, stream: str, arm: str, key: str) -> tuple[list[int], NDArray[np.float64]]:
    """The rounds that any seed has come to, and the values (seed, round) of the seeds that have come to all of them."""
    mine = [row for row in rows if row["stream"] == stream and row["arm"] == arm and key in row]
    by_seed = {seed: {r["read"]: r[key] for r in mine if r["seed"] == seed} for seed in {r["seed"] for r in mine}}
    reads = sorted({row["read"] for row in mine})
    whole = [seed for seed in sorted(by_seed) if len(by_seed[seed]) == len(reads)]
    return reads, np.array([[by_seed[seed][read] for read in reads] for seed in whole])


def draw(rows: Rows, picture: Path) -> None:
    """Mean over seeds of each arm, each seed as a thin line; a row of pictures for each stream."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.8), layout="constrained")
    for line, stream in zip(figure.subplots(2, 3), get_args(Stream), strict=True):
        for axes, (key, title) in zip(line, KEYS.items(), strict=True):
            for arm, colour in COLOURS.items():
                reads, table = table_of(rows, stream, arm, key)
                if not reads:
                    continue
                axes.plot(reads, table.T, color=colour, alpha=0.25, linewidth=1)
                axes.plot(reads, table.mean(axis=0), color=colour, linewidth=2.5, marker="o", label=arm)
                axes.set_xticks(reads)
            axes.set(title=f"{stream}: Dice, {title}", xlabel="scans read after the first 20 subjects")
            axes.grid(alpha=0.3)
            axes.legend() if axes.lines else axes.remove()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100)


def report(rows: Rows) -> None:
    """Both arms over the rounds, their difference seed by seed, and how well the worklist knew where a model fails."""
    for stream in get_args(Stream):
        for key in KEYS:
            found = {arm: table_of(rows, stream, arm, key) for arm in COLOURS}
            for arm, (reads, table) in found.items():
                if reads:
                    print(f"{stream}, {key}, {arm} after {reads}: {np.round(table.mean(axis=0), 4).tolist()}")
            tables = [found[arm][1] for arm in ("worklist", "random")]
            if tables[0].shape != tables[1].shape or not tables[0].size:
                continue
            apart = tables[0] - tables[1]
            later = apart[:, 1:].mean(axis=1)
            spread = later.std(ddof=1) / np.sqrt(len(later)) if len(later) > 1 else float("nan")
            print(f"  worklist less random, over the rounds {later.mean():+.4f} (SE {spread:.4f}), ", end="")
            print(f"at the end {apart[:, -1].mean():+.4f}, seeds {np.round(apart[:, -1], 4).tolist()}")
        asked = [row for row in rows if row["stream"] == stream and "rank_score" in row]
        for key in ("rank_score", "rank_doubt", "rank_disagreement", "rank_strangeness", "pool_dice", "read_dice"):
            if asked:
                print(f"{stream}, worklist, {key}: {np.mean([row[key] for row in asked]):.3f}")
        for arm in ("worklist", "random"):
            reads, table = table_of(rows, stream, arm, "rare_read")
            if reads and table.any():
                print(f"{stream}, {arm}: of the rare contrast read up to {reads}: {table.mean(axis=0).cumsum()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds msd_task04_hippocampus")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-steps", type=int, default=400)
    parser.add_argument("--round-steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="a smaller network, for one core")
    parser.add_argument("--pool", type=int, default=60, help="scans that may be read")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no round after this")
    parser.add_argument("--folder", type=Path, default=Path("out/active_learning"))
    parser.add_argument("--picture", type=Path, default=None)
    parser.add_argument("--only-report", action="store_true")
    arguments = parser.parse_args()
    if not arguments.only_report:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        setting = Setting(
            folder=arguments.folder,
            rounds=arguments.rounds,
            first_steps=arguments.first_steps,
            round_steps=arguments.round_steps,
            batch=arguments.batch,
            is_small=arguments.small,
            pool=arguments.pool,
            until=time.time() + 60 * arguments.minutes,
        )
        run_all(open_data_set(MANIFEST, arguments.data), arguments.seeds, arguments.workers, setting)
    rows = read_rows(arguments.folder)
    report(rows)
    if arguments.picture is not None:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
