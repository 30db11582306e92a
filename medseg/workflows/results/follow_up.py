"""Follow lesions over the scans of one patient: align each scan with the next, match, measure the change, respond.

The output folder holds

    course.json    every lesion at every scan, the target lesions, the response at each scan with the rule that decided
    changes.csv    what became of each lesion between two scans: sizes, change in percent, doubling time
    course.pdf     the same on a page for people, with a figure of the course
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from medseg.analysis.quantification.change import LesionChange, Visit, compare_visits
from medseg.analysis.quantification.course import follow
from medseg.core.atomic import require_output_folder, whole_folder
from medseg.core.course import Course
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.task import Task
from medseg.exchange.reports.course_pdf import write_course_pdf
from medseg.imaging.registration import align
from medseg.jobs.cores import usable_cores
from medseg.workflows.progress import Progress, silent
from medseg.workflows.results.open_study import OpenedStudy, list_studies, open_study

COURSE, CHANGES, PAGE = "course.json", "changes.csv", "course.pdf"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The course over all scans, and what became of each lesion from each scan to the next.

    `moved_mm` is how far, on the mean, each scan had to be moved onto the next; `warnings` say what to beware of.
    """

    course: Course
    changes: tuple[tuple[LesionChange, ...], ...]
    moved_mm: tuple[float, ...]
    warnings: tuple[str, ...]


def follow_up(
    results: Sequence[Path], output: Path, *, is_deformable: bool = True, progress: Progress = silent
) -> FollowUp:
    """The follow-up of two result folders or more, after it was written to the output folder, whole or not at all.

    Scans are taken in order of their study dates where all have one, else in the order given, with a warning.
    Raises InputError where fewer than two are given, one cannot be opened or has no mask, or they are of different
    patients or tasks.
    """
    if len(results) < 2:
        raise InputError(f"a follow-up needs two results or more, got {len(results)}; give them all")
    require_output_folder(output, own=COURSE)
    studies = [_opened(path) for path in results]
    warnings = [warning for study in studies for warning in study.warnings]
    visits = [visit_of(study) for study in studies]
    order, doubt = _in_time(visits)
    warnings += doubt
    studies, visits = [studies[n] for n in order], [visits[n] for n in order]
    task = _one_task(studies)
    changes: list[tuple[LesionChange, ...]] = []
    moved_mm = []
    for number in range(1, len(visits)):
        before, after = studies[number - 1], studies[number]
        progress("Aligning and matching", number - 1, len(visits) - 1)
        alignment = align(after.volume, before.volume, is_deformable=is_deformable, threads=usable_cores())
        changes.append(compare_visits(visits[number - 1], visits[number], task, alignment))
        moved_mm.append(alignment.moved_mm)
    progress("Aligning and matching", len(visits) - 1, len(visits) - 1)
    course = follow(visits, changes, slice_mm=max(_slice_mm(study.volume.geometry) for study in studies))
    found = FollowUp(course, tuple(changes), tuple(moved_mm), tuple(dict.fromkeys(warnings)))
    _write(found, studies, output)
    return found


def _opened(path: Path) -> OpenedStudy:
    entries = list_studies(path)
    if len(entries) != 1 or entries[0].kind != "result":
        raise InputError(f"{path} is not one result of `medseg segment`; give each scan's result folder")
    return open_study(entries[0])


def visit_of(study: OpenedStudy) -> Visit:
    """The study as one scan of a course. Raises InputError where it has no mask."""
    if study.label_map is None or study.report is None:
        raise InputError(f"{study.entry.path} has no mask to follow. {' '.join(study.warnings)}".strip())
    when = study.series.study.date
    try:
        day = datetime.strptime(when, "%Y%m%d").replace(tzinfo=UTC).date() if when else None
    except ValueError:
        day = None
    return Visit(study.label_map, study.report.findings, day, study.series.study.patient_id)


def _slice_mm(geometry: Geometry) -> float:
    """The distance of axial slices, by which RECIST decides what can be measured."""
    return geometry.reoriented(geometry.reorientation_to("RAS")).spacing_mm[2]


def _in_time(visits: Sequence[Visit]) -> tuple[list[int], list[str]]:
    """The numbers of the visits in order of time, and what is doubtful about it."""
    dates = [visit.when for visit in visits]
    known = [when for when in dates if when is not None]
    if len(known) < len(dates):
        missing = ", ".join(str(n + 1) for n, when in enumerate(dates) if when is None)
        doubt = f"scan {missing} names no study date: the scans are taken in the order given, without rates of growth"
        return list(range(len(dates))), [doubt]
    order = sorted(range(len(known)), key=lambda n: known[n])
    return order, []


def _one_task(studies: Sequence[OpenedStudy]) -> Task:
    tasks = [study.report.task for study in studies if study.report is not None]
    for task, study in zip(tasks, studies, strict=True):
        if task.labels != tasks[0].labels:
            raise InputError(
                f"{study.entry.path} is of task {task.name}, {studies[0].entry.path} of {tasks[0].name}; their labels "
                "differ. Segment all scans with one model."
            )
    return tasks[0]


def _write(found: FollowUp, studies: Sequence[OpenedStudy], output: Path) -> None:
    sources = [
        {"result": str(study.entry.path.resolve()), "source_sha256": study.source_sha256, "model": _model(study)}
        for study in studies
    ]
    content = {
        "scans": sources,
        "course": asdict(found.course),
        "moved_mm": found.moved_mm,
        "warnings": found.warnings,
    }
    newest = max(study.report.created for study in studies if study.report is not None)
    first = studies[0].report
    title = f"Course: {first.task.title if first else ''}"
    named = studies[-1].series.study
    patient = " · ".join(part for part in (named.patient_name.replace("^", " ").strip(), named.patient_id) if part)
    with whole_folder(output) as unfinished:
        text = json.dumps(content, indent=1, default=_plain)
        (unfinished / COURSE).write_text(text, encoding="utf-8")
        with (unfinished / CHANGES).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_change_rows(found))
        write_course_pdf(found.course, title, unfinished / PAGE, created=newest, patient=patient)


def _model(study: OpenedStudy) -> str:
    return f"{study.report.model.name} {study.report.model.sha256}" if study.report else ""


def _plain(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} has no form in JSON")


def _change_rows(found: FollowUp) -> Iterator[Sequence[object]]:
    """A header, then one row for each lesion, or group of lesions that merged or split, between each two scans."""
    yield (
        *("from_scan", "to_scan", "label", "change", "prior_instances", "current_instances"),
        *("prior_ml", "current_ml", "volume_change_percent", "prior_longest_mm", "current_longest_mm"),
        *("days", "doubling_time_days"),
    )
    for number, between in enumerate(found.changes, start=1):
        for change in between:
            instances = (" ".join(map(str, side)) for side in (change.prior, change.current))
            sizes = (change.prior_ml, change.current_ml, change.volume_change_percent)
            lengths = (change.prior_longest_mm, change.current_longest_mm)
            rates = (change.days, change.doubling_time_days)
            numbers = ("" if value is None else f"{value:.6g}" for value in (*sizes, *lengths, *rates))
            yield (number, number + 1, change.label, change.kind, *instances, *numbers)
