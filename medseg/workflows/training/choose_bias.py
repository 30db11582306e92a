"""Whether masks are decoded with a bias towards foreground or away from it: fitted and judged out of fold.

The bias of each fold is fitted on the held-out cases of the other folds and tried on its own (nested cross-validation),
so that a gain is not one of having looked. A model that was trained to its end seldom gains; one that had to stop early
often draws its labels too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.analysis.evaluation.foreground_bias import dice_by_bias
from medseg.analysis.evaluation.scores import CaseScores
from medseg.core.atomic import whole_file
from medseg.core.study import Case
from medseg.models.bundle import ModelBundle
from medseg.models.inference.device import DeviceName, choose_device
from medseg.models.inference.segmenter import NetworkSegmenter, network_of
from medseg.models.inference.sliding_window import sweep
from medseg.training.cases import PreparedCase
from medseg.workflows.models.evaluate_model import evaluate_model, read_case_scores, write_case_scores
from medseg.workflows.progress import Progress, silent
from medseg.workflows.training.gain import Gain, gain_of

CURVES, BIASED = "dice_by_bias.npz", "validation_biased.csv"


class Decoding(Gain):
    """What a bias gained on held-out cases, and whether it is kept.

    `fold_biases` are those that each fold was tried with, fitted on the others; `bias` is fitted on all and is what the
    models get if it is kept.
    """

    bias: float
    fold_biases: tuple[float, ...]


def biased(bundle: ModelBundle, bias: float) -> ModelBundle:
    """The same model with that much more bias; it is another model, whose hash follows when it is saved."""
    spec = bundle.spec.model_copy(update={"foreground_bias": bundle.spec.foreground_bias + bias})
    return replace(bundle, sha256="", spec=spec)


def dice_curves(
    bundle: ModelBundle,
    cases: Sequence[PreparedCase],
    folder: Path,
    *,
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Dice (case, bias, label) of prepared cases by bias, kept in the folder: what is there is not done again."""
    path = folder / CURVES
    names = [case.name for case in cases]
    if path.is_file():
        with np.load(path) as stored:
            if stored["cases"].tolist() == names:
                return np.asarray(stored["dice"], dtype=np.float64)
    where = choose_device(device)
    network = network_of(bundle).eval().to(where).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    curves = []
    for done, case in enumerate(cases, start=1):
        scores = sweep(network, case.image, bundle.spec.window, class_count=bundle.spec.class_count, device=where)
        curves.append(dice_by_bias(scores, case.classes))
        progress("Fitting a bias", done, len(cases))
    with whole_file(path) as unfinished:
        np.savez(unfinished, dice=np.array(curves), cases=np.array(names))
    return np.array(curves)


def score_biased(
    bundle: ModelBundle,
    cases: Sequence[Case],
    folder: Path,
    *,
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> tuple[CaseScores, ...]:
    """The scores of held-out cases by a model with its bias, kept in the folder; what is there is not done again."""
    task = bundle.spec.task
    if not (folder / BIASED).is_file():
        evaluation = evaluate_model(NetworkSegmenter(bundle, choose_device(device)), task, cases, progress)
        write_case_scores(evaluation.cases, folder / BIASED)
    return read_case_scores(folder / BIASED, task)


def choose_bias(
    bias: float,
    fold_biases: Sequence[float],
    without: Sequence[CaseScores],
    with_bias: Sequence[CaseScores],
    subjects: Sequence[str],
) -> Decoding:
    """The decision from the same cases, decoded both ways; `subjects` are those of `without`, in its order."""
    gain = gain_of(without, with_bias, subjects)
    return Decoding(bias=bias, fold_biases=tuple(fold_biases), **gain.model_dump())
