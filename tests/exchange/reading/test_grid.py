"""Slices on one grid, and each tolerance from both sides; the truth is written out from positions in LPS+ mm."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from dicom_frames import Place, frame, frames_at

from medseg.core.errors import InputError
from medseg.exchange.dicom.reading.grid import Stack, require_alike, stack, tolerance_mm


def stacked(steps_mm: list[float], towards: Place = (0.0, 0.0, 1.0), *, allow_gaps: bool = False) -> Stack:
    return stack(frames_at(steps_mm, towards), allow_gaps=allow_gaps)


def refusal(steps_mm: list[float], towards: Place = (0.0, 0.0, 1.0), *, allow_gaps: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        stacked(steps_mm, towards, allow_gaps=allow_gaps)
    return str(caught.value)


class TestGrid:
    def test_i_runs_along_a_row_j_along_a_column_and_k_along_the_normal(self) -> None:
        found = stacked([5.0, 0.0, 7.5, 2.5])
        assert [one.name for one in found.frames] == ["0001.dcm", "0003.dcm", "0000.dcm", "0002.dcm"]
        assert (found.indices, found.missing, found.warnings) == ((0, 1, 2, 3), (), ())
        assert found.geometry.shape == (2, 3, 4)
        assert found.geometry.frame_of_reference == "1.2.4"
        # DICOM's left and back are minus right and minus front
        expected = np.array([[-0.7, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
        np.testing.assert_allclose(found.geometry.affine, expected, atol=1e-9)

    def test_a_tilt_is_kept_as_shear(self) -> None:
        found = stacked([0.0, 2.5, 5.0], (0.0, 0.36, 1.0))
        np.testing.assert_allclose(found.geometry.affine[:3, 2], (0, -0.9, 2.5), atol=1e-9)
        assert found.geometry.is_sheared

    def test_an_unknown_frame_of_reference_is_none(self) -> None:
        assert stack(frames_at([0, 1], FrameOfReferenceUID=None), allow_gaps=False).geometry.frame_of_reference is None

    @pytest.mark.parametrize(("thickness", "spacing"), [("3.5", 3.5), (None, 1.0)])
    def test_one_slice_is_as_thick_as_it_says_or_a_millimetre(self, thickness: str | None, spacing: float) -> None:
        found = stack([frame("only.dcm", SliceThickness=thickness)], allow_gaps=False)
        assert (found.indices, found.geometry.shape) == ((0,), (2, 3, 1))
        np.testing.assert_allclose(found.geometry.affine[:3, 2], (0, 0, spacing))
        np.testing.assert_allclose(found.geometry.origin_mm, (-10, -20, 30))
        (warning,) = found.warnings
        assert warning.startswith("there is one slice only, only.dcm; ")
        assert ("3.5 mm is taken" in warning) == (thickness is not None)
        assert ("1 mm is taken" in warning) == (thickness is None)


class TestGaps:
    def test_a_missing_slice_keeps_its_number_where_gaps_are_allowed(self) -> None:
        found = stacked([0.0, 2.5, 7.5, 10.0], allow_gaps=True)
        assert (found.indices, found.missing) == ((0, 1, 3, 4), (2,))
        assert found.geometry.shape == (2, 3, 5)
        np.testing.assert_allclose(found.geometry.affine[:3, 2], (0, 0, 2.5))

    def test_a_missing_slice_is_told_of_with_its_neighbours(self) -> None:
        assert refusal([0.0, 2.5, 7.5, 10.0]) == (
            "1 slice is missing: there is a gap of 5.000 mm between 0001.dcm and 0002.dcm (spacing 2.500 mm). "
            "Send the series again, or pass --allow-gaps to interpolate."
        )
        assert refusal([0.0, 2.5, 5.0, 12.5]).startswith(
            "2 slices are missing: there is a gap of 7.500 mm between 0002"
        )

    def test_as_many_may_be_missing_as_are_there(self) -> None:
        assert stacked([0.0, 1.0, 2.0, 7.0], allow_gaps=True).missing == (3, 4, 5, 6)
        message = refusal([0.0, 1.0, 2.0, 8.0], allow_gaps=True)
        assert message.startswith("5 slices are missing and 4 are there: too many to interpolate")

    def test_where_most_are_missing_the_shortest_distance_counts_if_the_others_fit_it(self) -> None:
        assert stacked([0.0, 2.0, 6.0, 10.0, 14.0], allow_gaps=True).indices == (0, 1, 3, 5, 7)
        assert "lie 3.000 mm apart where 4.000 mm are usual" in refusal([0, 3, 7, 11, 15], allow_gaps=True)

    def test_the_shortest_distance_is_that_of_all_that_are_as_short(self) -> None:
        found = stacked([0.0, 1.95, 4.0, 8.0, 12.0, 16.0], allow_gaps=True)
        assert found.indices == (0, 1, 2, 4, 6, 8)

    def test_uneven_spacing_is_refused_with_the_pair(self) -> None:
        assert refusal([0.0, 2.5, 5.0, 8.5]) == (
            "the slices are not evenly spaced: 0002.dcm and 0003.dcm lie 3.500 mm apart where 2.500 mm are usual. "
            "Export the series again, evenly spaced."
        )


class TestTolerances:
    def test_a_tenth_of_a_millimetre_or_of_the_spacing_and_the_rounding(self) -> None:
        assert tolerance_mm(5.0) == pytest.approx(0.102)
        assert tolerance_mm(1.0) == pytest.approx(0.102)
        assert tolerance_mm(0.5) == pytest.approx(0.052)

    @pytest.mark.parametrize(("off_mm", "passes"), [(0.100, True), (0.104, False)])
    @pytest.mark.parametrize("keyword_axis", [0, 1, 2])
    def test_a_slice_beside_its_place(self, off_mm: float, passes: bool, keyword_axis: int) -> None:
        frames = frames_at([0.0, 2.5, 5.0, 7.5, 10.0])
        position = frames[3].plane.position.copy()
        position[keyword_axis] += off_mm
        frames[3] = replace(frames[3], plane=replace(frames[3].plane, position=position))
        if passes:
            assert stack(frames, allow_gaps=False).indices == (0, 1, 2, 3, 4)
        else:
            sentence = (
                f"0003.dcm lies {off_mm:.3f} mm from its place on the line from 0000.dcm to 0004.dcm; up to 0.102"
            )
            with pytest.raises(InputError, match=re.escape(sentence)):
                stack(frames, allow_gaps=False)

    @pytest.mark.parametrize(("distance", "passes"), [(2.70, True), (2.71, False)])
    def test_a_distance_has_two_ends_that_may_both_be_off(self, distance: float, passes: bool) -> None:
        half = (distance - 2.5) / 2
        steps = [0.0, 2.5 - half, 5.0 + half, 7.5, 10.0, 12.5]
        if passes:
            assert stacked(steps).indices == (0, 1, 2, 3, 4, 5)
        else:
            assert "0001.dcm and 0002.dcm lie 2.710 mm apart where 2.500" in refusal(steps)

    @pytest.mark.parametrize(("degrees", "passes"), [(44.6, True), (45.4, False)])
    def test_a_gantry_tilts_by_less_than_half_a_right_angle(self, degrees: float, passes: bool) -> None:
        towards = (0.0, float(np.tan(np.radians(degrees))), 1.0)
        if passes:
            assert len(stacked([0.0, 2.0, 4.0], towards).frames) == 3
        else:
            message = refusal([0.0, 2.0, 4.0], towards)
            assert message.startswith("the slices from 0000.dcm to 0002.dcm run away sideways at 45 degrees; a gantry")

    def test_two_at_one_place_are_a_hundredth_of_a_millimetre_apart(self) -> None:
        assert stacked([0.0, 0.011]).indices == (0, 1)
        assert refusal([0.0, 2.5, 2.509, 5.0]).startswith("0001.dcm and 0002.dcm lie at one position (0.0090 mm apart)")
        assert refusal([0.0, 0.004, 0.008]).startswith("all 3 images, 0000.dcm to 0002.dcm, lie at one position")

    @pytest.mark.parametrize(("spacing", "warns"), [(1.59, False), (1.61, True)])
    def test_thin_slices_far_apart_leave_tissue_unseen(self, spacing: float, warns: bool) -> None:
        found = stack(frames_at([0.0, spacing, 2 * spacing], SliceThickness="1"), allow_gaps=False)
        said = "slices of 1 mm thickness lie 1.61 mm apart: there is unseen tissue between them, or every other slice"
        assert len(found.warnings) == int(warns)
        assert all(warning.startswith(said) for warning in found.warnings)

    def test_how_far_is_far_grows_with_the_thickness(self) -> None:
        assert stack(frames_at([0.0, 3.1], SliceThickness="2"), allow_gaps=False).warnings == ()
        assert len(stack(frames_at([0.0, 3.3], SliceThickness="2"), allow_gaps=False).warnings) == 1

    def test_without_a_thickness_nothing_is_called_unseen(self) -> None:
        assert stack(frames_at([0.0, 9.0], SliceThickness=None), allow_gaps=False).warnings == ()


class TestAlike:
    @pytest.mark.parametrize("place", [0, 2, 3])
    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            ({"Rows": 4}, "odd.dcm has 2 x 4 pixels where 0000.dcm has 2 x 3"),
            ({"Columns": 5}, "odd.dcm has 5 x 3 pixels where 0000.dcm has 2 x 3"),
            (
                {"PixelSpacing": ["0.90025", "0.7"]},
                "odd.dcm has a pixel spacing of 0.90025 mm where 0000.dcm has 0.9 mm",
            ),
            ({"PixelSpacing": ["0.9", "0.8"]}, "odd.dcm has a pixel spacing of 0.8 mm where 0000.dcm has 0.7 mm"),
            ({"PixelSpacing": ["0.9", "0.6"]}, "odd.dcm has a pixel spacing of 0.6 mm where 0000.dcm has 0.7 mm"),
        ],
    )
    def test_the_odd_one_out_is_named_wherever_it_lies(
        self, place: int, said: dict[str, object], sentence: str
    ) -> None:
        frames = frames_at([0.0, 2.5, 5.0])
        frames.insert(place, frame("odd.dcm", **said))
        with pytest.raises(InputError, match=re.escape(sentence)):
            require_alike(frames)

    @pytest.mark.parametrize(("degrees", "passes"), [(0.02, True), (0.04, False), (3.0, False), (90.0, False)])
    @pytest.mark.parametrize("is_about_row", [True, False])
    def test_a_plane_may_turn_by_a_rounding_error(self, degrees: float, passes: bool, is_about_row: bool) -> None:
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turned = [1, 0, 0, 0, cosine, sine] if is_about_row else [cosine, 0, sine, 0, 1, 0]
        frames = [*frames_at([0.0, 2.5, 5.0]), frame("odd.dcm", ImageOrientationPatient=turned)]
        if passes:
            require_alike(frames)
        else:
            sentence = f"odd.dcm is turned against 0000.dcm (by {degrees:.2f} degrees between their planes)"
            with pytest.raises(InputError, match=re.escape(sentence)):
                require_alike(frames)

    def test_pixel_spacings_may_differ_by_rounding(self) -> None:
        require_alike([*frames_at([0.0, 2.5]), frame("odd.dcm", PixelSpacing=["0.9001", "0.7001"])])
        large = frames_at([0.0, 2.5], PixelSpacing=["10", "10"])
        require_alike([*large, frame("odd.dcm", PixelSpacing=["10.0019", "10"])])
