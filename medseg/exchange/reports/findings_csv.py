"""The findings of a report as CSV, one row a measurement: for spreadsheets and statistics."""

from __future__ import annotations

import csv
from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.findings import Grade
from medseg.core.report import Report

HEADER = (
    *("label", "instance", "measurement", "value", "unit", "lower_95", "upper_95", "code", "code_scheme"),
    *("centroid_x_mm", "centroid_y_mm", "centroid_z_mm", "voxel_i", "voxel_j", "voxel_k"),
    *("organ", "side", "flags", "outlined_by", "decision", "reader", "decided"),
)
"""Centroids are in RAS+ mm, voxels on the scan's own grid, units in UCUM, flags apart by spaces; `outlined_by` is the
model, or the reader who corrected the mask; the decision is a reader's on the whole mask, its moment in UTC. The value
of a grade is its category, that of "not_assessable" the reason; a grade of the whole scan has no label."""


def write_findings_csv(report: Report, path: Path) -> None:
    """One row a measurement and grade of each finding, then what is said of the whole scan; else only the header."""
    review = report.review
    verdict = (review.decision, review.reader, review.made.isoformat(timespec="seconds")) if review else ("", "", "")
    outlined_by = (review and review.corrected_by) or report.model.name
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        blank = ("",) * 6
        for finding in report.findings:
            place = (*(f"{length:.2f}" for length in finding.centroid_mm), *finding.index)
            for measured in finding.measurements:
                lower, upper = (f"{end:.6g}" for end in measured.interval) if measured.interval else ("", "")
                writer.writerow(
                    [
                        *(finding.label.name, finding.instance, measured.name, f"{measured.value:.6g}", measured.unit),
                        *(lower, upper, measured.code.value, measured.code.scheme, *place),
                        *(finding.organ.name if finding.organ else "", finding.side or "", " ".join(finding.flags)),
                        *(outlined_by, *verdict),
                    ]
                )
            for grade in finding.grades:
                said = (finding.label.name, finding.instance, *_graded(grade))
                writer.writerow([*said, *place, "", "", " ".join(finding.flags), outlined_by, *verdict])
        for grade in report.grades:
            writer.writerow(["", "", *_graded(grade), *blank, "", "", "", outlined_by, *verdict])
        for label, reason in report.not_assessable.items():
            writer.writerow(
                [label, "", "not_assessable", reason, *("",) * 5, *blank, "", "", "", outlined_by, *verdict]
            )


def _graded(grade: Grade) -> tuple[str, ...]:
    """The columns of a grade from its name to its code scheme."""
    return grade.name, grade.category, "", "", "", grade.code.value, grade.code.scheme
