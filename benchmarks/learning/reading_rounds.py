"""One arm of `active_learning.py`: train, let a reader read ten scans, train on, and measure; round after round.

Two streams of scans. "as they are": the hippocampi of the Medical Segmentation Decathlon, which are much alike. "two
contrasts": the same, but every fifth subject outside the first 20 has its greys inverted, with 3 % of noise: dark where
it was bright, as T2-weighted is to T1-weighted MR. That contrast is made; masks and anatomy are real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from medseg.core.study import Case
from medseg.core.volume import Volume
from medseg.datasets.manifest import DataFile, Manifest
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel
from medseg.exchange.write import write_volume
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.bundle import LISTING, ModelBundle, load_bundle
from medseg.models.inference.device import choose_device
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.quality.expected_dice import expected_dice
from medseg.models.quality.input_gate import InputGate, Side, scan_features
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.review.worklist import RANDOM_SHARE, Candidate, failure_scores, mean_disagreement, reading_order
from medseg.training.planning.plan import Plan, TrainingSpec
from medseg.workflows.segmenting.segment_study import read_channels
from medseg.workflows.training.fine_tune import FineTuning
from medseg.workflows.training.train_model import train_model

Stream = Literal["as they are", "two contrasts"]
Arm = Literal["worklist", "random", "nobody"]

MANIFEST = Path(__file__).parents[2] / "data_manifests" / "msd_task04_hippocampus"
START, ROUND = 20, 10
TEST_CASES, WATCHED = 50, 2
EVERY, NOISE = 5, 0.03


@dataclass(frozen=True)
class Setting:
    """How long the trainings are, in steps, so that a busy machine changes nothing; where they lie; when to stop."""

    folder: Path
    rounds: int
    first_steps: int
    round_steps: int
    batch: int
    is_small: bool
    pool: int | None
    until: float
    """No round begins after this, by `time.time()`."""


@dataclass(frozen=True)
class Parts:
    """Who is trained on at first, who may be read, who tests; `watched` are two test cases for the training's curve."""

    start: list[Case]
    pool: list[Case]
    test: list[Case]

    @property
    def watched(self) -> list[Case]:
        return self.test[:WATCHED]


def parts(manifest: Manifest, seed: int, pool_size: int | None = None) -> Parts:
    """Whole subjects on each side, drawn anew for each seed."""
    by_subject: dict[str, list[Case]] = {}
    for case in manifest.cases:
        by_subject.setdefault(case.subject, []).append(case)
    subjects = sorted(by_subject)
    np.random.default_rng(seed).shuffle(subjects)
    start = [case for subject in subjects[:START] for case in by_subject[subject]]
    rest = [case for subject in subjects[START:] for case in by_subject[subject]]
    ends = None if pool_size is None else TEST_CASES + pool_size
    return Parts(start, rest[TEST_CASES:ends], rest[:TEST_CASES])


def rare_subjects(given: Parts) -> set[str]:
    """Every fifth subject of those who may be read, and of those who test."""
    sides = [sorted({case.subject for case in cases}) for cases in (given.pool, given.test)]
    return {subject for side in sides for subject in side[::EVERY]}


def second_contrast(volume: Volume, generator: np.random.Generator) -> Volume:
    """The scan with its greys inverted between the 1st and the 99th percentile, and noise."""
    array = volume.array.astype(np.float32)
    low, high = np.percentile(array, (1, 99))
    noise = generator.normal(0, NOISE * (high - low), array.shape)
    inverted = low + high - np.clip(array, low, high) + noise
    return Volume(inverted.astype(np.float32), volume.geometry, volume.unit)


def with_two_contrasts(manifest: Manifest, given: Parts, folder: Path) -> Manifest:
    """The data set with the scans of the rare subjects changed, written below a folder where they are not yet."""
    rare, channel = rare_subjects(given), manifest.task.channels[0]
    rows = []
    for number, (row, case) in enumerate(zip(manifest.rows, manifest.cases, strict=True)):
        if case.subject not in rare:
            rows.append(row)
        else:
            path = (folder / f"{case.name}.nii.gz").absolute()
            if not path.is_file():
                volume = read_channel(case.channels[channel.name], channel).volume
                write_volume(second_contrast(volume, np.random.default_rng(number)), path)
            rows.append(replace(row, channels={channel.name: DataFile(str(path))}))
    return replace(manifest, rows=tuple(rows))


def plan_of(manifest: Manifest, steps: int, seed: int, batch: int, *, is_small: bool = False) -> Plan:
    """The network of the hippocampus model, or one for many trainings on one core; a training of so many steps."""
    channels = (8, 16, 32) if is_small else (16, 32, 64, 128)
    deeper = len(channels) - 1
    model = ModelSpec(
        task=manifest.task,
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),)),
        network=UNet3DConfig(
            channels=channels, strides=((1, 1, 1), *((2, 2, 2),) * deeper), kernel_sizes=((3, 3, 3),) * len(channels)
        ),
        window=SlidingWindow(patch=(32, 40, 32) if is_small else (40, 56, 40), mirror_axes=(0,)),
    )
    spec = TrainingSpec(
        batch_size=batch,
        steps_per_epoch=steps,
        epochs=1,
        average_decay=0.98,
        warm_up_steps=min(50, steps // 10),
        seed=seed,
        validation_looks=1,
    )
    return Plan(model=model, training=spec)


def trained(
    manifest: Manifest, cases: Sequence[Case], watched: Sequence[Case], folder: Path, plan: Plan | FineTuning
) -> ModelBundle:
    """A model of these cases; the one that lies in the folder already, where it was trained before."""
    if (folder / "model" / LISTING).is_file():
        return load_bundle(folder / "model")
    names = {case.name for case in cases} | {case.name for case in watched}
    fold = {case.name: 0 for case in watched}
    rows = tuple(replace(row, fold=fold.get(row.case, 1)) for row in manifest.rows if row.case in names)
    chosen = Manifest(manifest.facts, manifest.task, rows, manifest.data_folder)
    return train_model(chosen, 0, folder, plan=plan).bundle


def first_model(manifest: Manifest, seed: int, setting: Setting) -> ModelBundle:
    """The model that all arms of a seed begin from."""
    given = parts(manifest, seed, setting.pool)
    plan = plan_of(manifest, setting.first_steps, seed, setting.batch, is_small=setting.is_small)
    return trained(manifest, given.start, given.watched, setting.folder / f"seed{seed}" / "start", plan)


@dataclass(frozen=True)
class Seen:
    """A scan as a model sees it: its true mean Dice, and how the worklist sees the result."""

    case: Case
    dice: float
    candidate: Candidate


class Reader:
    """Looks at scans with a model, and knows what scans are like that the model learned from."""

    def __init__(self, bundle: ModelBundle, folder: Path, gate: InputGate | None = None) -> None:
        self._bundle, self._folder, self._gate = bundle, folder, gate
        self._segmenter = NetworkSegmenter(bundle, choose_device("auto"))

    def look(self, case: Case) -> Seen:
        task = self._bundle.spec.task
        images = {name: scan.volume for name, scan in read_channels(case.channels, task).items()}
        made = self._segmenter.segment(images, None, Keep(tuple(label.name for label in task.labels), self._folder))
        assert case.label is not None
        reference = read_label_map(case.label, task.label_schema)
        volume = images[task.channels[0].name]
        return Seen(case, _dice(made.label_map.array, reference.array), self._candidate(case, volume, made))

    def _candidate(self, case: Case, volume: Volume, made: Segmentation) -> Candidate:
        assert made.probabilities is not None
        promised = list(expected_dice(made.label_map, made.probabilities).values())
        distances = self._gate.distances(scan_features(volume)) if self._gate else {}
        return Candidate(
            case.name,
            doubt=1 - float(np.mean(promised)) if promised else None,
            disagreement=mean_disagreement(made.label_map, made.probabilities.agreement),
            strangeness=max(distances.values()) if distances else None,
        )


def features_of(case: Case, manifest: Manifest) -> dict[Side, NDArray[np.float64]]:
    """What the input gate knows of a scan."""
    channel = manifest.task.channels[0]
    return scan_features(read_channel(case.channels[channel.name], channel).volume)


def run_arm(manifest: Manifest, seed: int, stream: Stream, arm: Arm, setting: Setting) -> None:
    """Append a row to results.jsonl for each round of one arm; Dice is on subjects of neither side.

    The arm "nobody" trains on as long without reading anything: what the steps alone gain.
    """
    home = setting.folder / f"seed{seed}"
    if stream == "two contrasts":
        manifest = with_two_contrasts(manifest, parts(manifest, seed, setting.pool), home / "second_contrast")
    given = parts(manifest, seed, setting.pool)
    rare = rare_subjects(given) if stream == "two contrasts" else set()
    bundle, known, pool = first_model(manifest, seed, setting), list(given.start), list(given.pool)
    generator = np.random.default_rng(1000 + seed)
    told: dict[str, object] = {}
    for number in range(setting.rounds + 1):
        begin = time.time()
        row = {"seed": seed, "stream": stream, "arm": arm, "read": ROUND * number, **told}
        row |= measured(bundle, given.test, rare, setting.folder)
        _append(row, setting.folder / "results.jsonl")
        if number == setting.rounds or time.time() > setting.until:
            break
        if arm != "nobody":
            read, told = chosen_by(arm, bundle, manifest, known, pool, generator, setting.folder)
            told["rare_read"] = sum(case.subject in rare for case in read)
            known += read
            pool = [case for case in pool if case not in read]
        steps = plan_of(manifest, setting.round_steps, seed, setting.batch, is_small=setting.is_small)
        place = home / f"{stream}, {arm}{number + 1}".replace(", ", "_").replace(" ", "_")
        bundle = trained(manifest, known, given.watched, place, FineTuning(bundle, steps))
        told["seconds"] = round(time.time() - begin, 1)


def measured(bundle: ModelBundle, test: Sequence[Case], rare: set[str], folder: Path) -> dict[str, object]:
    """Mean Dice over the test cases, over the worst tenth of them, and over those of the rare kind."""
    reader = Reader(bundle, folder)
    found = [(case.subject in rare, reader.look(case).dice) for case in test]
    dice = np.sort([value for _, value in found])
    facts: dict[str, object] = {"dice": float(dice.mean()), "worst_tenth": float(dice[: len(dice) // 10].mean())}
    if rare:
        facts["dice_rare"] = float(np.mean([value for is_rare, value in found if is_rare]))
    return facts


def chosen_by(
    arm: Arm,
    bundle: ModelBundle,
    manifest: Manifest,
    known: Sequence[Case],
    pool: Sequence[Case],
    generator: np.random.Generator,
    folder: Path,
) -> tuple[list[Case], dict[str, object]]:
    """Whom an arm reads next, and how well the model did on them and on the whole pool before it learned from them."""
    if arm == "random":
        return [pool[n] for n in generator.permutation(len(pool))[:ROUND]], {}
    gate = InputGate.fit([features_of(case, manifest) for case in known])
    reader = Reader(bundle, folder, gate)
    seen = {one.case.name: one for one in map(reader.look, pool)}
    candidates, dice = [one.candidate for one in seen.values()], [one.dice for one in seen.values()]
    order = reading_order(candidates, generator, RANDOM_SHARE)[:ROUND]
    signals = {
        "doubt": [one.doubt for one in candidates],
        "disagreement": [one.disagreement for one in candidates],
        "strangeness": [one.strangeness for one in candidates],
        "score": list(failure_scores(candidates)),
    }
    return [seen[one.study].case for one in order], {
        "pool_dice": float(np.mean(dice)),
        "read_dice": float(np.mean([seen[one.study].dice for one in order])),
        **{f"rank_{name}": float(spearmanr(values, dice).statistic) for name, values in signals.items()},
    }


def _dice(made: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """The mean over the two labels."""
    pairs = [(made == label, reference == label) for label in (1, 2)]
    return float(np.mean([2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in pairs]))


def _append(row: dict[str, object], path: Path) -> None:
    """One line by one write: several processes append to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
