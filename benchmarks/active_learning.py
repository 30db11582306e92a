"""Does reading in the worklist's order make a better model than reading at random?

    python benchmarks/active_learning.py DATA [--seeds 5] [--rounds 3] [--picture PNG] [--folder FOLDER]

Hippocampus (Medical Segmentation Decathlon, task 4). A small U-Net is trained on 20 subjects; then, round after round,
10 scans of the pool are "read" (their reference masks revealed), in the order of the worklist or at random, and the
model is fine-tuned on all that is revealed. Both arms begin from one model; Dice is on subjects of neither. Steps are
counted, not seconds, so that a busy machine changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.imaging.normalize import ZScore
from medseg.imaging.preparation import Preparation
from medseg.models.bundle import ModelBundle
from medseg.models.device import choose_device
from medseg.models.kept_maps import Keep
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.quality.expected_dice import expected_dice
from medseg.models.segmenter import NetworkSegmenter
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.review.worklist import RANDOM_SHARE, Candidate, reading_order
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.workflows.models.evaluate_model import evaluate_model
from medseg.workflows.scans.data_sets import open_data_set
from medseg.workflows.segmenting.segment_study import read_channels
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.train_model import train_model

MANIFEST = Path(__file__).parents[1] / "data_manifests" / "msd_task04_hippocampus"
START, ROUND = 20, 10
FIRST_STEPS, ROUND_STEPS = 240, 80
TEST_CASES, WATCHED = 40, 2
ARMS = ("worklist", "random")


@dataclass(frozen=True)
class Parts:
    """Who is trained on at first, who may be read, who tests; `watched` are two test cases for the training's curve."""

    start: list[Case]
    pool: list[Case]
    test: list[Case]


def parts(manifest: Manifest, seed: int, pool_size: int) -> Parts:
    """Whole subjects on each side, drawn anew for each seed."""
    by_subject: dict[str, list[Case]] = {}
    for case in manifest.cases:
        by_subject.setdefault(case.subject, []).append(case)
    subjects = sorted(by_subject)
    np.random.default_rng(seed).shuffle(subjects)
    start = [case for subject in subjects[:START] for case in by_subject[subject]]
    rest = [case for subject in subjects[START:] for case in by_subject[subject]]
    return Parts(start, rest[TEST_CASES : TEST_CASES + pool_size], rest[:TEST_CASES])


def plan_of(manifest: Manifest, steps: int, seed: int) -> Plan:
    """A network small enough for many trainings on one core."""
    patch = (32, 40, 32)
    model = ModelSpec(
        task=manifest.task,
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),)),
        network=UNet3DConfig(
            channels=(8, 16, 32), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=patch),
    )
    spec = TrainingSpec(
        batch_size=2,
        steps_per_epoch=steps,
        epochs=1,
        average_decay=0.95,
        warm_up_steps=10,
        seed=seed,
        validation_looks=1,
    )
    return Plan(model=model, training=spec)


def trained(
    manifest: Manifest, cases: Sequence[Case], watched: Sequence[Case], folder: Path, plan: Plan | FineTuning
) -> ModelBundle:
    """A model of these cases."""
    names = {case.name for case in cases} | {case.name for case in watched}
    fold = {case.name: 0 for case in watched}
    rows = tuple(
        row.__class__(row.case, row.subject, fold.get(row.case, 1), row.channels, row.label)
        for row in manifest.rows
        if row.case in names
    )
    chosen = Manifest(manifest.facts, manifest.task, rows, manifest.data_folder)
    return train_model(chosen, 0, folder, plan=plan).bundle


def doubts(bundle: ModelBundle, cases: Sequence[Case], folder: Path) -> list[Candidate]:
    """The pool as the worklist sees it."""
    segmenter = NetworkSegmenter(bundle, choose_device("cpu"))
    keep = Keep(tuple(label.name for label in bundle.spec.task.labels), folder)
    found = []
    for case in cases:
        scans = read_channels(case.channels, bundle.spec.task)
        made = segmenter.segment({name: scan.volume for name, scan in scans.items()}, None, keep)
        assert made.probabilities is not None
        promised = list(expected_dice(made.label_map, made.probabilities).values())
        found.append(Candidate(case.name, doubt=1 - float(np.mean(promised)) if promised else None))
    return found


def chosen_by(
    arm: str, bundle: ModelBundle, pool: Sequence[Case], folder: Path, generator: np.random.Generator
) -> list[Case]:
    """Whom an arm reads next."""
    if arm == "random":
        return [pool[n] for n in generator.permutation(len(pool))[:ROUND]]
    order = reading_order(doubts(bundle, pool, folder), generator, RANDOM_SHARE)
    by_name = {case.name: case for case in pool}
    return [by_name[one.study] for one in order[:ROUND]]


def dice(bundle: ModelBundle, cases: Sequence[Case]) -> tuple[float, float]:
    """Mean Dice over cases and labels, and the mean of the worst tenth of the cases."""
    scored = evaluate_model(NetworkSegmenter(bundle, choose_device("cpu")), bundle.spec.task, cases)
    means = np.sort([np.mean([label.dice for label in case.labels]) for case in scored.cases])
    return float(means.mean()), float(means[: max(1, len(means) // 10)].mean())


def one_seed(manifest: Manifest, seed: int, rounds: int, pool_size: int, folder: Path) -> list[dict[str, object]]:
    """Dice of both arms over the rounds."""
    given = parts(manifest, seed, pool_size)
    watched = given.test[:WATCHED]
    first = trained(manifest, given.start, watched, folder / "start", plan_of(manifest, FIRST_STEPS, seed))
    begin = dice(first, given.test)
    rows: list[dict[str, object]] = []
    for arm in ARMS:
        bundle, known, pool = first, list(given.start), list(given.pool)
        rows.append({"seed": seed, "arm": arm, "read": 0, "dice": begin[0], "worst_tenth": begin[1]})
        generator = np.random.default_rng(1000 + seed)
        for number in range(1, rounds + 1):
            read = chosen_by(arm, bundle, pool, folder, generator)
            known += read
            pool = [case for case in pool if case not in read]
            plan = plan_of(manifest, ROUND_STEPS, seed)
            bundle = trained(manifest, known, watched, folder / f"{arm}{number}", FineTuning(bundle, plan))
            mean, worst = dice(bundle, given.test)
            rows.append({"seed": seed, "arm": arm, "read": ROUND * number, "dice": mean, "worst_tenth": worst})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def draw(rows: list[dict[str, object]], picture: Path) -> None:
    """Mean over seeds of both arms, each seed as a thin line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2), ("dice", "worst_tenth"), ("all test cases", "their worst tenth"), strict=True
    ):
        for arm, colour in zip(ARMS, ("#0b6e99", "#b35c00"), strict=True):
            seeds = sorted({int(str(row["seed"])) for row in rows})
            curves = [[row for row in rows if row["arm"] == arm and row["seed"] == seed] for seed in seeds]
            reads = [int(str(row["read"])) for row in curves[0]]
            table = np.array([[float(str(row[key])) for row in curve] for curve in curves])
            axes.plot(reads, table.T, color=colour, alpha=0.25, linewidth=1)
            axes.plot(reads, table.mean(axis=0), color=colour, linewidth=2.5, marker="o", label=arm)
        axes.set(title=f"Dice, {title}", xlabel="scans read after the first 20 subjects", xticks=reads)
        axes.grid(alpha=0.3)
        axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def report(rows: list[dict[str, object]]) -> None:
    """The difference of the arms at the last round, seed by seed."""
    last = max(int(str(row["read"])) for row in rows)
    for key in ("dice", "worst_tenth"):
        ends = {
            arm: {row["seed"]: float(str(row[key])) for row in rows if row["arm"] == arm and row["read"] == last}
            for arm in ARMS
        }
        apart = np.array([ends["worklist"][seed] - ends["random"][seed] for seed in ends["random"]])
        print(f"{key} after {last} read: worklist less random {apart.mean():+.4f}, seeds {np.round(apart, 4).tolist()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds msd_task04_hippocampus")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=80)
    parser.add_argument("--minutes", type=float, default=None, help="begin no seed after this")
    parser.add_argument("--folder", type=Path, default=Path("out/active_learning"))
    parser.add_argument("--picture", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = open_data_set(MANIFEST, arguments.data)
    begin, rows = time.monotonic(), []
    for seed in range(arguments.seeds):
        taken = (time.monotonic() - begin) / 60
        if arguments.minutes is not None and seed and taken * (seed + 1) / seed > arguments.minutes:
            break
        rows += one_seed(manifest, seed, arguments.rounds, arguments.pool, arguments.folder / f"seed{seed}")
        with (arguments.folder / "dice.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        print(f"seed {seed}: {(time.monotonic() - begin) / 60:.1f} minutes", flush=True)
    report(rows)
    if arguments.picture is not None:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
