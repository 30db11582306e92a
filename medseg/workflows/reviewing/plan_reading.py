"""Which studies of a folder to read next, from what the results tell of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from medseg.core.errors import MedsegError
from medseg.core.label_map import LabelMap
from medseg.core.probability import Probabilities, ProbabilityMap
from medseg.core.report import Report
from medseg.exchange.probabilities import AGREEMENT, probability_files
from medseg.exchange.read import read_label_map, read_scan
from medseg.models.quality.control import ResultQuality
from medseg.models.quality.expected_dice import expected_dice
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.review.records import review_status
from medseg.review.worklist import RANDOM_SHARE, Candidate, mean_disagreement, reading_order
from medseg.workflows.results.open_study import MASK_FILE, StudyEntry, list_studies
from medseg.workflows.segmenting.segment_study import QUALITY


def plan_reading(
    folder: Path,
    *,
    random_share: float = RANDOM_SHARE,
    seed: int = 0,
    judge: Callable[[StudyEntry, Report], Candidate] | None = None,
) -> tuple[Candidate, ...]:
    """The studies of a folder that nobody has decided on, in the order in which to read them.

    `judge` says what speaks for a failure of a result; `candidate_of` where it is not given.
    """
    judge = judge or candidate_of
    store = CorrectionStore(folder / REVIEW_FOLDER)
    waiting = []
    for entry in list_studies(folder):
        if entry.report is None:
            continue
        records = store.history(entry.report.source_sha256, entry.report.task.name, entry.report.model.sha256)
        if review_status(records) in ("new", "in review"):
            waiting.append(judge(entry, entry.report))
    return reading_order(waiting, np.random.default_rng(seed), random_share)


def candidate_of(entry: StudyEntry, report: Report) -> Candidate:
    """What speaks for a failure of a result, from its own files.

    The doubt is that of the Dice predicted in quality.json, else that of the kept probabilities; of a result with
    neither nothing is known.
    """
    name, folder, disagreement = entry.name, entry.path, None
    try:
        label_map = read_label_map(folder / MASK_FILE, report.task.label_schema)
        disagreement = _disagreement(folder, label_map)
        quality = quality_of(folder)
        if quality is None:
            return Candidate(name, _doubt(folder, report, label_map), disagreement)
        predicted = quality.predicted
        doubt = 1 - predicted.dice if predicted else _doubt(folder, report, label_map)
        return Candidate(name, doubt, disagreement, max(quality.distances.values()))
    except MedsegError:  # a result that cannot be read is one to look at
        return Candidate(name, None, disagreement)


def quality_of(folder: Path) -> ResultQuality | None:
    """What the model's quality control said of a result; None where it has none."""
    try:
        return ResultQuality.model_validate_json((folder / QUALITY).read_bytes())
    except (OSError, ValidationError):
        return None


def _doubt(folder: Path, report: Report, label_map: LabelMap) -> float | None:
    maps = {
        name: ProbabilityMap.of(read_scan(folder / file).volume)
        for name, file in probability_files(report.task).items()
        if (folder / file).is_file()
    }
    promised = list(expected_dice(label_map, Probabilities(maps)).values())
    return 1 - float(np.mean(promised)) if promised else None


def _disagreement(folder: Path, label_map: LabelMap) -> float | None:
    """As `mean_disagreement`; None where the agreement was not kept."""
    if not (folder / AGREEMENT).is_file():
        return None
    return mean_disagreement(label_map, ProbabilityMap.of(read_scan(folder / AGREEMENT).volume))
