"""Parametric map, encapsulated PDF and key images: each lie in a file is seen when it is read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_results import Result, result_on
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.writing.parametric_map import (
    ENTROPY,
    PROBABILITY,
    require_same_map,
    write_parametric_map,
)
from medseg.exchange.dicom.writing.pictures import (
    require_same_document,
    require_same_pictures,
    write_pdf_document,
    write_pictures,
)
from medseg.exchange.reports.key_images import MOST_PICTURES, SIDE_PIXELS, key_images

PDF = b"%PDF-1.4 made\n%%EOF"
PICTURES = np.random.default_rng(0).integers(0, 255, size=(2, 5, 7, 3)).astype(np.uint8)
WORDS = ("cyst 1: volume 1.5 ml", "tumour 1: volume 2 ml")


def probability(result: Result) -> Volume:
    array = np.random.default_rng(0).random(result.volume.array.shape).astype(np.float32)
    return Volume(array, result.volume.geometry)


def changed(path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path.with_name("changed.dcm"))
    return path.with_name("changed.dcm")


def _one_value(dataset: Dataset) -> None:
    values = np.frombuffer(dataset.FloatPixelData, "<f4").copy()
    values[17] += 1e-3
    dataset.FloatPixelData = values.tobytes()


def _one_frame_elsewhere(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    x, y, z = position.ImagePositionPatient
    position.ImagePositionPatient = [float(x) + 0.5, y, z]


def _frames_swapped(dataset: Dataset) -> None:
    first, second, *others = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [second, first, *others]


def _spacing(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.1, 0.7]


def _mirrored(dataset: Dataset) -> None:
    orientation = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [-float(value) for value in orientation.ImageOrientationPatient]


def _mapping(dataset: Dataset) -> Dataset:
    group = dataset.SharedFunctionalGroupsSequence[0]
    if "RealWorldValueMappingSequence" not in group:
        group = dataset.PerFrameFunctionalGroupsSequence[0]
    item: Dataset = group.RealWorldValueMappingSequence[0]
    return item


def _slope(dataset: Dataset) -> None:
    _mapping(dataset).RealWorldValueSlope = 100.0


def _unit(dataset: Dataset) -> None:
    _mapping(dataset).MeasurementUnitsCodeSequence[0].CodeValue = "%"


def _rows(dataset: Dataset) -> None:
    dataset.Rows -= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_one_value, "in 1 voxels"), (_one_frame_elsewhere, "off the grid"), (_frames_swapped, "differs from the map"),
        (_spacing, "off the grid"), (_mirrored, "off the grid"), (_slope, "said to be 100"), (_unit, "in '%'"),
        (_rows, "frames of 8 x 9"),
    ],
)  # fmt: skip
def test_a_map_that_says_otherwise_is_not_delivered(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    result = result_on(tmp_path)
    values = probability(result)
    write_parametric_map(values, PROBABILITY, tmp_path / "map.dcm", result.made)
    require_same_map(values, PROBABILITY, tmp_path / "map.dcm")
    with lenient(), pytest.raises(InputError, match=reason):
        require_same_map(values, PROBABILITY, changed(tmp_path / "map.dcm", change))


def test_a_map_says_what_its_numbers_are(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    write_parametric_map(probability(result), ENTROPY, tmp_path / "map.dcm", result.made)
    item = _mapping(pydicom.dcmread(tmp_path / "map.dcm"))
    assert (item.LUTLabel, item.MeasurementUnitsCodeSequence[0].CodeValue) == ("Uncertainty", "bit")
    with pytest.raises(InputError, match=r"from 0 to 1; got .* to 2"):
        write_parametric_map(
            Volume(np.full(result.volume.array.shape, 2.0), result.volume.geometry),
            PROBABILITY, tmp_path / "no.dcm", result.made,
        )  # fmt: skip
    assert not (tmp_path / "no.dcm").exists()


def _not_burned(dataset: Dataset) -> None:
    dataset.BurnedInAnnotation = "NO"


def _shorter(dataset: Dataset) -> None:
    dataset.EncapsulatedDocumentLength -= 1


def _other_page(dataset: Dataset) -> None:
    dataset.EncapsulatedDocument = dataset.EncapsulatedDocument.replace(b"made", b"mode")


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_not_burned, "burned in"), (_shorter, "not the report"), (_other_page, "not the report")],
)
def test_a_document_that_is_another_is_not_delivered(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    result = result_on(tmp_path)
    write_pdf_document(PDF, "A report", tmp_path / "page.dcm", result.made)
    require_same_document(PDF, tmp_path / "page.dcm")
    with pytest.raises(InputError, match=reason):
        require_same_document(PDF, changed(tmp_path / "page.dcm", change))


def test_what_is_no_pdf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no PDF"):
        write_pdf_document(b"MZ", "A report", tmp_path / "page.dcm", result_on(tmp_path).made)


def _one_pixel(dataset: Dataset) -> None:
    dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]


def _one_frame_less(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 1


def _other_words(dataset: Dataset) -> None:
    dataset.ImageComments = dataset.ImageComments.replace("1.5", "1.6")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_not_burned, "burned in"), (_one_pixel, "not the key images"), (_one_frame_less, "not the key images"),
        (_other_words, "does not say the findings"),
    ],
)  # fmt: skip
def test_pictures_that_are_others_are_not_delivered(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    result = result_on(tmp_path)
    write_pictures(PICTURES, WORDS, tmp_path / "pictures.dcm", result.made)
    require_same_pictures(PICTURES, "\n".join(WORDS), tmp_path / "pictures.dcm")
    with pytest.raises(InputError, match=reason):
        require_same_pictures(PICTURES, "\n".join(WORDS), changed(tmp_path / "pictures.dcm", change))


def test_each_of_the_first_findings_has_a_picture_with_its_colour(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    pictures = key_images(result.report, result.volume, result.label_map)
    assert pictures.shape == (4, SIDE_PIXELS, SIDE_PIXELS, 3)
    for label in result.label_map.schema.labels:  # the cyst comes first: its slice shows all three
        assert (pictures[0] == label.colour).all(axis=-1).any(), label.name
    many = result.report.model_copy(update={"findings": result.report.findings[1:2] * 30})
    assert len(key_images(many, result.volume, result.label_map)) == MOST_PICTURES
