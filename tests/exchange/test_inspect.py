"""inspect and choose_series on made folders."""

import json
from pathlib import Path

import pytest
from dicom_makers import phases, series_and_report, two_series, without
from dicom_oracle import CORONAL, ROOT, Grid, made_series, save_all
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.exchange.dicom.choose import Wish, choose_series
from medseg.exchange.dicom.scan import inspect


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    two_series(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    found = inspect(tmp_path)
    assert [(one.description, one.image_count, one.volumes[0].outcome) for one in found.series] == [
        ("thin", 6, "read"),
        ("thick", 4, "read"),
    ]
    volume = found.series[0].volumes[0]
    assert (volume.shape, volume.orientation, volume.axis_codes) == ((8, 10, 6), "axial", "LPS")
    assert volume.spacing_mm == pytest.approx((0.7, 0.9, 2.5))
    assert [(other.path.name, other.what) for other in found.others] == [("notes.txt", "it is not DICOM")]


def test_what_would_be_refused_says_why(tmp_path: Path) -> None:
    without(3)(tmp_path)
    volume = inspect(tmp_path).series[0].volumes[0]
    assert volume.outcome == "refused"
    assert "1 slice is missing" in volume.reason


def test_phases_are_listed_one_by_one(tmp_path: Path) -> None:
    phases(lambda one, phase, k: setattr(one, "EchoTime", str(2 + phase)))(tmp_path)
    assert [(v.phase, v.outcome) for v in inspect(tmp_path).series[0].volumes] == [
        ("EchoTime=2", "choose a phase"),
        ("EchoTime=3", "choose a phase"),
    ]


def test_damage_in_the_pixels_is_found_when_asked_for(tmp_path: Path) -> None:
    slices = made_series()
    slices[2].PixelData = slices[2].PixelData[:-10]
    save_all(slices, tmp_path)
    assert inspect(tmp_path).series[0].volumes[0].outcome == "read"
    assert "shorter" in inspect(tmp_path, with_pixels=True).series[0].volumes[0].reason


def test_the_table_and_the_json_say_the_same(tmp_path: Path) -> None:
    series_and_report(tmp_path)
    found = inspect(tmp_path)
    assert found.table()[1] == ("", "3", "CT", "made", "6", "8 x 10 x 6 at 0.7 x 0.9 x 2.5 mm, axial", "read")
    assert found.table()[2][-1] == "it is a structured report"
    assert json.loads(found.model_dump_json())["series"][0]["volumes"][0]["shape"] == [8, 10, 6]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "none")


def study(folder: Path) -> Path:
    """Native, arterial and portal CT, a sharp reformat, coronal slices, thick slices, and an MR."""
    everything: list[Dataset] = []
    for number, (description, grid, changes) in enumerate(
        [
            ("Abdomen native", Grid(), {"ConvolutionKernel": "B30f"}),
            ("Abdomen arterial", Grid(), {"ConvolutionKernel": "B30f", "ContrastBolusAgent": "Iomeprol"}),
            ("Abdomen portal venous", Grid(), {"ConvolutionKernel": "B30f", "ContrastBolusAgent": "Iomeprol"}),
            ("Abdomen portal venous", Grid(), {"ConvolutionKernel": "B70f", "ContrastBolusAgent": "Iomeprol"}),
            ("Abdomen portal venous", Grid(directions=CORONAL), {"ConvolutionKernel": "B30f"}),
            ("Abdomen portal venous", Grid(step=5.0), {"ConvolutionKernel": "B30f"}),
            ("Abdomen portal venous", Grid(step=12.0), {}),
            ("T1 venous", Grid(), {"Modality": "MR"}),
            ("Abdomen portal venous", Grid(), {"BodyPartExamined": "HEAD"}),
        ]
    ):
        for one in made_series(grid):
            one.SeriesInstanceUID, one.SeriesNumber = f"{ROOT}5.{number}", number
            one.SeriesDescription, one.SOPInstanceUID = description, f"{one.SOPInstanceUID}.{number}"
            one.BodyPartExamined = "ABDOMEN"
            for keyword, value in changes.items():
                setattr(one, keyword, value)
            everything.append(one)
    return save_all(everything, folder)


PORTAL = Wish("CT", ("abdomen", "liver"), "axial", 8.0, "soft", "venous")


def test_the_right_series_is_chosen_and_explained(tmp_path: Path) -> None:
    inspection = inspect(study(tmp_path))
    choice = choose_series(inspection, PORTAL)
    assert choice.best.series.number == "2"
    told = "\n".join(choice.explanation)
    assert told.startswith('chosen: CT series 2 "Abdomen portal venous"')
    assert "above 8 mm" in told
    assert "its modality is MR, not CT" in told
    assert "sharp kernel B70f" in told
    assert "contrast phase arterial" in told
    assert len(choice.explanation) == 9


@pytest.mark.parametrize(
    ("wish", "number"),
    [
        (Wish("CT", ("abdomen",), "axial", 8.0, "soft", "none"), "0"),
        (Wish("CT", ("abdomen",), "axial", 8.0, "soft", "arterial"), "1"),
        (Wish("CT", ("abdomen",), "axial", 8.0, "sharp", "venous"), "3"),
        (Wish("CT", ("abdomen",), "coronal", 8.0, "soft", "venous"), "4"),
        (Wish("MR"), "7"),
        (Wish("CT", ("head",), "axial"), "8"),
    ],
)
def test_other_wishes_choose_other_series(tmp_path: Path, wish: Wish, number: str) -> None:
    assert choose_series(inspect(study(tmp_path)), wish).best.series.number == number


def test_nothing_suitable_and_a_tie_are_refused(tmp_path: Path) -> None:
    inspection = inspect(study(tmp_path))
    with pytest.raises(InputError, match=r"no series .* suits"):
        choose_series(inspection, Wish("PT"))
    with pytest.raises(InputError, match="suit equally well"):
        choose_series(inspection, Wish("CT", ("abdomen",), "axial", 4.0))
