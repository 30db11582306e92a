"""The same object sent twice counts once; two objects under one UID are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_frames import frames_at
from dicom_oracle import Grid, made_series, save_all
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.exchange.dicom.contents import contents_of
from medseg.exchange.dicom.reading.duplicates import without_duplicates


def kept(slices: list[Dataset], folder: Path) -> tuple[list[str], list[str]]:
    """The names of the frames that stay, and what is said of the others."""
    (series,) = contents_of(save_all(slices, folder / "in")).series
    frames, warnings = without_duplicates([frame for image in series.images for frame in image.frames])
    return [frame.name for frame in frames], warnings


def twin(**said: object) -> list[Dataset]:
    """Two slices, and the first once more with something said instead."""
    one, other = made_series(Grid(count=2))
    (again,) = made_series(Grid(count=1))
    for keyword, value in said.items():
        setattr(again, keyword, value)
    return [one, other, again]


def test_a_copy_is_left_out_by_name(tmp_path: Path) -> None:
    names, warnings = kept(twin(), tmp_path)
    assert names == ["0000.dcm", "0001.dcm"]
    assert warnings == ["0002.dcm is a copy of 0000.dcm and was left out"]


def test_each_copy_of_a_copy_is_told_of(tmp_path: Path) -> None:
    slices = made_series(Grid(count=1)) + made_series(Grid(count=1)) + made_series(Grid(count=1))
    assert kept(slices, tmp_path) == (
        ["0000.dcm"],
        [f"000{n}.dcm is a copy of 0000.dcm and was left out" for n in (1, 2)],
    )


def test_a_copy_may_be_written_with_other_digits(tmp_path: Path) -> None:
    position = [float(value) for value in made_series(Grid(count=1))[0].ImagePositionPatient]
    names, warnings = kept(twin(ImagePositionPatient=[position[0] + 0.0009, *position[1:]]), tmp_path)
    assert (len(names), len(warnings)) == (2, 1)


@pytest.mark.parametrize(
    "said",
    [
        {"ImagePositionPatient": [-11.2989, 7.9, 21.7]},
        {"ImagePositionPatient": [-11.3, 7.9, 9.0]},
        {"RescaleSlope": "2"},
        {"RescaleSlope": "0.5"},
        {"RescaleIntercept": "-1000"},
        {"PixelData": b"\1" * 160},
        {"PixelData": b"\2" * 160},
        {"PixelData": b"\3" * 160},
    ],
    ids=["a little beside", "elsewhere", "steeper", "flatter", "intercept", "ones", "twos", "threes"],
)
def test_another_object_under_the_same_uid_is_refused(said: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^0000\.dcm and 0002\.dcm claim to be one object \(the same SOPInstanceUID\)"
    ):
        kept(twin(**said), tmp_path)


def test_objects_without_a_uid_are_all_different() -> None:
    frames = frames_at([0.0, 0.0, 2.5])
    assert without_duplicates(frames) == (frames, [])
