"""The surface of a structure in mm² and how near it comes to a ball, as IBSI defines them (C0JK, QCFX)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from skimage.measure import marching_cubes

from medseg.core.geometry import Geometry
from medseg.imaging.regions.components import Component


@dataclass(frozen=True, slots=True)
class Shape:
    """The mesh of a structure: its surface in mm² and the volume it encloses in mm³.

    The mesh runs half-way between voxels inside and outside, as IBSI asks. Its steps make the surface of anything round
    up to a tenth too large, and a ball's sphericity about 0.92 instead of 1; compare shapes with shapes measured so.
    """

    surface_mm2: float
    mesh_volume_mm3: float

    @property
    def sphericity(self) -> float:
        """The surface of a ball of the same volume over this surface: 1 for a ball, less for anything else."""
        return float((36 * math.pi * self.mesh_volume_mm3**2) ** (1 / 3) / self.surface_mm2)


def shape_of(component: Component, geometry: Geometry) -> Shape:
    """The surface of a component; where it ends at the grid's border the border counts as surface."""
    points, faces, _, _ = marching_cubes(np.pad(component.mask, 1).astype(np.float32), level=0.5)
    corners_mm = (points @ geometry.affine[:3, :3].T)[faces].astype(np.float64)
    # Twice each triangle's area as a vector; its dot product with a corner is six times the volume below it.
    normals = np.cross(corners_mm[:, 1] - corners_mm[:, 0], corners_mm[:, 2] - corners_mm[:, 0])
    surface_mm2 = 0.5 * float(np.linalg.norm(normals, axis=1).sum())
    return Shape(surface_mm2, abs(float((corners_mm[:, 0] * normals).sum())) / 6)
