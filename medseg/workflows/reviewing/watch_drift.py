"""Watch a folder of results, such as that of a batch, for drift: its scans, its findings, its readers' verdicts.

The report lies in the folder as drift.jsonl, a line for each time that somebody looked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from medseg.core.errors import InputError
from medseg.core.report import Report
from medseg.models.quality.control import ResultQuality
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore
from medseg.review.drift import BASELINE, DriftReport, watch_all
from medseg.review.records import Record, review_status, shown_correction
from medseg.workflows.results.open_study import StudyEntry, list_studies
from medseg.workflows.segmenting.process_batch import MANIFEST
from medseg.workflows.segmenting.segment_study import QUALITY

DRIFT_LOG = "drift.jsonl"


def watch_drift(folder: Path, baseline: int = BASELINE) -> DriftReport:
    """How the series of a folder stand, after a line in its log. Raises InputError where there is no result."""
    report = drift_of(folder, list_studies(folder), baseline)
    with (folder / DRIFT_LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**report.model_dump(mode="json"), "alerts": report.alerts}) + "\n")
    return report


def drift_of(folder: Path, entries: Sequence[StudyEntry], baseline: int = BASELINE) -> DriftReport:
    """How the series of some results stand, in order of when they were made; nothing is written.

    Raises InputError where there is no result.
    """
    made = [(entry.path, entry.report) for entry in entries if entry.report is not None]
    if not made:
        raise InputError(f"{folder} holds no results to watch. Give the output of `medseg batch` or `medseg segment`.")
    made.sort(key=lambda one: one[1].created)
    reports = [report for _, report in made]
    store = CorrectionStore(folder / REVIEW_FOLDER)
    histories = [store.history(report.source_sha256, report.task.name, report.model.sha256) for report in reports]
    decided = [records for records in histories if review_status(records) in ("accepted", "rejected")]
    series = {
        "distance from known scans": _distances([path for path, _ in made]),
        "findings a scan": [float(len(report.findings)) for report in reports],
        "volume found a scan (ml)": [_volume_ml(report) for report in reports],
        "scans with warnings": [float(bool(report.warnings)) for report in reports],
        "scans set aside": _failures(folder / MANIFEST),
        "results accepted": [float(review_status(records) == "accepted") for records in decided],
        "edit distance (1 - Dice)": [_edit_distance(records) for records in decided],
    }
    return watch_all(series, datetime.now(UTC), baseline)


def _distances(folders: Sequence[Path]) -> list[float]:
    """The largest distance of each scan on any side of the input gate, where its model has one."""
    found = []
    for folder in folders:
        try:
            quality = ResultQuality.model_validate_json((folder / QUALITY).read_bytes())
        except (OSError, ValidationError):
            continue
        found.append(max(quality.distances.values()))
    return found


def _volume_ml(report: Report) -> float:
    volumes = (m.value for finding in report.findings for m in finding.measurements if m.name == "volume")
    return float(sum(volumes))


def _failures(manifest: Path) -> list[float]:
    """Whether each scan of a batch was set aside, in the order of the queue."""
    if not manifest.is_file():
        return []
    lines = (json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines())
    return [float(line["state"] == "quarantined") for line in lines if line["state"] in ("done", "quarantined")]


def _edit_distance(records: Sequence[Record]) -> float:
    """How far the correction that is shown lies from its base; 0 where nothing was corrected."""
    shown = shown_correction(records)
    return 0.0 if shown is None or shown.dice is None else 1 - shown.dice
