"""The vessels of a scan on pages for people: the tree with its numbered blockages, the table, and each one unrolled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from medseg.analysis.vessels.analyse import VesselAnalysis
from medseg.analysis.vessels.findings.report import Blockage, VesselReport
from medseg.analysis.vessels.planar_reformation import cross_sections, straightened
from medseg.core.atomic import whole_file
from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.core.volume import Volume
from medseg.exchange.reports.page import A4_INCHES, heading, paragraph, rule, table, write

MOST_ROWS = 14
"""Blockages that fit in the table; all stand in the CSV file."""

MOST_UNROLLED = 12
PER_PAGE = 3
MARGIN_MM = 12.0
"""Vessel shown before and after a blockage."""

HALF_WIDTH_MM = 8.0
CONFIDENT, REVIEW = "#d55e00", "#0072b2"
_GREY_PERCENTILES = (1.0, 99.5)


def write_vessel_pages(analysis: VesselAnalysis, shown: Volume, title: str, path: Path, *, created: datetime) -> None:
    """The pages as PDF, whole or not at all; `shown` is the image, or the vessel map where there is none.

    Raises InputError where the file cannot be written.
    """
    unrolled = analysis.report.blockages[:MOST_UNROLLED]
    metadata = {"Title": title, "Creator": "medseg", "CreationDate": created}
    with whole_file(path) as unfinished, PdfPages(unfinished, metadata=metadata) as pages:
        pages.savefig(first_page(analysis, title, created))
        for first in range(0, len(unrolled), PER_PAGE):
            pages.savefig(_unrolled_page(analysis, shown, unrolled[first : first + PER_PAGE], title, created))


def first_page(analysis: VesselAnalysis, title: str, created: datetime) -> Figure:
    """The tree from the front and from the side, the table of blockages, and what to beware of."""
    report = analysis.report
    figure = Figure(figsize=A4_INCHES)
    review = len(report.blockages) - len(report.confident)
    grade = f"CAD-RADS {report.cad_rads}" if report.cad_rads is not None else "veins"
    counts = f"blockages: {len(report.confident)} confident, {review} for review; {grade}"
    if report.not_assessable:
        counts = f"blockages: not assessable; {grade}"
    branches = "1 branch" if len(report.branches) == 1 else f"{len(report.branches)} branches"
    length = f"{branches}, {report.length_mm / 1000:.2f} m assessed"
    _head(figure, title, counts, length, created)
    for left, axes_of, letters in ((0.095, (0, 2), ("R", "L", "H", "F")), (0.565, (1, 2), ("A", "P", "H", "F"))):
        _tree(figure.add_axes((left, 0.50, 0.375, 0.38)), analysis, axes_of, letters)
    bottom = _blockage_table(figure, report, 0.47)
    notes = [*([report.not_assessable] if report.not_assessable else []), *_by_branch(report), *report.warnings]
    notes += [f"{b.number}: {', '.join(b.reasons)}" for b in report.blockages[:MOST_ROWS] if b.reasons]
    for note in notes:
        bottom = paragraph(figure, 0.06, bottom - 0.008, note)
    return figure


def _head(figure: Figure, title: str, first: str, second: str, created: datetime) -> None:
    heading(figure, title, (first, second), (f"made {created:%Y-%m-%d %H:%M} UTC", "orange: confident, blue: review"))
    rule(figure, 0.045)
    write(figure, 0.06, 0.032, f"{NOT_FOR_DIAGNOSIS} Percentages are of the diameter; see the JSON file.", size=7.5)


def _tree(axes: Axes, analysis: VesselAnalysis, axes_of: tuple[int, int], letters: Sequence[str]) -> None:
    """The branches seen along the axis left out, as wide as they are, with the blockages' numbers.

    The patient's right, or front, is on the left of the picture.
    """
    across, up = axes_of
    for profile in analysis.lumens.profiles:
        places = profile.points_mm
        axes.plot(places[:, across], places[:, up], color="0.6", linewidth=0.6, zorder=1)
        size = (2 * profile.radius_mm) ** 2
        axes.scatter(places[:, across], places[:, up], s=size, color="#c8505f", alpha=0.25, linewidths=0, zorder=2)
    for blockage in analysis.report.blockages:
        place = blockage.centre_mm
        axes.annotate(
            str(blockage.number),
            (place[across], place[up]),
            xytext=(9, 9),
            textcoords="offset points",
            fontsize=8,
            weight="bold",
            color=_colour(blockage),
            arrowprops={"arrowstyle": "-", "color": _colour(blockage), "linewidth": 0.8},
            zorder=3,
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.invert_xaxis()  # RAS+: right and front are where x and y are large
    for (x, y), letter in zip(((0.01, 0.5), (0.99, 0.5), (0.5, 0.99), (0.5, 0.01)), letters, strict=True):
        sides = {0.01: "left", 0.99: "right", 0.5: "center"}
        heights = {0.99: "top", 0.01: "bottom", 0.5: "center"}
        axes.text(x, y, letter, transform=axes.transAxes, ha=sides[x], va=heights[y], fontsize=9, color="0.35")
    axes.tick_params(labelsize=6.5)
    axes.set_xlabel(f"{'xyz'[across]} mm", fontsize=7)
    axes.set_ylabel("z mm", fontsize=7)


def _blockage_table(figure: Figure, report: VesselReport, top: float) -> float:
    blockages = report.blockages
    if not blockages:
        said = "No blockage of 20 % or more was found."
        if report.not_assessable:
            said = "Not assessable: whether there are blockages cannot be said."
        write(figure, 0.06, top, said, size=9, weight="bold" if report.not_assessable else "normal")
        return top - 0.02
    is_artery = report.vessels == "artery"
    grade = ("CAD-RADS",) if is_artery else ()
    headings = ["no.", "branch", "kind", "% diameter", "interval", "% area", *grade, "minimum", "healthy", "length"]
    rows = []
    for b in blockages[:MOST_ROWS]:
        sizes = (b.minimal_diameter_mm, b.reference_diameter_mm, b.length_mm)
        rows.append(
            [
                *(f"{b.number}", report.branch_name(b.branch), f"{b.kind}{', calcified' if b.is_calcified else ''}"),
                *(f"{b.diameter_percent:.0f}", f"{b.interval[0]:.0f} to {b.interval[1]:.0f}"),
                f"{b.area_percent:.0f} ({b.area_interval[0]:.0f} to {b.area_interval[1]:.0f})",
                *((b.cad_rads or "–",) if is_artery else ()),
                *(f"{size:.1f} mm" for size in sizes),
            ]
        )
    bottom = table(figure, headings, rows, top, colours=[_colour(b) for b in blockages[:MOST_ROWS]])
    left_out = len(blockages) - len(rows)
    if left_out:
        write(figure, 0.06, bottom - 0.004, f"and {left_out} more", size=8)
        bottom -= 0.018
    return bottom


def _by_branch(report: VesselReport) -> list[str]:
    """How many blockages each branch has, in a sentence; none where there are none."""
    counts = [f"{report.branch_name(branch)}: {count}" for branch, count in report.count_by_branch.items() if count]
    if not counts:
        return []
    others = len(report.count_by_branch) - len(counts)
    return [f"blockages by branch: {', '.join(counts)}" + (f"; none on {others} more" if others else "")]


def _unrolled_page(
    analysis: VesselAnalysis, shown: Volume, blockages: Sequence[Blockage], title: str, created: datetime
) -> Figure:
    figure = Figure(figsize=A4_INCHES)
    _head(figure, title, "Blockages unrolled along their vessels", "from the start of each branch onward", created)
    for place, blockage in enumerate(blockages):
        _unrolled(figure, analysis, shown, blockage, 0.895 - 0.285 * place)
    return figure


def _unrolled(figure: Figure, analysis: VesselAnalysis, shown: Volume, blockage: Blockage, top: float) -> None:
    """The straightened vessel over its diameter, and three sections: before, at the tightest place, behind."""
    lumen = analysis.lumens.profiles[blockage.branch]
    arc = lumen.arc_mm
    low_mm, high_mm = blockage.start_mm - MARGIN_MM, blockage.stop_mm + MARGIN_MM
    near = (arc >= low_mm) & (arc <= high_mm)
    unrolled = straightened(shown, lumen.points_mm[near], half_width_mm=HALF_WIDTH_MM)
    grey = np.percentile(unrolled.picture, _GREY_PERCENTILES)
    begin, end = float(arc[near][0]), float(arc[near][-1])
    lost = f"{blockage.diameter_percent:.0f} % of {blockage.reference_diameter_mm:.1f} mm"
    words = f"{blockage.number}: {blockage.kind}, {lost}"
    write(figure, 0.06, top, words, size=9, weight="bold", color=_colour(blockage))
    picture = figure.add_axes((0.10, top - 0.105, 0.50, 0.085))
    extent = (begin, end, -HALF_WIDTH_MM, HALF_WIDTH_MM)
    picture.imshow(unrolled.picture.T, cmap="gray", vmin=grey[0], vmax=grey[1], extent=extent, aspect="auto")
    picture.set_xticklabels([])
    graph = figure.add_axes((0.10, top - 0.225, 0.50, 0.11))
    graph.plot(arc[near], 2 * lumen.radius_mm[near], color="#c8505f", linewidth=1.4)
    before, after = (
        d if d is not None else blockage.reference_diameter_mm
        for d in (blockage.before_diameter_mm, blockage.after_diameter_mm)
    )
    graph.plot([blockage.start_mm, blockage.stop_mm], [before, after], color="0.3", linestyle="--", linewidth=1.0)
    graph.plot([blockage.position_mm], [blockage.minimal_diameter_mm], marker="v", color=_colour(blockage))
    graph.set_ylim(bottom=0)
    graph.set_ylabel("diameter mm", fontsize=7)
    graph.set_xlabel(f"mm along branch {analysis.report.branch_name(blockage.branch)}", fontsize=7)
    graph.axvspan(blockage.start_mm, blockage.stop_mm, color=_colour(blockage), alpha=0.15)
    for axes in (picture, graph):
        for edge_mm in (blockage.start_mm, blockage.stop_mm):
            axes.axvline(edge_mm, color=_colour(blockage), linewidth=1.0)
        axes.set_xlim(begin, end)
        axes.tick_params(labelsize=6.5)
    places = np.clip([blockage.start_mm - 2, blockage.position_mm, blockage.stop_mm + 2], arc[0], arc[-1])
    for n, section in enumerate(cross_sections(shown, lumen, places)):
        axes = figure.add_axes((0.64 + 0.105 * n, top - 0.105, 0.095, 0.085))
        axes.imshow(section, cmap="gray", vmin=grey[0], vmax=grey[1])
        axes.set_axis_off()
        axes.set_title(("before", "tightest", "behind")[n], fontsize=7)


def _colour(blockage: Blockage) -> str:
    return CONFIDENT if blockage.confidence == "confident" else REVIEW
