"""Give a model its quality control: temperature, predicted Dice, input gate; fitted on cases held out from it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.analysis.evaluation.scores import LabelScores
from medseg.core.errors import InputError, StoreError
from medseg.core.study import Case
from medseg.core.task import Task
from medseg.datasets.manifest import Manifest
from medseg.exchange.read import read_label_map
from medseg.exchange.read_channel import read_channel
from medseg.models.bundle import ModelBundle, load_bundle, save_bundle
from medseg.models.inference.device import DeviceName, choose_device
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.quality.control import QualityControl
from medseg.models.quality.dice_prediction import COVERAGE, FEWEST_CASES, DicePredictor, result_features
from medseg.models.quality.input_gate import InputGate, Side, scan_features
from medseg.models.quality.temperature import class_samples, fit_temperature
from medseg.models.store import load_model
from medseg.workflows.models.evaluate_model import score_turned
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import read_channels


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """One case with a reference as quality control sees it."""

    case: str
    dice: float
    shown: NDArray[np.float64]
    samples: NDArray[np.float32]
    truth: NDArray[np.int64]


def qualify_model(
    model: str | Path,
    manifest: Manifest,
    fold: int,
    output: Path,
    *,
    cross_validation: Path | None = None,
    coverage: float = COVERAGE,
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> ModelBundle:
    """The bundle with its quality control, written to another folder: another content, and so another identity.

    `fold` is what was held out from its training; the gate also learns the scans of the other folds. With the run
    folder of a cross-validation by the same plan, temperature and predicted Dice come from every case, each by the
    model of the fold that it was held out from. Fewer than `FEWEST_CASES` held-out cases give no predicted Dice. Raises
    InputError where a model has learned from its fold, there is no held-out case, or there are too few scans for the
    gate or too few cases for the coverage; StoreError for an ensemble.
    """
    bundle = load_model(model)
    if not isinstance(bundle, ModelBundle):
        raise StoreError("quality control is kept with a single model; an ensemble has none")
    checkers = {fold: bundle} if cross_validation is None else _fold_models(cross_validation, bundle)
    for number, checker in checkers.items():
        _require_unseen(checker, manifest.validation(number), manifest.facts.name, number)
    scans = [*manifest.training(fold), *manifest.validation(fold)]
    gate = InputGate.fit([_features(case, bundle.spec.task) for case in scans])
    looked: list[Looked] = []
    for number, checker in checkers.items():
        looked += look_at(checker, manifest.validation(number), device, progress)
    if not looked:
        raise InputError(f"fold {fold} of {manifest.facts.name} holds no case to check results on; name another fold")
    named = f"fold {fold}" if cross_validation is None else f"folds {', '.join(map(str, checkers))}"
    quality = QualityControl(
        temperature=fit_temperature(
            np.concatenate([one.samples for one in looked]), np.concatenate([one.truth for one in looked])
        ),
        predictor=_predictor(looked, coverage),
        gate=gate,
        fitted_on=f"{manifest.facts.name}, {named}",
    )
    return save_bundle(output, bundle.spec, bundle.weights, bundle.provenance, bundle.scores, quality)


def _predictor(looked: Sequence[Looked], coverage: float) -> DicePredictor | None:
    """None where there are too few cases for any interval. Raises InputError where they are too few for this one."""
    if len(looked) < FEWEST_CASES:
        return None
    shown, dice = [one.shown for one in looked], [one.dice for one in looked]
    return DicePredictor.fit(shown, dice, coverage).measured(shown, dice)


def _fold_models(run: Path, bundle: ModelBundle) -> dict[int, ModelBundle]:
    """The model of each fold of a cross-validation. Raises StoreError where there are none, or of another network."""
    places = sorted(run.glob("fold_*/model"), key=lambda place: int(place.parent.name.removeprefix("fold_")))
    if not places:
        raise StoreError(f"{run} holds no folds; give the run folder of `medseg cross-validate`")
    models = {int(place.parent.name.removeprefix("fold_")): load_bundle(place) for place in places}
    if any(one.spec.task != bundle.spec.task or one.spec.network != bundle.spec.network for one in models.values()):
        raise StoreError(
            f"the folds in {run} are of another task or network than {bundle.name}: they say nothing of it"
        )
    return models


def _require_unseen(bundle: ModelBundle, cases: Sequence[Case], dataset: str, fold: int) -> None:
    learned = bundle.provenance.case_sha256 if bundle.provenance.dataset == dataset else {}
    seen = [case.name for case in cases if case.name in learned]
    if seen:
        raise InputError(
            f"the model has learned from {len(seen)} cases of fold {fold}, the first {seen[0]}, on which it is surer "
            "than on others. Choose the fold that was held out from its training."
        )


def look_at(
    bundle: ModelBundle, cases: Sequence[Case], device: DeviceName = "auto", progress: Progress = silent
) -> list[Looked]:
    """Every case segmented, with its true mean Dice. Raises InputError where one has no reference."""
    task, segmenter = bundle.spec.task, NetworkSegmenter(bundle, choose_device(device))
    generator = np.random.default_rng(0)
    looked = []
    with tempfile.TemporaryDirectory() as place:
        keep = Keep(tuple(label.name for label in task.labels), Path(place))
        for done, case in enumerate(cases, start=1):
            if case.label is None:
                raise InputError(f"case {case.name} has no reference mask to check results against")
            scans = read_channels(case.channels, task)
            made = segmenter.segment({name: scan.volume for name, scan in scans.items()}, None, keep)
            reference = read_label_map(case.label, task.label_schema)
            if made.probabilities is None or made.label_map.geometry.difference(reference.geometry) is not None:
                raise InputError(f"the scan and the reference of case {case.name} are stored along other axes")
            scores = score_turned(made.label_map, reference, task, case.name).labels
            samples, truth = class_samples(made.probabilities, reference, generator)
            shown = result_features(scans[task.channels[0].name].volume, made.label_map, made.probabilities)
            looked.append(Looked(case.name, mean_dice(scores), shown, samples, truth))
            progress("Checking results", done, len(cases))
    return looked


def mean_dice(scores: Sequence[LabelScores]) -> float:
    """Over the labels that are there or were found; 1 where nothing is and nothing was found, which is right."""
    dice = [score.dice for score in scores if not math.isnan(score.dice)]
    return float(np.mean(dice)) if dice else 1.0


def _features(case: Case, task: Task) -> dict[Side, NDArray[np.float64]]:
    channel = task.channels[0]
    return scan_features(read_channel(case.channels[channel.name], channel).volume)
