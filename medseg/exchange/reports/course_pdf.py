"""The course of a disease on a page for people: a figure of every lesion over time, and the response at each visit."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medseg.core.atomic import whole_file
from medseg.core.course import Course
from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.exchange.reports.page import A4_INCHES, heading, paragraph, rule, table, write

MOST_TRACKS = 18
"""Lesions that fit in the table and can be told apart in the figure: the targets, then the largest ones."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers tell apart."""


def write_course_pdf(course: Course, title: str, path: Path, *, created: datetime, patient: str = "") -> None:
    """One A4 page of a course; it appears whole or not at all, and the same course gives the same bytes.

    `patient` is how the page names the patient. Raises InputError where the page cannot be written.
    """
    figure = Figure(figsize=A4_INCHES)
    counts = f"{len(course.dates)} scans, {len(course.tracks)} lesions"
    made = f"made {created:%Y-%m-%d %H:%M} UTC"
    heading(figure, title, (patient or "patient not named in the scans", counts), (made, ""))
    _draw(figure.add_axes((0.10, 0.66, 0.38, 0.235)), course, "longest axial diameter (mm)", "diameters_mm")
    _draw(figure.add_axes((0.56, 0.66, 0.38, 0.235)), course, "volume (ml)", "volumes_ml")
    bottom = _lesion_table(figure, course, 0.61)
    _response_table(figure, course, bottom - 0.03)
    rule(figure, 0.045)
    limits = "Non-target lesions are judged as gone or not; that they progress is for a reader to say."
    write(figure, 0.06, 0.032, f"{NOT_FOR_DIAGNOSIS} {limits}", size=7.5)
    with whole_file(path) as unfinished:
        figure.savefig(
            unfinished, format="pdf", metadata={"Title": title, "Creator": "medseg", "CreationDate": created}
        )


def _shown(course: Course) -> list[int]:
    """The numbers of the tracks to show: target lesions first, then by their largest diameter."""
    order = sorted(
        range(len(course.tracks)),
        key=lambda n: (course.tracks[n].name not in course.targets, -max(course.tracks[n].diameters_mm)),
    )
    return order[:MOST_TRACKS]


def _positions(course: Course) -> tuple[list[float], str]:
    """Where the visits stand on the time axis: days since the first, or their number where a date is not known."""
    known = [when for when in course.dates if when is not None]
    if len(known) == len(course.dates):
        return [float((when - known[0]).days) for when in known], "days since the first scan"
    return [float(n) for n in range(len(course.dates))], "scan"


def _draw(axes: Axes, course: Course, what: str, field: str) -> None:
    where, along = _positions(course)
    for rank, number in enumerate(_shown(course)):
        track = course.tracks[number]
        is_target = track.name in course.targets
        values = getattr(track, field)
        # A lesion is drawn from the visit it is first seen at; that it is not there before is no size of 0.
        axes.plot(
            where[track.first_seen :],
            values[track.first_seen :],
            color=_COLOURS[rank % len(_COLOURS)],
            marker="o" if track.first_seen == 0 else "^",
            linestyle="-" if is_target else ":",
            linewidth=1.6 if is_target else 1.0,
            markersize=4,
            label=track.name.replace("_", " "),
        )
    axes.set_ylim(bottom=0)
    axes.set_xticks(where)
    axes.tick_params(labelsize=7)
    axes.set_xlabel(along, fontsize=8)
    axes.set_title(what, fontsize=8.5)
    axes.set_axisbelow(True)
    axes.grid(visible=True, linewidth=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if field == "diameters_mm":
        legend = axes.legend(fontsize=6, ncols=2, loc="best", framealpha=0.85, edgecolor="none")
        legend.set_zorder(1)  # under the lines: what it covers stays seen


def _lesion_table(figure: Figure, course: Course, top: float) -> float:
    dates = [when.isoformat() if when else f"scan {n + 1}" for n, when in enumerate(course.dates)]
    rows = [
        [
            course.tracks[n].name.replace("_", " "),
            "target" if course.tracks[n].name in course.targets else ("new" if course.tracks[n].first_seen else ""),
            *(
                f"{length:.1f} mm, {volume:.2f} ml" if numbers else "–"
                for length, volume, numbers in zip(
                    course.tracks[n].diameters_mm, course.tracks[n].volumes_ml, course.tracks[n].instances, strict=True
                )
            ),
        ]
        for n in _shown(course)
    ]
    bottom = table(figure, ["lesion", "", *dates], rows, top)
    left_out = len(course.tracks) - len(rows)
    if left_out:
        write(figure, 0.06, bottom - 0.004, f"and {left_out} more", size=8)
        bottom -= 0.018
    return bottom


def _response_table(figure: Figure, course: Course, top: float) -> None:
    rows = []
    for response in course.responses:
        when = course.dates[response.visit]
        target = response.target
        changes = (target.from_baseline_percent, target.from_nadir_percent) if target else (None, None)
        rows.append(
            [
                when.isoformat() if when else f"scan {response.visit + 1}",
                f"{target.sum_mm:.1f} mm" if target and target.sum_mm is not None else "–",
                *(f"{change:+.1f} %" if change is not None else "–" for change in changes),
                target.category if target else "–",
                ", ".join(name.replace("_", " ") for name in response.new_lesions)[:28] or "none",
                response.overall,
            ]
        )
    headings = ["RECIST 1.1", "sum of targets", "from baseline", "from smallest", "targets", "new lesions", "overall"]
    bottom = table(figure, headings, rows, top) - 0.01
    for response in course.responses:
        words = response.rule if response.target is None else f"{response.rule}; targets: {response.target.rule}"
        bottom = paragraph(figure, 0.06, bottom, f"{response.overall} at scan {response.visit + 1}: {words}")
