"""A vessel tree as text that other programs read: VTK PolyData, SWC, CSV."""

from __future__ import annotations

import csv
import io

from medseg.analysis.vessels.lumen.profiles import Lumens
from medseg.analysis.vessels.tree.branches import VesselTree

SWC_UNDEFINED = 0
"""SWC's structure type for what is no neurite."""


def tree_as_vtk(tree: VesselTree, lumens: Lumens) -> str:
    """The branches as lines of a legacy VTK PolyData file, with the lumen's radius at each point (VMTK, Slicer).

    Positions are in LPS+ mm, as VMTK and Slicer expect of files without a space declared.
    """
    points: list[str] = []
    radii: list[str] = []
    lines: list[str] = []
    for branch in tree.branches:
        lumen = lumens.profiles[branch.index]
        first = len(points)
        points += [f"{-x:.4f} {-y:.4f} {z:.4f}" for x, y, z in lumen.points_mm]
        radii += [f"{radius:.4f}" for radius in lumen.radius_mm]
        members = range(first, len(points))
        lines.append(" ".join(map(str, (len(members), *members))))
    size = sum(len(line.split()) for line in lines)
    return "\n".join(
        [
            "# vtk DataFile Version 3.0",
            "vessel centrelines, SPACE=LPS",
            "ASCII",
            "DATASET POLYDATA",
            f"POINTS {len(points)} double",
            *points,
            f"LINES {len(lines)} {size}",
            *lines,
            f"POINT_DATA {len(points)}",
            "SCALARS Radius double 1",
            "LOOKUP_TABLE default",
            *radii,
            "",
        ]
    )


def tree_as_swc(tree: VesselTree, lumens: Lumens) -> str:
    """The branches as SWC: number, type, x, y, z (RAS+ mm), radius (mm), parent's number, -1 for a root."""
    rows = ["# vessel centrelines, RAS+ mm"]
    last: dict[int, int] = {}
    number = 0
    for branch in tree.branches:
        lumen = lumens.profiles[branch.index]
        before = last[branch.parent] if branch.parent is not None else -1
        for (x, y, z), radius in zip(lumen.points_mm, lumen.radius_mm, strict=True):
            number += 1
            rows.append(f"{number} {SWC_UNDEFINED} {x:.4f} {y:.4f} {z:.4f} {radius:.4f} {before}")
            before = number
        last[branch.index] = number
    return "\n".join(rows) + "\n"


def tree_as_csv(tree: VesselTree, lumens: Lumens) -> str:
    """One row a centreline point: branch, parent, generation, way along it, position in RAS+ mm, diameter."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["branch", "parent", "generation", "along_mm", "x_mm", "y_mm", "z_mm", "diameter_mm", "is_gap"])
    for branch in tree.branches:
        lumen = lumens.profiles[branch.index]
        parent = "" if branch.parent is None else branch.parent
        rows = zip(lumen.arc_mm, lumen.points_mm, lumen.radius_mm, branch.is_gap, strict=True)
        for along, (x, y, z), radius, is_gap in rows:
            place = [f"{value:.3f}" for value in (along, x, y, z, 2 * radius)]
            writer.writerow([branch.index, parent, branch.generation, *place, int(is_gap)])
    return text.getvalue()
