"""Find, count and grade blockages in a vessel map: read, analyse, write.

The output folder holds

    vessels.json       branches, and blockages with percentage, interval, grade and confidence
    blockages.csv      one row a blockage
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

import numpy as np

from medseg.analysis.vessels.analyse import VesselAnalysis, analyse_vessels
from medseg.analysis.vessels.report import VesselReport
from medseg.analysis.vessels.tree_text import tree_as_csv, tree_as_swc, tree_as_vtk
from medseg.core.atomic import require_writable, whole_folder
from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_volume
from medseg.workflows.open_study import VESSEL_REPORT
from medseg.workflows.open_vessels import SCAN
from medseg.workflows.progress import Progress, silent
from medseg.workflows.vessel_pages import write_vessel_pages

REPORT, TABLE, MASK, PAGES = VESSEL_REPORT, "blockages.csv", "blockages.nii.gz", "vessels.pdf"
MOST_VALUES = 12
"""Label values that an error lists."""


def find_blockages(
    vessel: Path,
    output: Path,
    *,
    image: Path | None = None,
    labels: tuple[int, ...] = (),
    prefer_image: bool = False,
    progress: Progress = silent,
) -> VesselReport:
    """The report on the vessels in a map of probabilities or a mask, after the output folder was written.

    `labels` are the values of a mask that are vessel; they are needed where it holds more than 0 and 1. Calibres come
    from the probabilities, from the `image` where the map is a mask or `prefer_image` is set. Raises InputError where
    a file cannot be read or the map is neither, GeometryError where map and image lie on different grids.
    """
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not (output / REPORT).is_file())):
        raise InputError(f"{output} holds other files and will not be overwritten. Choose a new or an empty folder.")
    require_writable(output)
    if prefer_image and image is None:
        raise InputError("there is no image to take the calibres from: give it, or leave the choice out")
    progress("Reading", 0, 1)
    soft = vessel_map(read_scan(vessel).volume, labels, vessel)
    scan = read_scan(image).volume if image is not None else None
    progress("Reading", 1, 1)
    progress("Analysing", 0, 1)
    analysis = analyse_vessels(soft, scan, prefer_image=prefer_image)
    progress("Analysing", 1, 1)
    sources = {"map": str(vessel.resolve()), "image": str(image.resolve()) if image is not None else None}
    title = f"Vessels of {(image or vessel).name}"
    _write(analysis, scan if scan is not None else soft, title, output, json.dumps(sources, indent=1))
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


def _write(analysis: VesselAnalysis, shown: Volume, title: str, output: Path, sources: str) -> None:
    tree, lumens = analysis.tree, analysis.lumens
    texts = {"tree.vtk": tree_as_vtk(tree, lumens), "tree.swc": tree_as_swc(tree, lumens)}
    texts |= {SCAN: sources, "tree.csv": tree_as_csv(tree, lumens), REPORT: analysis.report.model_dump_json(indent=1)}
    with whole_folder(output) as unfinished:
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        with (unfinished / TABLE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(_rows(analysis.report))
        write_volume(Volume(analysis.blockages, shown.geometry), unfinished / MASK)
        write_vessel_pages(analysis, shown, title, unfinished / PAGES, created=datetime.now(UTC))


def _rows(report: VesselReport) -> list[list[object]]:
    names = [
        *("number", "branch", "kind", "confidence", "diameter_percent", "low_percent", "high_percent", "area_percent"),
        *(
            "cad_rads",
            "nascet_percent",
            "nascet",
            "minimal_diameter_mm",
            "reference_diameter_mm",
            "length_mm",
            "gap_mm",
        ),
        *("is_calcified", "position_mm", "x_mm", "y_mm", "z_mm", "reasons"),
    ]
    rows: list[list[object]] = [list(names)]
    for b in report.blockages:
        rows.append(
            [
                *(b.number, b.branch, b.kind, b.confidence, f"{b.diameter_percent:.1f}"),
                *(f"{b.interval[0]:.1f}", f"{b.interval[1]:.1f}", f"{b.area_percent:.1f}", b.cad_rads),
                *("" if b.nascet_percent is None else f"{b.nascet_percent:.1f}", b.nascet or ""),
                *(f"{b.minimal_diameter_mm:.2f}", f"{b.reference_diameter_mm:.2f}", f"{b.length_mm:.1f}"),
                *(f"{b.gap_mm:.1f}", int(b.is_calcified), f"{b.position_mm:.1f}"),
                *(f"{x:.1f}" for x in b.centre_mm),
                "; ".join(b.reasons),
            ]
        )
    return rows
