"""What the vessel page is told: branches with their diameters, and blockages; pictures go over the routes."""

from __future__ import annotations

from typing import Any

import numpy as np

from apps.viewer.page_data import ROUTE_ROOT
from medseg.imaging.pictures.slices import percentile_window
from medseg.workflows.results.open_study import StudyEntry
from medseg.workflows.results.open_vessels import OpenedVessels


def vessel_data(entry: StudyEntry, vessels: OpenedVessels) -> dict[str, Any]:
    """The vessels as JSON-ready values: lengths in mm, places along a branch from its start."""
    report = vessels.report
    window = percentile_window(vessels.volume, 1.0, 99.9)
    return {
        "id": entry.id,
        "name": entry.name,
        "base": f"{ROUTE_ROOT}/studies/{entry.id}",
        "window": {"centre": window.centre, "width": window.width},
        "unit": vessels.volume.unit,
        "is_artery": report.vessels == "artery",
        "cad_rads": report.cad_rads,
        "not_assessable": report.not_assessable,
        "warnings": list(report.warnings),
        "branches": [
            {
                **branch.model_dump(mode="json"),
                "blockages": report.count_by_branch.get(branch.index),
                "along_mm": _rounded(vessels.lumens[branch.index].arc_mm),
                "diameters_mm": _rounded(2 * vessels.lumens[branch.index].radius_mm),
            }
            for branch in report.branches
            if branch.index in vessels.lumens
        ],
        "blockages": [
            {**blockage.model_dump(mode="json"), "branch_name": report.branch_name(blockage.branch)}
            for blockage in report.blockages
        ],
    }


def _rounded(values: np.ndarray[Any, Any]) -> list[float]:
    return [round(float(value), 3) for value in values]
