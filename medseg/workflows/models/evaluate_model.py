"""Score masks against references: a model on the cases of a data set, or one mask against another."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.analysis.evaluation.scores import METRICS, CaseScores, LabelScores, score_case
from medseg.analysis.evaluation.summary import Summary, summarise
from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.study import Case
from medseg.core.task import Task, load_task
from medseg.datasets.manifest import Manifest
from medseg.exchange.read import read_label_map
from medseg.models.bundle import Score, Scores
from medseg.models.inference.device import DeviceName, choose_device
from medseg.models.inference.ensemble import Model, members_of
from medseg.models.inference.segmenter import NetworkSegmenter, Segmenter
from medseg.models.store import load_model
from medseg.workflows.progress import Progress, silent
from medseg.workflows.segmenting.segment_study import read_channels

UNITS = {
    "dice": "1",
    "nsd": "1",
    "hd95_mm": "mm",
    "assd_mm": "mm",
    "volume_difference_ml": "ml",
    "volume_difference_percent": "%",
}
"""The UCUM unit of each metric."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of each case, what they come to, and what a reader must know of them."""

    cases: tuple[CaseScores, ...]
    summary: Summary
    warnings: tuple[str, ...] = ()


def evaluate_model(segmenter: Segmenter, task: Task, cases: Sequence[Case], progress: Progress = silent) -> Evaluation:
    """Every case segmented and scored on its own grid; patients, not scans, are drawn for the intervals.

    Raises InputError where a case has no reference mask or cannot be read.
    """
    if not cases:
        raise InputError("there are no cases to evaluate on; choose another fold")
    scored = []
    for done, case in enumerate(cases, start=1):
        if case.label is None:
            raise InputError(f"case {case.name} has no reference mask to score against")
        scans = read_channels(case.channels, task)
        reference = read_label_map(case.label, task.label_schema)
        predicted = segmenter.segment({name: scan.volume for name, scan in scans.items()}).label_map
        scored.append(score_turned(predicted, reference, task, case.name))
        progress("Evaluating", done, len(cases))
    return Evaluation(tuple(scored), summarise(scored, subjects=[case.subject for case in cases]))


def evaluate_bundle(
    model: str | Path, manifest: Manifest, fold: int | None, *, device: DeviceName = "auto", progress: Progress = silent
) -> Evaluation:
    """The scores of a bundle or ensemble on one fold of a data set, or on its test cases.

    It warns of cases that the model, or a member of the ensemble, learned from. Raises StoreError for a missing or
    altered one, InputError where the data set is for another task.
    """
    bundle = load_model(model)
    task = bundle.spec.task
    if task.labels != manifest.task.labels or task.channels != manifest.task.channels:
        raise InputError(
            f"the model {bundle.name} is for the task {task.name}, the data set {manifest.facts.name} for "
            f"{manifest.task.name}; their channels and labels differ. Choose a data set or a model that fits."
        )
    task = task.model_copy(update={"ignored_index": manifest.task.ignored_index})  # a matter of the masks at hand
    cases = manifest.test if fold is None else manifest.validation(fold)
    if not cases:
        raise InputError(f"data set {manifest.facts.name} keeps no cases for the test; choose a --fold")
    evaluation = evaluate_model(NetworkSegmenter(bundle, choose_device(device)), task, cases, progress)
    return replace(evaluation, warnings=_flattery(bundle, manifest.facts.name, cases))


def _flattery(model: Model, dataset: str, cases: Sequence[Case]) -> tuple[str, ...]:
    """A warning where the model has learned from some of the cases; they are known by data set and name."""
    origins = [member.provenance for member in members_of(model)]
    learned = {name for origin in origins if origin.dataset == dataset for name in origin.case_sha256}
    count = sum(case.name in learned for case in cases)
    if not count:
        return ()
    who = "the model" if len(origins) == 1 else "members of the ensemble"
    warning = (
        f"{who} learned from {count} of these {len(cases)} cases, so that the scores flatter. Score it on cases it has "
        "not seen; what was reached on held-out cases stands in the scores.json of the model."
    )
    return (warning,)


def open_task(name_or_path: str) -> Task:
    """A shipped task, or one in a TOML file. Raises InputError where there is none."""
    return load_task(name_or_path)


def evaluate_mask(prediction: Path, reference: Path, task: Task) -> CaseScores:
    """The scores of one mask file against another. Raises InputError, or GeometryError on different grids."""
    masks = [read_label_map(path, task.label_schema) for path in (prediction, reference)]
    return score_turned(masks[0], masks[1], task, prediction.name)


def score_turned(prediction: LabelMap, reference: LabelMap, task: Task, case: str) -> CaseScores:
    """The scores of a mask against its reference, which may store the same voxels in another order of axes."""
    turned = [label_map.reoriented("RAS") for label_map in (prediction, reference)]
    indices = {
        region.name: tuple(task.label_schema.named(name).index for name in region.labels) for region in task.regions
    }
    return score_case(turned[0], turned[1], tolerance_mm=task.surface_tolerance_mm, case=case, regions=indices)


def bundle_scores(evaluation: Evaluation, dataset: str, split: str) -> Scores:
    """What a bundle remembers of an evaluation; statistics without a single defined case are left out."""
    summary = evaluation.summary
    rows = [*summary.by_label.items(), *summary.by_region.items(), ("mean", summary.over_labels)]
    return Scores(
        dataset=dataset,
        split=split,
        scores=tuple(
            Score(
                metric=metric,
                label=label,
                unit=UNITS[metric],
                mean=statistic.mean,
                interval=statistic.interval,
                cases=statistic.cases,
            )
            for label, statistics in rows
            for metric, statistic in statistics.items()
            if statistic.cases and math.isfinite(statistic.mean)
        ),
    )


def write_case_scores(cases: Sequence[CaseScores], path: Path) -> None:
    """All scores as CSV, one row a case and label; what is not defined is written as nan, a missed structure as inf."""
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "label", *METRICS, "prediction_ml", "reference_ml"])
        for case in cases:
            for label in (*case.labels, *case.regions):
                values = [label.value(metric) for metric in METRICS]
                volumes = [label.prediction_ml, label.reference_ml]
                writer.writerow([case.case, label.label, *(f"{value:.6g}" for value in (*values, *volumes))])


def read_case_scores(path: Path, task: Task) -> tuple[CaseScores, ...]:
    """The scores that `write_case_scores` wrote, at the task's tolerance. Raises InputError where they are not those.

    The file holds six digits of each number.
    """
    names = [*(label.name for label in task.labels), *(region.name for region in task.regions)]
    by_case: dict[str, list[LabelScores]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                case, label = row.pop("case"), row.pop("label")
                numbers = {name: float(value) for name, value in row.items()}
                by_case.setdefault(case, []).append(LabelScores(label=label, **numbers))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not hold the scores of cases ({error}). Delete it to score them again."
        ) from error
    for case, scores in by_case.items():
        if [score.label for score in scores] != names:
            raise InputError(
                f"{path} does not hold each label and region of case {case} once. Delete it to score them again."
            )
    count = len(task.labels)
    return tuple(
        CaseScores(case, tuple(scores[:count]), task.surface_tolerance_mm, tuple(scores[count:]))
        for case, scores in by_case.items()
    )
