"""Find, count and grade blockages in a vessel map: read, analyse, write.

The output folder holds

    vessels.json       branches, and blockages with percentage, interval, grade and confidence
    blockages.csv      one row a blockage
    blockages.nii.gz   each blockage's number over its length, on the scan's own grid
    tree.vtk           centrelines with radii for VMTK and 3D Slicer;  tree.swc and tree.csv hold the same
    vessels.pdf        the tree, the table, and each blockage unrolled
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.classical import classical_map
from medseg.analysis.vessels.findings.report import Blockage, VesselKind, VesselReport
from medseg.analysis.vessels.findings.segments import Ostia
from medseg.analysis.vessels.tree_text import tree_as_csv, tree_as_swc, tree_as_vtk
from medseg.core.atomic import require_writable, whole_folder
from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_volume
from medseg.workflows.progress import Progress, silent
from medseg.workflows.vessel_pages import write_vessel_pages

REPORT, TABLE, MASK, PAGES = "vessels.json", "blockages.csv", "blockages.nii.gz", "vessels.pdf"
MOST_VALUES = 12
"""Label values that an error lists."""


def find_blockages(
    vessel: Path,
    output: Path,
    *,
    image: Path | None = None,
    labels: tuple[int, ...] = (),
    prefer_image: bool = False,
    kind: VesselKind = "artery",
    is_scan: bool = False,
    ostia: Ostia | None = None,
    progress: Progress = silent,
) -> VesselReport:
    """The report on the vessels in a map of probabilities or a mask, after the output folder was written.

    With `is_scan` the first path holds no map but the scan itself: bright tubes in it are taken for vessels.
    With the `ostia` of both coronary arteries (RAS+ mm) their segments are named.

    `labels` are the values of a mask that are vessel; they are needed where it holds more than 0 and 1. Calibres come
    from the probabilities, from the `image` where the map is a mask or `prefer_image` is set. In a "vein" clots are
    looked for. Raises InputError where a file cannot be read or the map is neither, GeometryError where map and image
    lie on different grids.
    """
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not (output / REPORT).is_file())):
        raise InputError(f"{output} holds other files and will not be overwritten. Choose a new or an empty folder.")
    require_writable(output)
    if prefer_image and image is None:
        raise InputError("there is no image to take the calibres from: give it, or leave the choice out")
    if is_scan and (image is not None or labels):
        raise InputError("a scan is looked through by itself: leave the image and the labels out, or give a map")
    progress("Reading", 0, 1)
    first = read_scan(vessel).volume
    soft = classical_map(first) if is_scan else vessel_map(first, labels, vessel)
    scan = read_scan(image).volume if image is not None else first if is_scan else None
    progress("Reading", 1, 1)
    progress("Analysing", 0, 1)
    analysis = analyse_vessels(soft, scan, prefer_image=prefer_image or is_scan, kind=kind, ostia=ostia)
    progress("Analysing", 1, 1)
    _write(analysis, scan if scan is not None else soft, f"Vessels of {(image or vessel).name}", output)
    return analysis.report


def vessel_map(volume: Volume, labels: tuple[int, ...], source: Path) -> Volume:
    """The share of vessel, 0 to 1, in each voxel of a map of probabilities or of a mask with these labels.

    Raises InputError where labels are named of a map of probabilities, or none of a mask with several.
    """
    is_mask = bool((volume.array == np.floor(volume.array)).all())
    if not is_mask:
        if labels:
            raise InputError(f"{source} holds no labels but values between whole numbers; leave the labels out")
        return Volume(volume.array.astype(np.float32), volume.geometry)
    there = [int(value) for value in np.unique(volume.array) if value != 0]
    missing = [value for value in labels if value not in there]
    listed = ", ".join(map(str, there[:MOST_VALUES])) + (" ..." if len(there) > MOST_VALUES else "")
    if missing:
        raise InputError(f"{source} has no label {missing[0]}; it holds {listed or 'nothing but 0'}")
    if not labels and len(there) > 1:
        raise InputError(f"{source} is a mask with the labels {listed}. Say which of them are vessel.")
    inside = np.isin(volume.array, labels) if labels else volume.array != 0
    return Volume(inside.astype(np.float32), volume.geometry)


def _write(analysis: VesselAnalysis, shown: Volume, title: str, output: Path) -> None:
    tree, lumens = analysis.tree, analysis.lumens
    texts = {"tree.vtk": tree_as_vtk(tree, lumens), "tree.swc": tree_as_swc(tree, lumens)}
    texts |= {"tree.csv": tree_as_csv(tree, lumens), REPORT: analysis.report.model_dump_json(indent=1)}
    with whole_folder(output) as unfinished:
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        with (unfinished / TABLE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_rows(analysis.report))
        write_volume(Volume(analysis.blockages, shown.geometry), unfinished / MASK)
        write_vessel_pages(analysis, shown, title, unfinished / PAGES, created=datetime.now(UTC))


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
                *(_grades(b) if report.vessels == "artery" else ("", "", "")),
                *(f"{b.minimal_diameter_mm:.2f}", *(f"{d:.2f}" for d in b.diameter_interval_mm)),
                *(f"{b.reference_diameter_mm:.2f}", f"{b.length_mm:.1f}"),
                *(f"{b.gap_mm:.1f}", int(b.is_calcified), f"{b.position_mm:.1f}"),
                *(f"{x:.1f}" for x in b.centre_mm),
                "; ".join(b.reasons),
            ]
        )
    return rows


def _grades(blockage: Blockage) -> tuple[str, str, str]:
    """CAD-RADS, and percentage and class by NASCET: grades of arteries."""
    ratio = blockage.nascet_percent
    return blockage.cad_rads, "" if ratio is None else f"{ratio:.1f}", blockage.nascet or ""
