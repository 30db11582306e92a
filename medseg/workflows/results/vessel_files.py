"""What a vessel analysis writes. The folder holds

vessels.json       branches, and blockages with percentage, interval, grade and confidence
blockages.csv      one row a blockage
branches.csv       one row a branch, with how many blockages it has
blockages.nii.gz   each blockage's number over its length, on the scan's own grid
scan.json          where the map and the image lie, for looking at them again
tree.vtk           centrelines with radii for VMTK and 3D Slicer;  tree.swc and tree.csv hold the same
vessels.pdf        the tree, the table, and each blockage unrolled
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

from medseg.analysis.vessels.analyse import VesselAnalysis
from medseg.analysis.vessels.findings.report import Blockage, VesselReport
from medseg.analysis.vessels.tree_text import tree_as_csv, tree_as_swc, tree_as_vtk
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.workflows.results.open_study import VESSEL_REPORT
from medseg.workflows.results.open_vessels import SCAN
from medseg.workflows.results.vessel_pages import write_vessel_pages

REPORT, TABLE, MASK, PAGES = VESSEL_REPORT, "blockages.csv", "blockages.nii.gz", "vessels.pdf"
BRANCHES = "branches.csv"


def write_vessels(
    analysis: VesselAnalysis, shown: Volume, title: str, folder: Path, *, found_in: Path, image: Path | None
) -> None:
    """Write what was found to a folder that is not yet where it belongs.

    `shown` is what the pages show, `found_in` the map or scan that the vessels were found in, `image` what calibres may
    come from.
    """
    tree, lumens = analysis.tree, analysis.lumens
    texts = {"tree.vtk": tree_as_vtk(tree, lumens), "tree.swc": tree_as_swc(tree, lumens)}
    sources = {"map": str(found_in.resolve()), "image": None if image is None else str(image.resolve())}
    texts |= {SCAN: json.dumps(sources, indent=1)}
    texts |= {"tree.csv": tree_as_csv(tree, lumens), REPORT: analysis.report.model_dump_json(indent=1)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, rows in ((TABLE, _rows(analysis.report)), (BRANCHES, _branch_rows(analysis.report))):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    write_volume(Volume(analysis.blockages, shown.geometry), folder / MASK)
    write_vessel_pages(analysis, shown, title, folder / PAGES, created=datetime.now(UTC))


def _rows(report: VesselReport) -> list[list[object]]:
    names = [
        *(
            "number",
            "branch",
            "segment",
            "kind",
            "confidence",
            "diameter_percent",
            "low_percent",
            "high_percent",
            "area_percent",
            "low_area_percent",
            "high_area_percent",
        ),
        *(
            "cad_rads",
            "nascet_percent",
            "nascet",
            "minimal_diameter_mm",
            "low_mm",
            "high_mm",
            "reference_diameter_mm",
            "length_mm",
            "gap_mm",
        ),
        *("is_calcified", "position_mm", "x_mm", "y_mm", "z_mm", "reasons"),
    ]
    rows: list[list[object]] = [list(names)]
    segments = {branch.index: branch.segment for branch in report.branches}
    for b in report.blockages:
        rows.append(
            [
                *(b.number, b.branch, segments[b.branch] or "", b.kind, b.confidence, f"{b.diameter_percent:.1f}"),
                *(f"{b.interval[0]:.1f}", f"{b.interval[1]:.1f}", f"{b.area_percent:.1f}"),
                *(f"{end:.1f}" for end in b.area_interval),
                *_grades(b),
                *(f"{b.minimal_diameter_mm:.2f}", *(f"{d:.2f}" for d in b.diameter_interval_mm)),
                *(f"{b.reference_diameter_mm:.2f}", f"{b.length_mm:.1f}"),
                *(f"{b.gap_mm:.1f}", int(b.is_calcified), f"{b.position_mm:.1f}"),
                *(f"{x:.1f}" for x in b.centre_mm),
                "; ".join(b.reasons),
            ]
        )
    return rows


def _grades(blockage: Blockage) -> tuple[str, str, str]:
    """CAD-RADS, and percentage and class by NASCET; empty where a blockage is not graded."""
    ratio = blockage.nascet_percent
    return blockage.cad_rads or "", "" if ratio is None else f"{ratio:.1f}", blockage.nascet or ""


def _branch_rows(report: VesselReport) -> list[list[object]]:
    """One row a branch; of one that could not be assessed the reason stands where others have a count."""
    header = ("branch", "segment", "parent", "length_mm", "mean_diameter_mm", "minimal_diameter_mm")
    rows: list[list[object]] = [[*header, "blockages", "not_assessable"]]
    for branch in report.branches:
        parent = "" if branch.parent is None else branch.parent
        sizes = (branch.length_mm, branch.mean_diameter_mm, branch.minimal_diameter_mm)
        count = report.count_by_branch.get(branch.index, "")
        said = (count, branch.not_assessable or "")
        rows.append([branch.index, branch.segment or "", parent, *(f"{size:.2f}" for size in sizes), *said])
    return rows
