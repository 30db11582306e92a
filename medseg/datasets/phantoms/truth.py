"""What a made study holds, by formula: the reference that measurements are judged against."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

Point = tuple[float, float, float]
Axes = tuple[Point, Point, Point]


class _Truth(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OrganTruth(_Truth):
    """An ellipsoid cut by a plane; the volume counts the lesions and vessels inside it."""

    centre_mm: Point
    semi_axes_mm: Point
    volume_ml: float


class LesionTruth(_Truth):
    """An ellipsoid; `axes` are the unit directions of its semi-axes, `intensity_hu` its value before blur and noise."""

    centre_mm: Point
    semi_axes_mm: Point
    axes: Axes
    intensity_hu: float

    @property
    def volume_ml(self) -> float:
        return float(4 / 3 * np.pi * np.prod(self.semi_axes_mm)) / 1000

    @property
    def longest_diameter_mm(self) -> float:
        """The longest diameter in any direction."""
        return 2 * max(self.semi_axes_mm)

    def axial_diameters_mm(self, normal: ArrayLike = (0.0, 0.0, 1.0)) -> tuple[float, float]:
        """Longest diameter in the planes with this normal, and the longest at right angles to it in that plane.

        Every plane cuts a similar ellipse, the one through the centre the largest.
        """
        unit = np.asarray(normal, dtype=np.float64) / np.linalg.norm(normal)
        _, _, rows = np.linalg.svd(unit[None, :])
        plane = rows[1:].T
        axes = np.asarray(self.axes, dtype=np.float64).T
        form = plane.T @ (axes / np.asarray(self.semi_axes_mm) ** 2) @ axes.T @ plane
        steepest = np.linalg.eigvalsh(form)
        return 2 / float(np.sqrt(steepest[0])), 2 / float(np.sqrt(steepest[1]))


class BranchTruth(_Truth):
    """A vessel branch from one fork to the next: its centreline, and the healthy and the open radius along it.

    `parent` is the index of the branch it leaves, None for a root. The open centreline differs from the healthy one
    where a narrowing is eccentric.
    """

    parent: int | None
    points_mm: tuple[Point, ...]
    healthy_radius_mm: tuple[float, ...]
    open_points_mm: tuple[Point, ...]
    open_radius_mm: tuple[float, ...]

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(np.diff(np.asarray(self.points_mm), axis=0), axis=1).sum())


class BlockageTruth(_Truth):
    """A narrowing or an occlusion (100 %) of one branch, at its tightest `position_mm` from the branch's start.

    `diameter_percent` is 1 - open / healthy diameter at the tightest place. The volume is the healthy tube's over the
    blockage's length: what is open and what is lost.
    """

    branch: int
    centre_mm: Point
    position_mm: float
    length_mm: float
    diameter_percent: Annotated[float, Field(gt=0, le=100)]
    healthy_diameter_mm: float
    open_diameter_mm: float
    volume_ml: float

    @property
    def area_percent(self) -> float:
        """Lost area in percent; round lumens."""
        return 100 * (1 - (self.open_diameter_mm / self.healthy_diameter_mm) ** 2)

    @property
    def is_occlusion(self) -> bool:
        return self.diameter_percent >= 100


class PhantomTruth(_Truth):
    """Everything a made study holds; positions are world RAS+ mm."""

    seed: int
    organ: OrganTruth
    lesions: tuple[LesionTruth, ...]
    branches: tuple[BranchTruth, ...]
    blockages: tuple[BlockageTruth, ...]
