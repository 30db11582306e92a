"""The reviews of a folder of results: found untouched, their readers compared, their differences settled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.report import Report
from medseg.review.agreement import Agreement, adjudicate, agreement, contradiction, readings
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.review.head import Head
from medseg.review.records import Adjudication, Correction
from medseg.workflows.results.open_study import list_studies


@dataclass(frozen=True, slots=True)
class TwoReadings:
    """Two readers' masks of one study compared; `problem` says what excludes what, until somebody has adjudicated."""

    study: str
    first: Correction
    second: Correction
    agreement: Agreement
    problem: str | None


def reviews_of(folder: Path) -> CorrectionStore:
    """The reviews kept with a folder of results, or in it. Raises InputError where there are none."""
    for place in (folder / REVIEW_FOLDER, folder):
        if (place / "reviews.sqlite").is_file():
            return CorrectionStore(place)
    raise InputError(
        f"{folder} holds no reviews: it has no {REVIEW_FOLDER}. Give the folder that `medseg view` was opened on."
    )


def verify_reviews(folder: Path, noted: str | None = None) -> Head | None:
    """The head of the reviews of a folder, all found untouched. Raises StoreError where anything was tampered with."""
    return reviews_of(folder).verify(noted)


def compare_readings(folder: Path) -> tuple[TwoReadings, ...]:
    """Every two readers of each study that more than one reader corrected, in order of the studies' names."""
    store = reviews_of(folder)
    return tuple(pair for name, report in reports_in(folder) for pair in readings_of(store, name, report))


def readings_of(store: CorrectionStore, study: str, report: Report) -> tuple[TwoReadings, ...]:
    """Every two readers of one study; none where fewer than two corrected it."""
    records = store.history(report.source_sha256, report.task.name, report.model.sha256)
    problem = contradiction(records)
    corrections = readings(records)
    masks = {one.mask_sha256: store.mask(one, report.task.label_schema) for one in corrections}
    return tuple(
        TwoReadings(study, one, other, agreement(masks[one.mask_sha256], masks[other.mask_sha256]), problem)
        for one, other in combinations(corrections, 2)
    )


def adjudicate_study(folder: Path, study: str, winner: str, *, by: Signature) -> Adjudication:
    """The record that the mask of one reader of a study stands. Raises InputError where it cannot be said."""
    known = dict(reports_in(folder))
    if study not in known:
        raise InputError(f"{folder} holds no segmented study {study!r}; it holds {', '.join(known) or 'none'}")
    return adjudicate_report(reviews_of(folder), known[study], winner, by=by)


def adjudicate_report(
    store: CorrectionStore, report: Report, winner: str, *, by: Signature, seen: str | None = None
) -> Adjudication:
    """As `adjudicate_study`, of a study that was opened; `seen` is the hash of the mask that the judge looked at."""
    judge = replace(by, model_sha256=report.model.sha256)
    schema = report.task.label_schema
    return adjudicate(store, report.source_sha256, report.task.name, schema, winner, by=judge, seen=seen)


def reports_in(folder: Path) -> Iterator[tuple[str, Report]]:
    """The name and the report of each result in a folder."""
    for entry in list_studies(folder):
        if entry.report is not None:
            yield entry.name, entry.report
