"""What the reading room is told about a study: small, plain values; voxels go over the routes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from apps.viewer.study_on_screen import StudyOnScreen, thinning
from medseg.core.findings import FLAG_WORDS, Finding, Mark
from medseg.core.report import NOT_FOR_DIAGNOSIS, Report
from medseg.core.study import Series
from medseg.imaging.pictures.slices import PLANES, edges, to_screen_index
from medseg.review.agreement import awaits_adjudication, second_reading_problem
from medseg.review.records import Correction, Record, Verdict, review_status
from medseg.workflows.results.open_study import StudyEntry
from medseg.workflows.reviewing.plan_reading import quality_of

ROUTE_ROOT = "/data"

_SEVERITY = ("diameter_stenosis", "volume")
"""What tells how bad a finding is: the first of these that was measured."""


def study_data(
    on_screen: StudyOnScreen, marks: Sequence[Mark] = (), others_marks: Sequence[tuple[str, Mark]] = ()
) -> dict[str, Any]:
    """The study as JSON-ready values, in the terms of the component: indices in display order, lengths in mm.

    `marks` are the reader's own, which may be changed; those of others come after their names.
    """
    opened, screen = on_screen.opened, on_screen.screen
    report, series = opened.report, opened.series
    step = thinning(opened.volume.geometry.shape)
    label_schema = report.task.label_schema if report is not None else None
    return {
        "id": on_screen.key[0],
        "files": on_screen.files,
        "name": opened.entry.name,
        "base": f"{ROUTE_ROOT}/studies/{on_screen.key[0]}",
        "patient": person_name(series.study.patient_name),
        "about": _about(series, report),
        "modality": series.modality,
        "is_second_reading": on_screen.is_second_reading,
        "corner": _corner(series),
        "notice": NOT_FOR_DIAGNOSIS.rstrip("."),
        "provenance": _provenance(report, opened.correction),
        "model": report.model.name if report is not None else None,
        "is_thinned": step > 1,
        "warnings": [*_thinning_note(step), *opened.warnings],
        "window": {"centre": on_screen.window.centre, "width": on_screen.window.width},
        "scan": {
            "shape": list(screen.geometry.shape),
            "spacing_mm": list(screen.geometry.spacing_mm),
            "affine": screen.geometry.affine.tolist(),
            "inverse": np.linalg.inv(screen.geometry.affine).tolist(),
            "slope": screen.slope,
            "intercept": screen.intercept,
            "unit": screen.unit,
            "own_shape": _on_screen_shape(on_screen),
            "step": [step, step, 1],
            "axes": list(screen.turn.axes),
            "flips": list(screen.turn.flips),
        },
        "marks": [mark.model_dump(mode="json") for mark in marks],
        "others_marks": [{"reader": by, **mark.model_dump(mode="json")} for by, mark in others_marks],
        "edges": {plane: asdict(edges(screen.geometry, plane)) for plane in PLANES},
        "mask": None
        if on_screen.mask_gzip is None
        else {
            "bytes_per_label": on_screen.bytes_per_label,
            "sha256": on_screen.mask_sha256,
        },
        "status": review_status(opened.records),
        "verdicts": _verdicts(on_screen),
        "labels": []
        if label_schema is None
        else [
            {
                "index": label.index,
                "name": label.name,
                "colour": list(label.colour),
                "is_counted": label.is_counted,
                "kind": label.kind,
            }
            for label in label_schema.labels
        ],
        "findings": []
        if report is None
        else [_finding(finding, on_screen) for finding in sorted(report.findings, key=_importance)],
    }


def predicted_dice(on_screen: StudyOnScreen) -> dict[str, Any] | None:
    """What the model's quality control expects of the mask that is shown; None where nothing is known of it."""
    quality = None if on_screen.opened.correction else quality_of(on_screen.opened.entry.path)
    return None if quality is None or quality.predicted is None else quality.predicted.model_dump(mode="json")


def person_name(dicom_name: str) -> str:
    """A DICOM person name (PS3.5 6.2.1, Family^Given^Middle^Prefix^Suffix) for people: "Family, Given Middle"."""
    family, *others = dicom_name.split("=", maxsplit=1)[0].split("^")
    given = " ".join(part.strip() for part in others[:2] if part.strip())
    return f"{family.strip()}, {given}" if given else family.strip()


def date(dicom_date: str) -> str:
    """A DICOM date (YYYYMMDD) as YYYY-MM-DD; anything else as it is."""
    if len(dicom_date) == 8 and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date


def _importance(finding: Finding) -> tuple[bool, int, float, int]:
    """Lesions and blockages before organs and vessels; of each label the worst first: narrowest, then largest."""
    severity = next((v for name in _SEVERITY if (v := finding.value(name)) is not None), 0.0)
    return not finding.label.is_counted, finding.label.index, -severity, finding.instance


def _finding(finding: Finding, on_screen: StudyOnScreen) -> dict[str, Any]:
    return {
        "label": finding.label.name,
        "label_index": finding.label.index,
        "colour": list(finding.label.colour),
        "is_counted": finding.label.is_counted,
        "instance": finding.instance,
        "index": _shown_index(finding, on_screen),
        "centroid_mm": list(finding.centroid_mm),
        "place": finding.place,
        "flags": [FLAG_WORDS[flag] for flag in finding.flags],
        "measurements": [
            {
                "name": m.name.replace("_", " ").replace(" 3d ", " 3D "),
                "value": m.value,
                "unit": _unit(m.unit),
                "interval": list(m.interval) if m.interval is not None else None,
            }
            for m in finding.measurements
        ],
    }


def _shown_index(finding: Finding, on_screen: StudyOnScreen) -> list[int]:
    """The shown voxel nearest to a finding's own, in display order."""
    geometry = on_screen.opened.volume.geometry
    step = thinning(geometry.shape)
    i, j, k = to_screen_index(geometry, finding.index)
    return [i // step, j // step, k]


def _on_screen_shape(on_screen: StudyOnScreen) -> list[int]:
    """The shape of the whole scan along the screen's axes i, j, k."""
    shape = on_screen.opened.volume.geometry.shape
    return [shape[axis] for axis in on_screen.screen.turn.axes]


def _thinning_note(step: int) -> list[str]:
    if step == 1:
        return []
    note = (
        f"this scan is large: one in {step} pixels of each row and column is shown, at its true place and value. "
        "Findings are measured on all voxels; the mask cannot be corrected here."
    )
    return [note]


def _unit(ucum: str) -> str:
    """A UCUM unit as people write it."""
    return {"[hnsf'U]": "HU", "mL": "ml", "g/ml{SUVbw}": "SUV", "[arb'U]": "1"}.get(ucum, ucum)


def _about(series: Series, report: Report | None) -> str:
    parts = [series.study.patient_id, date(series.study.date), series.modality, series.description or series.body_part]
    if report is not None:
        parts.append(report.task.title)
    return "  ·  ".join(part for part in parts if part)


def _corner(series: Series) -> list[str]:
    texts = [
        person_name(series.study.patient_name),
        series.study.patient_id,
        date(series.study.date),
        series.study.description,
        series.description,
    ]
    return [text for text in texts if text]


def _verdicts(on_screen: StudyOnScreen) -> list[dict[str, Any]]:
    """The last word on each finding of the mask that is shown."""
    words = {
        record.finding: {"finding": list(record.finding), "decision": record.decision}
        for record in on_screen.opened.records
        if isinstance(record, Verdict) and record.finding is not None and record.mask_sha256 == on_screen.mask_sha256
    }
    return list(words.values())


def _provenance(report: Report | None, correction: Correction | None) -> str:
    if report is None:
        return "not segmented"
    model = report.model
    made = report.created.strftime("%Y-%m-%d %H:%M")
    text = f"{model.name} {model.sha256[:8]}, medseg {model.medseg_version}, {made}"
    if correction is None:
        return text
    return f"{text}; corrected by {correction.reader}, {correction.made.strftime('%Y-%m-%d %H:%M')}"


def worklist_row(entry: StudyEntry, records: Sequence[Record], user: str) -> dict[str, Any]:
    """One line of the worklist as JSON-ready values; `why_not_second` says why this user may not read it blind."""
    report = entry.report
    study = report.series.study if report is not None else None
    return {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.name,
        "patient": person_name(study.patient_name) if study is not None else "",
        "patient_id": study.patient_id if study is not None else "",
        "date": date(study.date) if study is not None else "",
        "modality": report.series.modality if report is not None else "",
        "task": report.task.title if report is not None else "",
        "findings": _counted(report) if report is not None else "",
        "warnings": len(report.warnings) if report is not None else 0,
        "created": report.created.strftime("%Y-%m-%d %H:%M") if report is not None else "",
        "status": _status(entry, records),
        "awaits_adjudication": awaits_adjudication(records),
        "why_not_second": second_reading_problem(records, user) or "",
        "problem": entry.problem or "",
    }


def _status(entry: StudyEntry, records: Sequence[Record]) -> str:
    if entry.problem:
        return "unreadable"
    if entry.kind == "vessels":
        return "vessels"
    return review_status(records) if entry.report is not None else "not segmented"


def _counted(report: Report) -> str:
    """How many of each counted label, "lesion × 2, blockage × 1", and what was not assessable; organs are not counted.

    The numbers do not wrap.
    """
    counts = Counter(finding.label.name for finding in report.findings if finding.label.is_counted)
    unknown = [f"{name} not assessable" for name in report.not_assessable]
    return ", ".join([*(f"{name} ×\u00a0{count}" for name, count in counts.items()), *unknown])
