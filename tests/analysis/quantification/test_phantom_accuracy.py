"""Volume and diameters of made ellipsoids, over sizes, spacings and orientations, against their formulas."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medseg.analysis.quantification.diameters import axial_diameters, maximum_diameter_mm
from medseg.core.geometry import Geometry, Spacing
from medseg.imaging.regions.components import Component, connected_components

SPACINGS: tuple[Spacing, ...] = ((1.0, 1.0, 1.0), (0.7, 0.7, 0.7), (0.8, 0.8, 2.5), (0.7, 0.7, 5.0))


class Ellipsoid:
    """A made ellipsoid of any half axes and orientation, drawn on an oblique grid of any spacing."""

    def __init__(self, seed: int, spacing_mm: Spacing, scale: float = 1.0) -> None:
        generator = np.random.default_rng(seed)
        longest_mm = generator.uniform(max(8.0, 5 * spacing_mm[2]), max(20.0, 6 * spacing_mm[2]))
        self.radii_mm = scale * longest_mm * np.array((1.0, *generator.uniform(0.65, 1.0, 2)))
        self.axes = Rotation.random(rng=generator).as_matrix()  # in the grid's own directions
        offset = generator.uniform(-0.5, 0.5, 3) * spacing_mm
        tilt = Rotation.from_euler("xyz", generator.uniform(-30, 30, 3), degrees=True).as_matrix()
        shape = tuple(int(n) for n in np.ceil(2 * self.radii_mm.max() / np.asarray(spacing_mm)) + 4)
        affine = np.eye(4)
        affine[:3, :3] = tilt @ np.diag(np.asarray(spacing_mm))
        affine[:3, 3] = generator.uniform(-200, 200, 3)
        self.geometry = Geometry((shape[0], shape[1], shape[2]), affine)
        middle = (np.asarray(shape) - 1) / 2
        steps = np.moveaxis(np.indices(shape), 0, -1) - middle
        self.mask = ((((steps * spacing_mm - offset) @ self.axes) / self.radii_mm) ** 2).sum(-1) <= 1
        self.slices_mm = (np.arange(shape[2]) - middle[2]) * spacing_mm[2] - offset[2]

    @property
    def component(self) -> Component:
        (component,) = connected_components(self.mask)
        return component

    @property
    def volume_ml(self) -> float:
        return float(4 / 3 * math.pi * self.radii_mm.prod() / 1000)

    @property
    def axial_mm(self) -> NDArray[np.float64]:
        """Shortest and longest diameter of the ellipse that the stored slice nearest to the middle cuts out."""
        quadratic = self.axes @ np.diag(self.radii_mm**-2.0) @ self.axes.T
        half_height_mm = math.sqrt((self.axes @ np.diag(self.radii_mm**2) @ self.axes.T)[2, 2])
        shrink = math.sqrt(1 - (np.abs(self.slices_mm).min() / half_height_mm) ** 2)
        return np.asarray(2 * shrink / np.sqrt(np.linalg.eigvalsh(quadratic[:2, :2])[::-1]))


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_ellipsoids_are_measured_within_two_percent_and_half_a_voxel(spacing_mm: Spacing) -> None:
    # Half axes of 8 to 30 mm and never fewer than 3.25 slices, axes up to 1 : 0.65.
    volume_percent, longest, across, in_space = [], [], [], []
    for seed in range(30):
        made = Ellipsoid(seed, spacing_mm)
        axial = axial_diameters(made.component, made.geometry)
        shortest_mm, longest_mm = made.axial_mm
        measured_ml = made.component.voxel_count * made.geometry.voxel_volume_ml
        volume_percent.append(100 * (measured_ml / made.volume_ml - 1))
        longest.append((axial.longest_mm - longest_mm) / spacing_mm[0])
        across.append((axial.perpendicular_mm - shortest_mm) / spacing_mm[0])
        in_space.append(
            (maximum_diameter_mm(made.component, made.geometry) - 2 * made.radii_mm.max()) / max(spacing_mm)
        )
    assert np.abs(volume_percent).max() < 2
    assert np.abs(longest).max() < 0.5
    assert np.abs(in_space).max() < 0.5
    # Of the first 600 seeds of each spacing 0.2 % miss this, by 0.08 voxels at most.
    assert np.abs(across).max() < 0.5
    assert abs(np.mean(across)) < 0.15


def test_doubling_the_spacing_makes_eight_times_the_volume_and_twice_the_diameters() -> None:
    made = Ellipsoid(0, (0.8, 0.8, 2.5))
    affine = made.geometry.affine.copy()
    affine[:3, :3] *= 2
    doubled = Geometry(made.geometry.shape, affine)
    assert doubled.voxel_volume_ml == pytest.approx(8 * made.geometry.voxel_volume_ml)
    once, twice = axial_diameters(made.component, made.geometry), axial_diameters(made.component, doubled)
    assert twice.longest_mm == pytest.approx(2 * once.longest_mm)
    assert twice.perpendicular_mm == pytest.approx(2 * once.perpendicular_mm)
    assert maximum_diameter_mm(made.component, doubled) == pytest.approx(
        2 * maximum_diameter_mm(made.component, made.geometry)
    )


def test_the_ends_of_the_lines_lie_in_one_slice_at_right_angles_and_as_far_apart_as_said() -> None:
    for seed in range(4):
        made = Ellipsoid(seed, (0.8, 0.8, 2.5))
        axial = axial_diameters(made.component, made.geometry)
        ends = np.array((*axial.longest_ends_mm, *axial.perpendicular_ends_mm))
        assert made.geometry.index(ends)[:, 2] == pytest.approx(axial.slice_index)
        assert math.dist(ends[0], ends[1]) == pytest.approx(axial.longest_mm)
        assert math.dist(ends[2], ends[3]) == pytest.approx(axial.perpendicular_mm)
        assert (ends[1] - ends[0]) @ (ends[3] - ends[2]) == pytest.approx(0, abs=1e-6)
        assert maximum_diameter_mm(made.component, made.geometry) >= axial.longest_mm - 1e-9
