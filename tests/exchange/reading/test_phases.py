"""Which images of a series are no slices, and into which phases the others fall."""

from __future__ import annotations

import pytest
from dicom_frames import frame, frames_at, image

from medseg.core.errors import InputError
from medseg.exchange.dicom.reading.image_file import Frame
from medseg.exchange.dicom.reading.phases import Phase, phases, reason_to_set_aside, set_aside


def marked(*values: dict[str, str], places: int = 2) -> list[Frame]:
    """Frames at each of the places for each of the values, all of one value first."""
    return [
        frame(f"{number}{place}.dcm", ImagePositionPatient=[0, 0, 2.5 * place], **said)
        for number, said in enumerate(values)
        for place in range(places)
    ]


def names(found: list[Phase]) -> list[tuple[str, list[str]]]:
    return [(phase.name, [one.name for one in phase.frames]) for phase in found]


class TestPhases:
    def test_one_volume_has_no_name(self) -> None:
        frames = frames_at([0.0, 2.5, 5.0])
        assert phases(frames) == [Phase("", tuple(frames))]

    def test_are_told_apart_by_one_value_and_sorted_by_size(self) -> None:
        found = phases(marked({"EchoTime": "10"}, {"EchoTime": "2.46"}))
        assert names(found) == [("EchoTime=2.46", ["10.dcm", "11.dcm"]), ("EchoTime=10", ["00.dcm", "01.dcm"])]

    def test_words_are_sorted_by_their_letters_after_numbers(self) -> None:
        found = phases(
            marked({"ConvolutionKernel": "soft"}, {"ConvolutionKernel": "30"}, {"ConvolutionKernel": "bone"})
        )
        assert [phase.name.partition("=")[2] for phase in found] == ["30", "bone", "soft"]

    def test_the_most_telling_value_comes_first(self) -> None:
        found = phases(marked({"EchoTime": "2", "KVP": "80"}, {"EchoTime": "4", "KVP": "120"}))
        assert [phase.name for phase in found] == ["EchoTime=2", "EchoTime=4"]

    def test_two_values_where_one_is_not_enough(self) -> None:
        said = [{"EchoTime": echo, "KVP": kvp} for echo in ("2", "4") for kvp in ("80", "120")]
        assert [phase.name for phase in phases(marked(*said))] == [
            "EchoTime=2, KVP=80",
            "EchoTime=2, KVP=120",
            "EchoTime=4, KVP=80",
            "EchoTime=4, KVP=120",
        ]

    def test_three_values_where_two_are_not_enough(self) -> None:
        said = [
            {"EchoTime": echo, "KVP": kvp, "FlipAngle": angle}
            for echo in ("2", "4")
            for kvp in ("80", "120")
            for angle in ("5", "9")
        ]
        found = phases(marked(*said))
        assert len(found) == 8
        assert found[0].name == "EchoTime=2, KVP=80, FlipAngle=5"
        assert all(len(phase.frames) == 2 for phase in found)

    def test_a_value_of_each_image_alone_tells_no_phases(self) -> None:
        frames = marked({"KVP": "80"}, {"KVP": "120"})
        for number, one in enumerate(frames):
            one.phase_values["AcquisitionNumber"] = str(number)  # looked at before KVP, and another in each image
        assert [phase.name for phase in phases(frames)] == ["KVP=80", "KVP=120"]

    def test_a_value_that_some_images_lack_is_empty_there(self) -> None:
        found = phases(marked({}, {"ContrastBolusAgent": "iodine"}))
        assert [phase.name for phase in found] == ["ContrastBolusAgent=", "ContrastBolusAgent=iodine"]

    def test_more_images_than_phases_at_some_places_only(self) -> None:
        frames = [*marked({"EchoTime": "2"}, {"EchoTime": "4"}, {"EchoTime": "6"}), frame("far.dcm", EchoTime="2")]
        assert [len(phase.frames) for phase in phases(frames)] == [3, 2, 2]

    def test_what_nothing_tells_apart_is_refused_with_the_twins(self) -> None:
        frames = frames_at([0.0, 5.0, 2.5, 2.505])
        with pytest.raises(InputError, match=r"^0002\.dcm and 0003\.dcm lie at one position and nothing in their"):
            phases(frames)
        with pytest.raises(InputError, match=r"^all 3 images, such as 0000\.dcm and 0002\.dcm, lie at one position"):
            phases(frames_at([0.0, 0.001, 0.002]))

    def test_other_planes_are_no_phases(self) -> None:
        tall = frame("tall.dcm", Rows=9)
        with pytest.raises(InputError, match=r"tall\.dcm has 2 x 9 pixels"):
            phases([*frames_at([0.0, 2.5]), tall])


class TestNames:
    @pytest.mark.parametrize("wanted", ["EchoTime=2.46", "2.46", "2.460"])
    def test_a_phase_is_called_by_its_name_or_its_value(self, wanted: str) -> None:
        assert Phase("EchoTime=2.46", ()).is_called(wanted)

    @pytest.mark.parametrize("wanted", ["2.4", "EchoTime", "", "KVP=2.46", "soft"])
    def test_and_by_nothing_else(self, wanted: str) -> None:
        assert not Phase("EchoTime=2.46", ()).is_called(wanted)

    def test_of_two_values_both_are_given(self) -> None:
        phase = Phase("EchoTime=2, KVP=80", ())
        assert phase.is_called("2, 80")
        assert not phase.is_called("2")


class TestSetAside:
    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ({"SamplesPerPixel": 3}, "a colour image"),
            ({"SamplesPerPixel": 1}, ""),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture"),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "a secondary capture"),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, ""),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "of the type LOCALIZER"),
            ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "MIP"]}, "of the type MIP"),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, ""),
            ({"ImageType": ["ORIGINAL", "PRIMARY"]}, ""),
            ({"ImageType": ["ORIGINAL", "MIP", "AXIAL"]}, ""),  # the first two values say other things
        ],
    )
    def test_the_reason(self, said: dict[str, object], reason: str) -> None:
        assert reason_to_set_aside(image("one.dcm", **said)) == reason

    def test_what_is_no_slice_is_left_out_with_its_reason(self) -> None:
        slices = [image(name) for name in ("a.dcm", "b.dcm")]
        scout = image("scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        kept, said = set_aside([slices[0], scout, slices[1]])
        assert kept == slices
        assert said == ["scout.dcm was left out: it is of the type LOCALIZER"]

    def test_where_nothing_else_is_there_all_stay(self) -> None:
        scouts = [image(name, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) for name in ("a.dcm", "b.dcm")]
        assert set_aside(scouts) == (scouts, [])
