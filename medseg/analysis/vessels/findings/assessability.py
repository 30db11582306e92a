"""When nothing should be said: vessels below resolution, shapes that are no vessels, images without contrast."""

from __future__ import annotations

import numpy as np

from medseg.analysis.vessels.lumen.profiles import LumenProfile
from medseg.analysis.vessels.tree.branches import VesselBranch
from medseg.core.geometry import Geometry

LEAST_VOXELS = 3.0
"""A vessel narrower than this many voxels (the mean spacing) hides its own stenoses: sensitivity falls to a third."""

LEAST_SLENDERNESS = 2.5
"""A piece shorter than this many of its diameters is a blob, not a vessel."""

MOST_MISFIT = 0.17
"""A root mean square misfit of the round lumen above this share of the contrast: the section is not a vessel's."""

LEAST_CONTRAST_TO_NOISE = 3.0


def why_not(branch: VesselBranch, lumen: LumenProfile, geometry: Geometry) -> str | None:
    """Why a branch cannot be assessed, as a sentence with its numbers; None where it can."""
    seen = ~branch.is_gap
    if not seen.any():
        return "no vessel is seen along it"
    diameter = 2 * float(np.median(lumen.radius_mm[seen]))
    width = 2 * float(np.median(branch.inscribed_mm[seen]))
    spacing = float(np.mean(geometry.spacing_mm))
    if diameter < LEAST_VOXELS * spacing:
        return (
            f"below resolution: {diameter:.1f} mm wide, {diameter / spacing:.1f} voxels; "
            f"{LEAST_VOXELS:.0f} are needed to grade a stenosis"
        )
    if branch.length_mm < LEAST_SLENDERNESS * max(diameter, width):
        return f"too short: {branch.length_mm:.1f} mm long and {max(diameter, width):.1f} mm wide"
    misfit = float(np.median(lumen.misfit[seen]))
    if misfit > MOST_MISFIT:
        return f"not round: a round lumen misfits its sections by {100 * misfit:.0f} % of the contrast"
    return None
