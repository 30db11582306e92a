"""Truth here is written out by hand or follows from the affine of a voxel, never from the code under test."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry, Reorientation, Shape, format_mm

ALL_AXIS_CODES = [
    "".join(letters[world] for world, letters in zip(order, signs, strict=True))
    for order in permutations(range(3))
    for signs in product(*([("L", "P", "I"), ("R", "A", "S")],) * 3)
]
assert len(set(ALL_AXIS_CODES)) == 48


def rotation(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


@st.composite
def geometries(draw: st.DrawFn, tilt: float = 0.3) -> Geometry:
    """Grids of any of the 48 axis orders, tilted by at most `tilt` radians about each world axis."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    spacing = np.array(draw(st.tuples(*[st.floats(0.2, 8.0)] * 3)))
    origin = np.array(draw(st.tuples(*[st.floats(-300.0, 300.0)] * 3)))
    order = draw(st.permutations(range(3)))
    signs = np.array(draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)))
    turned = rotation(draw(st.tuples(*[st.floats(-tilt, tilt)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = (turned @ np.eye(3)[:, list(order)] * signs) * spacing
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def numbered(geometry: Geometry) -> NDArray[np.int64]:
    """Every voxel holds its own number."""
    return np.arange(np.prod(geometry.shape)).reshape(geometry.shape)


def places(array: NDArray[np.int64], geometry: Geometry) -> NDArray[np.float64]:
    """World position of each number in the array, in order of the numbers."""
    index = np.argwhere(np.ones(array.shape, dtype=bool))
    return np.asarray(geometry.world(index)[np.argsort(array.reshape(-1))])


def identity(shape: Shape = (4, 5, 6)) -> Geometry:
    return Geometry(shape, np.eye(4))


class TestConstruction:
    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 7), (4, 0, 6), (4, -1, 6)])
    def test_refuses_a_shape_that_is_not_three_positive_dimensions(self, shape: Shape) -> None:
        with pytest.raises(GeometryError, match="three positive dimensions"):
            Geometry(shape, np.eye(4))

    @pytest.mark.parametrize("size", [3, 5])
    def test_refuses_an_affine_of_another_size(self, size: int) -> None:
        with pytest.raises(GeometryError, match=rf"4 x 4, got \({size}, {size}\)"):
            Geometry((1, 1, 1), np.eye(size))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("where", [(0, 0), (1, 3)])
    def test_refuses_values_that_are_not_finite(self, value: float, where: tuple[int, int]) -> None:
        affine = np.eye(4)
        affine[where] = value
        with pytest.raises(GeometryError, match="not finite"):
            Geometry((2, 2, 2), affine)

    def test_refuses_a_last_row_that_is_no_affine(self) -> None:
        affine = np.eye(4)
        affine[3, 0] = 0.5
        with pytest.raises(
            GeometryError, match=r"the last row of an affine is 0 0 0 1, got \[0\.5, 0\.0, 0\.0, 1\.0\]"
        ):
            Geometry((2, 2, 2), affine)

    @pytest.mark.parametrize(
        "columns",
        [
            [[0, 0, 0], [0, 1, 0], [0, 0, 1]],  # an axis without length
            [[1, 0, 0], [2, 0, 0], [0, 0, 1]],  # two axes in one direction
            [[1, 0, 0], [0, 1, 0], [1, 1, 0]],  # three axes in one plane
        ],
    )
    def test_refuses_a_singular_affine(self, columns: list[list[float]]) -> None:
        affine = np.eye(4)
        affine[:3, :3] = np.array(columns).T
        with pytest.raises(GeometryError, match="singular"):
            Geometry((2, 2, 2), affine)

    @pytest.mark.parametrize(("share", "passes"), [(2e-6, True), (0.5e-6, False)])
    def test_refuses_axes_that_nearly_lie_in_one_plane(self, share: float, passes: bool) -> None:
        """Of axes of 2, 3 and 4 mm, as volumes of the box they would span at right angles."""
        affine = np.array([[2.0, 3.0, 0, 0], [0, 3.0 * share, 0, 0], [0, 0, 4.0, 0], [0, 0, 0, 1]])
        if passes:
            assert Geometry((2, 2, 2), affine).shape == (2, 2, 2)
        else:
            with pytest.raises(GeometryError, match=r"singular: its axes are \[2.0, 3.0\d*, 4.0\] mm long"):
                Geometry((2, 2, 2), affine)

    def test_takes_very_small_voxels_for_what_they_are(self) -> None:
        assert Geometry.from_spacing((2, 2, 2), (1e-3, 1e-3, 1e-3)).voxel_volume_ml == pytest.approx(1e-12)

    @pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, np.nan)])
    def test_refuses_a_spacing_that_is_not_above_zero(self, spacing: tuple[float, float, float]) -> None:
        with pytest.raises(GeometryError, match="above 0 mm"):
            Geometry.from_spacing((2, 2, 2), spacing)
        with pytest.raises(GeometryError, match="above 0 mm"):
            identity().with_spacing(spacing)

    def test_is_frozen_down_to_the_affine(self) -> None:
        source = np.eye(4)
        geometry = Geometry((2, 2, 2), source)
        source[0, 3] = 99.0
        assert geometry.affine[0, 3] == 0.0
        with pytest.raises(ValueError, match="read-only"):
            geometry.affine[0, 3] = 1.0


class TestEquality:
    def test_holds_for_equal_values(self) -> None:
        first, second = Geometry((4, 5, 6), np.eye(4), "1.2"), Geometry((4, 5, 6), np.eye(4), "1.2")
        assert first == second
        assert hash(first) == hash(second)

    def test_fails_by_each_part_alone(self) -> None:
        moved = np.eye(4)
        moved[0, 3] = 1e-9
        first = Geometry((4, 5, 6), np.eye(4), "1.2")
        others = (
            Geometry((5, 4, 6), np.eye(4), "1.2"),
            Geometry((4, 5, 6), moved, "1.2"),
            Geometry((4, 5, 6), np.eye(4), "1.3"),
        )
        for other in others:
            assert first != other
            assert other != first
        assert first != "a grid"


class TestDifference:
    def test_is_none_for_the_same_grid(self) -> None:
        assert identity().difference(identity()) is None

    def test_names_the_shapes(self) -> None:
        sentence = identity((4, 5, 6)).difference(identity((4, 5, 7)))
        assert sentence == "the shapes differ: (4, 5, 6) and (4, 5, 7) voxels"
        assert identity((4, 5, 7)).difference(identity((4, 5, 6))) is not None

    def test_names_the_frames_of_reference_only_where_both_are_known(self) -> None:
        one, other, unknown = (Geometry((2, 2, 2), np.eye(4), uid) for uid in ("1.2.3", "1.2.4", None))
        assert one.difference(other) == "the frames of reference differ: 1.2.3 and 1.2.4"
        assert other.difference(one) is not None
        assert one.difference(unknown) is None
        assert unknown.difference(one) is None

    def test_names_a_shift_in_mm(self) -> None:
        affine = np.eye(4)
        affine[1, 3] = 2.5
        sentence = identity().difference(Geometry((4, 5, 6), affine))
        assert sentence is not None
        assert "up to 2.500 mm apart" in sentence

    def test_names_another_spacing_in_mm_and_the_distance_at_the_far_corner(self) -> None:
        # 5 steps along k of 0.1 mm more each: the far corner lies 0.5 mm off
        sentence = identity().difference(Geometry.from_spacing((4, 5, 6), (1.0, 1.0, 1.1)))
        assert sentence is not None
        assert "up to 0.500 mm apart" in sentence
        assert "1 x 1 x 1.1 mm" in sentence

    def test_finds_a_flip_that_keeps_shape_spacing_and_centre(self) -> None:
        geometry = Geometry.from_spacing((4, 5, 6), (1.0, 1.0, 1.0))
        turn = Reorientation((0, 1, 2), (True, False, False))
        sentence = geometry.difference(geometry.reoriented(turn))
        assert sentence is not None
        assert "axes RAS and LAS" in sentence

    def test_finds_a_rotation_about_the_centre(self) -> None:
        geometry = identity()
        affine = np.eye(4)
        affine[:3, :3] = rotation((0.0, 0.0, 0.1))
        affine[:3, 3] = geometry.centre_mm - affine[:3, :3] @ ((np.array(geometry.shape) - 1) / 2)
        assert geometry.difference(Geometry(geometry.shape, affine)) is not None

    def test_holds_its_tolerance_on_both_sides(self) -> None:
        def moved(mm: float) -> Geometry:
            affine = np.eye(4)
            affine[0, 3] = mm
            return Geometry((4, 5, 6), affine)

        assert identity().difference(moved(0.0099)) is None
        assert identity().difference(moved(0.0101)) is not None
        assert identity().difference(moved(0.9), tolerance_mm=1.0) is None

    def test_is_raised_with_what_was_compared(self) -> None:
        identity().require_same(identity(), "image and mask")
        with pytest.raises(GeometryError, match="image and mask are on different grids: the shapes differ"):
            identity((4, 5, 6)).require_same(identity((6, 5, 4)), "image and mask")


class TestPlaces:
    def test_of_an_oblique_grid_worked_out_by_hand(self) -> None:
        affine = np.array([[0, -2.0, 0, 10.0], [0, 0, 3.0, 20.0], [-0.5, 0, 0, 30.0], [0, 0, 0, 1]])
        geometry = Geometry((4, 5, 6), affine)
        assert geometry.spacing_mm == (0.5, 2.0, 3.0)
        assert geometry.axis_codes == "ILA"
        assert geometry.voxel_volume_ml == pytest.approx(0.003)
        np.testing.assert_allclose(geometry.world((1, 2, 3)), (6.0, 29.0, 29.5))
        np.testing.assert_allclose(geometry.index((6.0, 29.0, 29.5)), (1, 2, 3))
        np.testing.assert_allclose(geometry.centre_mm, (6.0, 27.5, 29.25))

    @given(geometries(tilt=3.0), st.tuples(*[st.floats(-50, 50)] * 3))
    def test_world_and_index_undo_each_other(self, geometry: Geometry, index: tuple[float, float, float]) -> None:
        np.testing.assert_allclose(geometry.index(geometry.world(index)), index, atol=1e-6)

    @given(geometries())
    def test_contains_every_voxel_and_nothing_beyond_the_outer_faces(self, geometry: Geometry) -> None:
        half = np.full(3, 0.5)
        assert all(geometry.contains(corner) for corner in geometry.corners_mm())
        assert geometry.contains(geometry.world(-half * 0.99))
        assert not geometry.contains(geometry.world(-half * 1.01))
        assert not geometry.contains(geometry.world(np.array(geometry.shape) - half * 0.99))

    def test_the_outer_faces_belong_to_the_grid(self) -> None:
        for axis, size in enumerate((4, 5, 6)):
            inside = [1.0, 1.0, 1.0]
            for face, beyond in ((-0.5, -0.51), (size - 0.5, size - 0.49)):
                inside[axis] = face
                assert identity().contains(inside)
                inside[axis] = beyond
                assert not identity().contains(inside)

    def test_corners_are_the_centres_of_the_outermost_voxels(self) -> None:
        corners = Geometry.from_spacing((2, 3, 1), (1.0, 2.0, 5.0), (7.0, 8.0, 9.0)).corners_mm()
        assert {tuple(corner) for corner in corners.tolist()} == {(x, y, 9.0) for x in (7.0, 8.0) for y in (8.0, 12.0)}
        assert len(corners) == 8

    @pytest.mark.parametrize(("cosine", "is_sheared"), [(0.9e-4, False), (1.1e-4, True), (-1.1e-4, True)])
    def test_rounding_is_no_shear(self, cosine: float, is_sheared: bool) -> None:
        affine = np.diag((2.0, 3.0, 4.0, 1.0))
        affine[1, 2] = 4.0 * cosine
        assert Geometry((2, 2, 2), affine).is_sheared is is_sheared

    def test_a_shear_is_seen_and_a_rotation_is_none(self) -> None:
        sheared = np.eye(4)
        sheared[1, 2] = 0.01
        turned = np.eye(4)
        turned[:3, :3] = rotation((0.4, 0.5, 0.6))
        assert Geometry((2, 2, 2), sheared).is_sheared
        assert not Geometry((2, 2, 2), turned).is_sheared

    def test_a_sheared_voxel_has_the_volume_of_its_base_times_its_height(self) -> None:
        sheared = np.diag((2.0, 3.0, 4.0, 1.0))
        sheared[1, 2] = 4.0
        assert Geometry((2, 2, 2), sheared).voxel_volume_ml == pytest.approx(0.024)

    @given(geometries())
    def test_twice_the_spacing_is_eight_times_the_volume(self, geometry: Geometry) -> None:
        affine = geometry.affine.copy()
        affine[:3, :3] *= 2
        doubled = Geometry(geometry.shape, affine)
        assert doubled.voxel_volume_ml == pytest.approx(8 * geometry.voxel_volume_ml)


class TestReorientation:
    @given(geometries(), st.sampled_from(ALL_AXIS_CODES))
    @settings(max_examples=200)
    def test_moves_no_voxel_in_the_patient(self, geometry: Geometry, codes: str) -> None:
        array = numbered(geometry)
        turn = geometry.reorientation_to(codes)
        turned, there = turn.apply(array), geometry.reoriented(turn)
        assert there.axis_codes == codes
        assert turned.shape == there.shape
        np.testing.assert_allclose(places(turned, there), places(array, geometry), atol=1e-9)

    @given(geometries(), st.sampled_from(ALL_AXIS_CODES))
    def test_is_undone_by_its_inverse(self, geometry: Geometry, codes: str) -> None:
        array = numbered(geometry)
        turn = geometry.reorientation_to(codes)
        np.testing.assert_array_equal(turn.inverse().apply(turn.apply(array)), array)
        assert geometry.difference(geometry.reoriented(turn).reoriented(turn.inverse())) is None

    def test_turns_the_last_three_axes_of_an_array_with_channels(self) -> None:
        array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
        turn = Reorientation((2, 0, 1), (True, False, False))
        turned = turn.apply(array)
        assert turned.shape == (2, 5, 3, 4)
        assert turned[1, 0, 2, 3] == array[1, 2, 3, 4]

    def test_keeps_the_frame_of_reference(self) -> None:
        geometry = Geometry((2, 3, 4), np.eye(4), "1.2.3")
        assert geometry.reoriented(geometry.reorientation_to("LPS")).frame_of_reference == "1.2.3"

    @pytest.mark.parametrize("codes", ["RRS", "RA", "RASL", "RLS", ""])
    def test_refuses_codes_that_do_not_name_each_axis_once(self, codes: str) -> None:
        with pytest.raises(GeometryError, match="each anatomical axis once"):
            identity().reorientation_to(codes)

    def test_refuses_letters_that_are_no_directions(self) -> None:
        with pytest.raises(GeometryError, match="letters L R P A I S"):
            identity().reorientation_to("XYZ")

    def test_names_each_axis_once_even_at_45_degrees(self) -> None:
        affine = np.eye(4)
        affine[:3, :3] = rotation((np.pi / 4, np.pi / 4, np.pi / 4))
        letters = Geometry((2, 2, 2), affine).axis_codes
        assert sorted("RAS".find(x) if x in "RAS" else "LPI".find(x) for x in letters) == [0, 1, 2]


class TestCropAndSpacing:
    @given(geometries(), st.tuples(*[st.integers(-3, 3)] * 3), st.tuples(*[st.integers(1, 5)] * 3))
    def test_a_crop_keeps_its_voxels_in_place(self, geometry: Geometry, start: Shape, shape: Shape) -> None:
        cropped = geometry.cropped(start, shape)
        assert cropped.shape == shape
        index = np.array([[0, 0, 0], [1, 2, 3]])
        np.testing.assert_allclose(cropped.world(index), geometry.world(index + np.array(start)), atol=1e-9)

    def test_another_spacing_worked_out_by_hand(self) -> None:
        # 10 voxels of 1 mm run from -0.5 to 9.5 mm; 5 voxels of 2 mm over the same stretch begin at 0.5 mm
        geometry = Geometry.from_spacing((10, 10, 10), (1.0, 1.0, 1.0)).with_spacing((2.0, 1.0, 1.0))
        assert geometry.shape == (5, 10, 10)
        np.testing.assert_allclose(geometry.origin_mm, (0.5, 0.0, 0.0))

    def test_a_spacing_wider_than_the_grid_leaves_one_voxel_in_its_middle(self) -> None:
        geometry = Geometry.from_spacing((3, 4, 10), (1.0, 1.0, 1.0)).with_spacing((10.0, 9.0, 4.0))
        assert geometry.shape == (1, 1, 2)  # 2.5 voxels are 2
        np.testing.assert_allclose(geometry.origin_mm, (1.0, 1.5, 2.5))

    def test_keeps_the_frame_of_reference(self) -> None:
        geometry = Geometry((4, 4, 4), np.eye(4), "1.2.3")
        for made in (geometry.cropped((1, 1, 1), (2, 2, 2)), geometry.with_spacing((2, 2, 2)), geometry.right_angled()):
            assert made.frame_of_reference == "1.2.3"

    @given(geometries(tilt=3.0), st.tuples(*[st.floats(0.2, 8.0)] * 3))
    def test_another_spacing_keeps_centre_directions_and_nearly_the_field_of_view(
        self, geometry: Geometry, spacing: tuple[float, float, float]
    ) -> None:
        resampled = geometry.with_spacing(spacing)
        np.testing.assert_allclose(resampled.spacing_mm, spacing)
        np.testing.assert_allclose(resampled.centre_mm, geometry.centre_mm, atol=1e-9)
        np.testing.assert_allclose(resampled.directions, geometry.directions, atol=1e-9)
        old = np.array(geometry.shape) * geometry.spacing_mm
        new = np.array(resampled.shape) * resampled.spacing_mm
        one_voxel_left = np.array(resampled.shape) == 1
        assert np.all((np.abs(new - old) <= np.array(spacing) / 2 + 1e-9) | one_voxel_left)

    @given(geometries())
    def test_its_own_spacing_changes_nothing(self, geometry: Geometry) -> None:
        assert geometry.difference(geometry.with_spacing(geometry.spacing_mm)) is None


class TestRightAngles:
    @given(geometries(), st.floats(-0.4, 0.4))
    def test_a_sheared_grid_lies_inside_its_right_angled_one(self, geometry: Geometry, shear: float) -> None:
        affine = geometry.affine.copy()
        affine[:3, 2] += shear * affine[:3, 1]
        sheared = Geometry(geometry.shape, affine)
        straight = sheared.right_angled()
        assert not straight.is_sheared
        np.testing.assert_allclose(straight.spacing_mm, sheared.spacing_mm)
        index = straight.index(sheared.corners_mm())
        assert np.all(index >= -1e-5)
        assert np.all(index <= np.array(straight.shape) - 1 + 1e-5)

    def test_of_two_axes_that_lean_to_each_other_both_give_way(self) -> None:
        """j and k lean alike from y and z, so the nearest axes at right angles are y and z themselves."""
        affine = np.eye(4)
        affine[:3, :3] = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, -0.28, 0.96]]) * (1.0, 2.0, 0.5)
        affine[:3, 3] = (5.0, 6.0, 7.0)
        straight = Geometry((2, 3, 4), affine).right_angled()
        # along y from -3 * 0.5 * 0.28 to 2 * 2 * 0.96, along z from -2 * 2 * 0.28 to 3 * 0.5 * 0.96
        np.testing.assert_allclose(straight.spacing_mm, (1.0, 2.0, 0.5))
        np.testing.assert_allclose(straight.directions, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(straight.origin_mm, (5.0, 5.58, 5.88))
        assert straight.shape == (2, 4, 7)  # 1 + 1, 2.13 + 1, 5.12 + 1 rounded up

    @given(geometries(tilt=3.0))
    def test_a_right_angled_grid_stays_as_it_is(self, geometry: Geometry) -> None:
        assert geometry.difference(geometry.right_angled()) is None


def test_lengths_are_written_for_people() -> None:
    assert format_mm((0.78125, 0.78125, 2.5)) == "0.7812 x 0.7812 x 2.5 mm"
