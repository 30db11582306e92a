"""The findings of a report as CSV, one row a measurement: for spreadsheets and statistics."""

from __future__ import annotations

import csv
from pathlib import Path

from medseg.core.atomic import whole_file
from medseg.core.report import Report

HEADER = (
    *("label", "instance", "measurement", "value", "unit", "lower_95", "upper_95", "code", "code_scheme"),
    *("centroid_x_mm", "centroid_y_mm", "centroid_z_mm", "voxel_i", "voxel_j", "voxel_k"),
    *("organ", "side", "flags", "outlined_by", "decision", "reader", "decided"),
)
"""Centroids are in RAS+ mm, voxels on the scan's own grid, units in UCUM, flags apart by spaces; `outlined_by` is the
model, or the reader who corrected the mask; the decision is a reader's on the whole mask, its moment in UTC."""


def write_findings_csv(report: Report, path: Path) -> None:
    """One row a measurement of each finding; only the header where nothing was found."""
    review = report.review
    verdict = (review.decision, review.reader, review.made.isoformat(timespec="seconds")) if review else ("", "", "")
    outlined_by = (review and review.corrected_by) or report.model.name
    with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
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
