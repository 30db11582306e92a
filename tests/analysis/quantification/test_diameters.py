"""Diameters of shapes whose diameters are known."""

import math

import numpy as np
import pytest

from medseg.analysis.quantification.diameters import axial_axis, axial_diameters, maximum_diameter_mm
from medseg.core.geometry import Geometry
from medseg.imaging.regions.components import Component, connected_components


def piece(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Component:
    (component,) = connected_components(mask)
    return component


def test_one_voxel_is_as_long_as_the_voxel() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 3, 1] = True
    geometry = Geometry.from_spacing((5, 5, 5), (2.0, 1.0, 3.0), (10.0, 20.0, 30.0))
    axial = axial_diameters(piece(mask), geometry)
    assert axial.longest_mm == pytest.approx(2.0)
    assert axial.perpendicular_mm == pytest.approx(1.0)
    assert (axial.slice_axis, axial.slice_index) == (2, 1)
    assert sorted(axial.longest_ends_mm) == [(13.0, 23.0, 33.0), (15.0, 23.0, 33.0)]
    assert sorted(axial.perpendicular_ends_mm) == [(14.0, 22.5, 33.0), (14.0, 23.5, 33.0)]
    assert maximum_diameter_mm(piece(mask), geometry) == pytest.approx(3.0)


def test_the_axial_slice_is_found_in_every_stored_order() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[1:8, 3:5, 4] = True  # 7 mm along x in the slice, and a longer column along z
    mask[4, 4, 0:9] = True
    straight = Geometry.from_spacing((9, 9, 9), (1.0, 1.0, 2.0))
    expected = axial_diameters(piece(mask), straight)
    for codes in ("LPS", "SRA", "AIR"):
        turn = straight.reorientation_to(codes)
        geometry = straight.reoriented(turn)
        assert geometry.axis_codes[axial_axis(geometry)] in "IS"
        turned = axial_diameters(piece(turn.apply(mask)), geometry)
        assert turned.longest_mm == pytest.approx(expected.longest_mm)
        assert turned.perpendicular_mm == pytest.approx(expected.perpendicular_mm)
        ends = sorted(turned.longest_ends_mm), sorted(expected.longest_ends_mm)
        assert np.allclose(ends[0], ends[1])
    assert maximum_diameter_mm(piece(mask), straight) == pytest.approx(17.0)  # eight steps of 2 mm and half a step


def test_the_perpendicular_is_a_chord_at_right_angles_not_a_box() -> None:
    # Half a square of 20 mm, cut along its diagonal: the diagonal is the longest diameter, the chord at right angles
    # to it runs to the square's corner, half as long. A box along the axes would be 20 by 20.
    row, column = np.ogrid[:24, :24]
    mask = ((row >= 2) & (column >= 2) & (row + column < 24))[..., None]
    axial = axial_diameters(piece(mask), Geometry.from_spacing((24, 24, 1), (1.0, 1.0, 5.0)))
    first, second = np.array(axial.longest_ends_mm)
    third, fourth = np.array(axial.perpendicular_ends_mm)
    assert axial.longest_mm == pytest.approx(math.dist(first, second))
    assert axial.perpendicular_mm == pytest.approx(math.dist(third, fourth))
    assert (second - first) @ (fourth - third) == pytest.approx(0, abs=1e-9)
    assert axial.longest_mm == pytest.approx(20 * math.sqrt(2), abs=1.0)
    assert axial.perpendicular_mm == pytest.approx(10 * math.sqrt(2), abs=1.0)


def test_the_perpendicular_ends_at_the_outline_on_its_own_line() -> None:
    # The same square's two bare sides, an L one voxel thin: no line across its diagonal meets both bars.
    mask = np.zeros((24, 24, 1), bool)
    mask[2:22, 2, 0] = mask[2, 2:22, 0] = True
    axial = axial_diameters(piece(mask), Geometry.from_spacing((24, 24, 1), (1.0, 1.0, 5.0)))
    assert axial.longest_mm == pytest.approx(20 * math.sqrt(2), abs=1.0)
    assert axial.perpendicular_mm == pytest.approx(math.sqrt(2), abs=0.1)


def test_an_oblique_scan_is_measured_in_its_own_slices() -> None:
    mask = np.zeros((20, 20, 9), bool)
    mask[3:15, 6:10, 4] = True
    straight = Geometry.from_spacing((20, 20, 9), (0.8, 0.8, 4.0))
    tilt = math.radians(25)
    turn = np.array(((1, 0, 0), (0, math.cos(tilt), -math.sin(tilt)), (0, math.sin(tilt), math.cos(tilt))))
    affine = np.eye(4)
    affine[:3, :3] = turn @ straight.affine[:3, :3]
    oblique = axial_diameters(piece(mask), Geometry((20, 20, 9), affine))
    assert oblique.longest_mm == pytest.approx(axial_diameters(piece(mask), straight).longest_mm)
    assert oblique.slice_index == 4


def test_slanted_slice_axes_are_measured_through_the_affine() -> None:
    affine = np.eye(4)
    affine[:3, 1] = (1, 1, 0)  # j runs at 45 degrees within the slice, sqrt(2) mm a step
    mask = np.zeros((30, 30, 3), bool)
    mask[15, 2:27, 1] = True
    axial = axial_diameters(piece(mask), Geometry((30, 30, 3), affine))
    assert axial.longest_mm == pytest.approx(24.5 * math.sqrt(2))  # 24 steps between centres, and half a step
