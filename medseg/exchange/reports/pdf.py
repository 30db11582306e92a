"""The report of one scan on a page for people: key slices with outlines, the findings, the model, the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medseg.core.atomic import whole_file
from medseg.core.findings import FLAG_WORDS, Finding, HandMeasurement, Measurement
from medseg.core.geometry import PlaneName
from medseg.core.label_map import LabelMap
from medseg.core.report import NOT_FOR_DIAGNOSIS, Report
from medseg.core.volume import Volume
from medseg.exchange.reports.by_hand import draw_marks, drawn_places, in_words
from medseg.exchange.reports.numbers import PRINTED_UNITS, number_in_words
from medseg.exchange.reports.page import A4_INCHES, heading, paragraph, printable, rule, table, write
from medseg.imaging.pictures import slices

MOST_ROWS = 11
"""Findings that fit in the table; the rest are counted, and stand in the CSV file."""

MOST_MEASUREMENTS = 10
UNCHECKED = "Outlines and numbers were made by a program and not checked."
MOST_NOTES = 4
MOST_PICTURES = 6
MOST_BY_HAND = 6


SHORT_NAMES = {
    "volume": "volume",
    "diameter_stenosis": "narrowed",
    "minimal_diameter": "tightest",
    "reference_diameter": "healthy",
    "longest_axial_diameter": "longest",
    "perpendicular_axial_diameter": "across",
    "maximum_3d_diameter": "3-D",
    "mean_probability": "probability",
    "agreement": "agreement",
    "mean_intensity": "mean",
    "maximum_intensity": "max",
    "suv_peak": "peak",
    "total_lesion_glycolysis": "TLG",
}
"""What the table shows of a finding, in order of importance; all else stands in the CSV file."""


@dataclass(frozen=True, slots=True)
class _View:
    """One picture: a plane through a voxel of the scan in display order, and what it shows."""

    plane: PlaneName
    index: tuple[int, int, int]
    title: str


def write_report_pdf(report: Report, volume: Volume, label_map: LabelMap, path: Path) -> None:
    """One A4 page of a report with its scan and mask; it appears whole or not at all.

    The three planes go through the first counted finding, or the first of all, or the middle of the scan where nothing
    was found; below are axial slices of the next ones, and those on which readers measured by hand. The same report
    gives the same bytes. Raises GeometryError where scan and mask are on different grids, InputError where the page
    cannot be written.
    """
    label_map.geometry.require_same(volume.geometry, "the mask and the scan of the report")
    figure = Figure(figsize=A4_INCHES)
    _header(figure, report)
    _pictures(figure, report, volume, label_map)
    has_second_row = len(_views(report, volume)) > len(slices.PLANES)
    bottom = _table(figure, report.findings, 0.43 if has_second_row else 0.655)
    _notes(figure, report, _hand_measurements(figure, report.by_hand, bottom))
    metadata = {
        "Title": f"medseg: {report.task.title}",
        "Creator": f"medseg {report.model.medseg_version}",
        "CreationDate": report.created,
    }
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="pdf", metadata=metadata)


def _header(figure: Figure, report: Report) -> None:
    study, series = report.series.study, report.series
    who = " · ".join(
        part for part in (study.patient_name.replace("^", " ").strip(), study.patient_id, _day(study.date)) if part
    )
    what = " · ".join(
        part for part in (series.modality, study.description, series.description, series.body_part) if part
    )
    model = f"model {report.model.name} ({report.model.sha256[:12]}), medseg {report.model.medseg_version}"
    made = f"made {report.created:%Y-%m-%d %H:%M} UTC in {report.duration_s:.0f} s"
    heading(figure, report.task.title, (who or "patient not named in the scan", what), (model, made))


def _day(date: str) -> str:
    """A DICOM date as people write it; anything else as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def _pictures(figure: Figure, report: Report, volume: Volume, label_map: LabelMap) -> None:
    screen, labels = slices.for_screen(volume), slices.mask_for_screen(label_map)
    window = report.task.window or slices.percentile_window(volume)
    for number, view in enumerate(_views(report, volume)):
        row, column = divmod(number, 3)
        axes = figure.add_axes((0.06 + 0.296 * column, 0.69 - 0.235 * row, 0.285, 0.205))
        depth = slices.DEPTH[view.plane]
        picture = slices.grey(screen.values(view.plane, view.index[depth]), window)
        height_mm, width_mm = slices.pixel_mm(screen.geometry, view.plane)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect=height_mm / width_mm, interpolation="nearest")
        shown = slices.picture(labels, view.plane, view.index[depth])
        for label in label_map.schema.labels:
            if (shown == label.index).any():
                colour = tuple(part / 255 for part in label.colour)
                _outline(axes, shown == label.index, colour)
        draw_marks(axes, report.by_hand, screen.geometry, view.plane, view.index[depth])
        _frame(axes, view, slices.edges(screen.geometry, view.plane))


def _outline(axes: Axes, inside: NDArray[np.bool_], colour: tuple[float, ...]) -> None:
    if min(inside.shape) > 1:
        axes.contour(inside, levels=[0.5], colors=[colour], linewidths=0.9)
        return
    # a scan of one slice is a line of pixels from the side: contours need a frame around it, the picture does not
    rows, columns = inside.shape
    limits = (axes.get_xlim(), axes.get_ylim())
    axes.contour(np.arange(-1, columns + 1), np.arange(-1, rows + 1), np.pad(inside, 1), levels=[0.5], colors=[colour],
                 linewidths=0.9)  # fmt: skip
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _views(report: Report, volume: Volume) -> list[_View]:
    """The three planes through the first finding, then axial slices of the next ones, then those that were drawn on."""
    findings = report.findings
    counted = [finding for finding in findings if finding.label.is_counted]
    first = counted or list(findings)
    middle = tuple(n // 2 for n in volume.geometry.shape)
    target = first[0].index if first else (middle[0], middle[1], middle[2])
    name = finding_name(first[0]) if first else "middle of the scan"
    index = slices.to_screen_index(volume.geometry, target)
    views = [_View(plane, index, f"{name}, {plane}") for plane in slices.PLANES]
    for finding in counted[1:4]:
        place = slices.to_screen_index(volume.geometry, finding.index)
        views.append(_View("axial", place, f"{finding_name(finding)}, axial"))
    seen = {(view.plane, view.index[slices.DEPTH[view.plane]]) for view in views}
    for plane, place in drawn_places(report.by_hand, slices.display_geometry(volume.geometry)):
        if (plane, place[slices.DEPTH[plane]]) not in seen and len(views) < MOST_PICTURES:
            views.append(_View(plane, place, f"measured by hand, {plane}"))
            seen.add((plane, place[slices.DEPTH[plane]]))
    return views


def _frame(axes: Axes, view: _View, edges: slices.Edges) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("black")
    axes.set_title(printable(view.title), fontsize=7.5, pad=3, parse_math=False)
    for x, y, letters in (
        (0.02, 0.5, edges.left),
        (0.98, 0.5, edges.right),
        (0.5, 0.98, edges.top),
        (0.5, 0.02, edges.bottom),
    ):
        align = {0.02: "left", 0.98: "right"}.get(x, "center")
        rise = {0.02: "bottom", 0.98: "top"}.get(y, "center")
        axes.text(x, y, letters, transform=axes.transAxes, color="#ffd54f", fontsize=7, ha=align, va=rise)


def _table(figure: Figure, findings: Sequence[Finding], top: float) -> float:
    """The findings, one a row, from `top` on; returns how far down the page they reach (0 to 1)."""
    if not findings:
        write(figure, 0.06, top - 0.01, "Nothing was found.", size=10, weight="bold")
        return top - 0.03
    present = {measured.name for finding in findings for measured in finding.measurements}
    names = [name for name in SHORT_NAMES if name in present][:MOST_MEASUREMENTS]
    units = {m.name: m.unit for finding in findings for m in finding.measurements}
    places = ["in"] if any(finding.place for finding in findings) else []
    headings = ["finding", *places, *(_heading(name, units[name]) for name in names), "centre R A S mm"]
    rows = [
        [
            finding_name(finding),
            *([finding.place] if places else []),
            *(_cell(finding, name) for name in names),
            " ".join(f"{round(x)}" for x in finding.centroid_mm),
        ]
        for finding in findings[:MOST_ROWS]
    ]
    colours = [_dark([part / 255 for part in finding.label.colour]) for finding in findings[:MOST_ROWS]]
    bottom = table(figure, headings, rows, top, colours=colours) - 0.006
    write(figure, 0.06, bottom, _table_note(findings), size=6.5, color="0.35")
    bottom -= 0.018
    if len(findings) > MOST_ROWS:
        more = len(findings) - MOST_ROWS
        write(
            figure, 0.06, bottom, f"and {more} more {'finding' if more == 1 else 'findings'}: see findings.csv", size=8
        )
        bottom -= 0.015
    return bottom


def _table_note(findings: Sequence[Finding]) -> str:
    """What the numbers of the table mean, as far as they need words."""
    measured = [one for finding in findings for one in finding.measurements]
    names = {one.name for one in measured}
    said = ["In brackets: 95 % interval."] if any(one.interval for one in measured) else []
    if "diameter_stenosis" in names:
        said.append("Narrowed: share of the healthy lumen's diameter that is lost at the tightest place.")
    if "mean_probability" in names:
        said.append("Probability: mean over the finding's voxels.")
    if "agreement" in names:
        said.append("Agreement: mean share of the model's answers that say the same of a voxel.")
    return " ".join(said)


def _hand_measurements(figure: Figure, drawn: Sequence[HandMeasurement], top: float) -> float:
    """What readers measured themselves, a line each; returns where it ends."""
    if not drawn:
        return top
    write(figure, 0.06, top, "Measured by hand", size=8.5, weight="bold")
    y = top - 0.0135
    for one in drawn[:MOST_BY_HAND]:
        y = paragraph(figure, 0.075, y, in_words(one))
    if len(drawn) > MOST_BY_HAND:
        y = paragraph(figure, 0.075, y, f"and {len(drawn) - MOST_BY_HAND} more: see the structured report")
    return y - 0.008


def _notes(figure: Figure, report: Report, top: float) -> None:
    """What to beware of: flags of findings, warnings about the scan, and the limits of the method."""
    flagged = [
        f"{finding_name(finding)}: {', '.join(FLAG_WORDS[flag] for flag in finding.flags)}"
        for finding in report.findings[:MOST_ROWS]
        if finding.flags
    ]
    y = top
    for title, lines in (("Beware", [*flagged, *report.warnings]), ("Limits", list(report.limitations))):
        if not lines:
            continue
        write(figure, 0.06, y, title, size=8.5, weight="bold")
        shown = lines if len(lines) <= MOST_NOTES else [*lines[:MOST_NOTES], f"and {len(lines) - MOST_NOTES} more"]
        y -= 0.0135
        for line in shown:
            y = paragraph(figure, 0.075, y, line)
        y -= 0.008
    rule(figure, 0.045)
    write(
        figure,
        0.06,
        0.032,
        f"{NOT_FOR_DIAGNOSIS} {report.review.sentence if report.review else UNCHECKED}",
        size=7.5,
    )
    write(figure, 0.94, 0.032, f"scan {report.source_sha256[:12]}", size=7.5, color="0.35", ha="right")


def finding_name(finding: Finding) -> str:
    """What a finding is called: "liver", "lesion 2"."""
    name = finding.label.name.replace("_", " ")
    return f"{name} {finding.instance}" if finding.label.is_counted else name


def measured_in_words(finding: Finding) -> str:
    """The measurements that the table shows, in a sentence: "volume 1.50 ml (0.40–2.60), longest 12.3 mm"."""
    by_name = {measured.name: measured for measured in finding.measurements}
    said = []
    for name, short in SHORT_NAMES.items():
        measured = by_name.get(name)
        if measured is not None:
            unit = PRINTED_UNITS.get(measured.unit, measured.unit)
            interval = f" ({_interval(measured)})" if measured.interval else ""
            said.append(f"{short} {number_in_words(measured.value)} {unit}".strip() + interval)
    return ", ".join(said)


def _heading(name: str, unit: str) -> str:
    printed = PRINTED_UNITS.get(unit, unit)
    return f"{SHORT_NAMES[name]} {printed}".strip()


def _cell(finding: Finding, name: str) -> str:
    measured = next((m for m in finding.measurements if m.name == name), None)
    if measured is None:
        return ""
    return (
        f"{number_in_words(measured.value)} ({_interval(measured)})"
        if measured.interval
        else number_in_words(measured.value)
    )


def _interval(measured: Measurement) -> str:
    low, high = measured.interval or (measured.value, measured.value)
    return f"{number_in_words(low)}–{number_in_words(high)}"


def _dark(colour: Sequence[float]) -> tuple[float, ...]:
    """A label's colour, dark enough to be read on white."""
    return tuple(0.6 * part for part in colour)
