"""Which series and which phase of a folder is read, and what is said where that is not clear."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dicom_makers import each, mark, only, phases, put, series, two_series
from dicom_oracle import ROOT, Grid, made_series, save_all

from medseg.core.errors import InputError
from medseg.exchange.read import read_scan


def refusal(path: Path, series: str | None = None, phase: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path, series=series, phase=phase)
    return str(caught.value)


def many_series(count: int, folder: Path) -> Path:
    slices = []
    for number in range(count):
        (one,) = made_series(Grid(count=1))
        one.SeriesInstanceUID = f"{ROOT}7.{number}"
        one.SOPInstanceUID = f"{ROOT}8.{number}"
        one.SeriesNumber = number
        slices.append(one)
    return save_all(slices, folder)


def test_twenty_series_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    for count in (19, 20):
        assert " more" not in refusal(many_series(count, tmp_path / str(count)))
    message = refusal(many_series(22, tmp_path / "more"))
    assert "holds 22 series; choose one with --series: " in message
    assert message.count("CT series") == 20
    assert message.endswith("; and 2 more")


def test_a_name_that_several_series_have_chooses_none(tmp_path: Path) -> None:
    slices = made_series(Grid(count=2))
    slices[1].SeriesInstanceUID = ROOT + "9"
    message = refusal(save_all(slices, tmp_path / "in"), series="made")
    assert re.search(r"2 series in .* are called 'made'; there are: CT series 3 \"made\", 1 image \(", message)
    assert re.search("no series in .* is called '7'", refusal(two_series(tmp_path / "two"), series="7"))


def test_five_files_that_are_no_image_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("no image")
    five = refusal(tmp_path)
    for number in range(5, 7):
        (tmp_path / f"{number}.txt").write_text("no image")
    seven = refusal(tmp_path)
    assert five.count("it is not DICOM") == seven.count("it is not DICOM") == 5
    assert "more files" not in five
    assert seven.endswith("; and 2 more files")


def test_phases_are_listed_with_their_images(tmp_path: Path) -> None:
    path = phases(mark("EchoTime", ["2", "4"]))(tmp_path / "in")
    listed = "EchoTime=2 (6 images); EchoTime=4 (6 images)"
    assert refusal(path).endswith(f"it holds 2 phases; choose one with --phase: {listed}")
    assert refusal(path, phase="3").endswith(f"no phase is called '3'; there are: {listed}")
    assert refusal(series()(tmp_path / "one"), phase="3").endswith("no phase is called '3'; it has one phase only")


def test_what_a_scan_is_called_comes_from_its_headers(tmp_path: Path) -> None:
    path = phases(mark("EchoTime", ["2", "4"]))(tmp_path / "in")
    noun = read_scan(path, phase="4").series
    assert noun.description == "made [EchoTime=4]"
    assert (noun.modality, noun.study.patient_id, noun.study.patient_name) == ("CT", "MADE", "Made^Series")
    assert (noun.series_uid, noun.study.study_uid) == (ROOT + "2", ROOT + "1")
    assert len(noun.files) == 6
    assert read_scan(series()(tmp_path / "one")).series.description == "made"


@pytest.mark.parametrize("keyword", ["Laterality", "ImageLaterality"])
def test_the_side_is_said_by_either_element(keyword: str, tmp_path: Path) -> None:
    scan = read_scan(each(lambda one, k: setattr(one, keyword, "L"))(tmp_path / "in"))
    assert scan.series.laterality == "L"


@pytest.mark.parametrize(
    ("keyword", "value", "what"),
    [
        ("PatientID", "OTHER", "patients"),
        ("FrameOfReferenceUID", ROOT + "98", "frames of reference"),
        ("StudyInstanceUID", ROOT + "99", "studies"),
    ],
)
def test_images_of_two_are_named(keyword: str, value: str, what: str, tmp_path: Path) -> None:
    message = refusal(only(put(**{keyword: value}))(tmp_path / "in"))
    assert f"its images belong to 2 {what} (0000.dcm and 0002.dcm differ in {keyword})" in message


def test_what_one_image_does_not_say_is_no_difference(tmp_path: Path) -> None:
    assert read_scan(only(put(PatientID=""))(tmp_path / "in")).volume.array.shape == (8, 10, 6)
