"""A result of `medseg vessels`, opened to be looked at: its report, diameters, and pictures along and across."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.analysis.vessels.findings.report import VesselReport
from medseg.analysis.vessels.lumen.profiles import LumenProfile
from medseg.analysis.vessels.planar_reformation import cross_sections, curved, straightened
from medseg.core.errors import InputError
from medseg.core.task import first_problem
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.workflows.results.open_study import VESSEL_REPORT

TREE, SCAN = "tree.csv", "scan.json"

HALF_WIDTH_MM = 10.0
"""How far to each side of the vessel a straightened picture reaches."""

SECTION_HALF_WIDTH_MM = 8.0
STEP_MM = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class OpenedVessels:
    """The report, the lumen of each branch by its number, and the scan that pictures are made of."""

    report: VesselReport
    lumens: dict[int, LumenProfile]
    volume: Volume

    def lumen(self, branch: int) -> LumenProfile:
        """The lumen of a branch. Raises InputError where there is none of that number."""
        if branch not in self.lumens:
            raise InputError(f"there is no branch {branch}; the tree has {len(self.lumens)}")
        return self.lumens[branch]


@dataclass(frozen=True, slots=True, eq=False)
class VesselPicture:
    """A picture (rows, columns) of values, `step_mm` apart both ways; rows go along a straightened or curved vessel."""

    values: NDArray[np.float32]
    step_mm: float


def open_vessels(folder: Path) -> OpenedVessels:
    """The vessels of a result folder. Raises InputError where it, or the scan it was made of, cannot be read."""
    try:
        report = VesselReport.model_validate_json((folder / VESSEL_REPORT).read_bytes())
        sources = json.loads((folder / SCAN).read_text(encoding="utf-8"))
        lumens = _lumens(folder / TREE)
    except ValidationError as error:
        raise InputError(f"{VESSEL_REPORT} of {folder.name} is damaged: {first_problem(error)}") from error
    except FileNotFoundError as error:
        raise InputError(
            f"{folder.name} lacks {Path(error.filename).name}: run `medseg vessels` again to look at it here."
        ) from error
    except (ValueError, KeyError) as error:
        raise InputError(f"the result {folder.name} is damaged: {error}. Run `medseg vessels` again.") from error
    source = Path(sources["image"] or sources["map"])
    if not source.exists():
        raise InputError(f"the scan that {folder.name} was made of is no longer at {source}. Bring it back there.")
    return OpenedVessels(report, lumens, read_scan(source).volume)


def straightened_picture(vessels: OpenedVessels, branch: int, angle_deg: float = 0.0) -> VesselPicture:
    """The plane through a branch's centreline unrolled, turned about the vessel by an angle."""
    points = vessels.lumen(branch).points_mm
    made = straightened(vessels.volume, points, half_width_mm=HALF_WIDTH_MM, step_mm=STEP_MM, angle_deg=angle_deg)
    return VesselPicture(made.picture, made.step_mm)


def curved_picture(vessels: OpenedVessels, branch: int, angle_deg: float = 0.0) -> VesselPicture:
    """The curved sheet through a branch's centreline: lengths along it are true, and it keeps its bends.

    Unturned, the sheet shows the direction in which the branch bends most; `angle_deg` turns it about the branch.
    """
    points = vessels.lumen(branch).points_mm
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    angle = np.deg2rad(angle_deg)
    x, y, z = np.cos(angle) * axes[1] + np.sin(angle) * axes[2]
    direction = (float(x), float(y), float(z))
    made = curved(vessels.volume, points, direction=direction, margin_mm=HALF_WIDTH_MM, step_mm=STEP_MM)
    return VesselPicture(made.picture, made.step_mm)


def section_picture(vessels: OpenedVessels, branch: int, along_mm: float) -> VesselPicture:
    """The section across a branch at a place along it, centred on the vessel; a place beyond its ends is the end."""
    lumen = vessels.lumen(branch)
    where = np.clip([along_mm], 0.0, lumen.arc_mm[-1])
    made = cross_sections(vessels.volume, lumen, where, half_width_mm=SECTION_HALF_WIDTH_MM, step_mm=STEP_MM)
    return VesselPicture(made[0], STEP_MM)


def _lumens(path: Path) -> dict[int, LumenProfile]:
    rows: defaultdict[int, list[tuple[float, float, float, float]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = (float(row["x_mm"]), float(row["y_mm"]), float(row["z_mm"]))
            rows[int(row["branch"])].append((*place, float(row["diameter_mm"])))
    return {branch: _lumen(np.array(places)) for branch, places in rows.items()}


def _lumen(places: NDArray[np.float64]) -> LumenProfile:
    nothing = np.zeros(len(places))
    return LumenProfile(places[:, :3], places[:, 3] / 2, nothing, nothing, np.zeros(len(places), dtype=np.bool_))
