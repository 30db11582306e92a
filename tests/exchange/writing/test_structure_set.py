"""write_structures: the voxels, volumes and references come back, and each lie in a file is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import made_series, save_all
from dicom_results import TASK, mask_on, result_on
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.writing.regions import regions_of_labels
from medseg.exchange.dicom.writing.source import Made, open_source
from medseg.exchange.dicom.writing.structure_set import require_same_structures, write_structures
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_scan


def test_names_volumes_codes_and_images_stand_in_it(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    write_structures(result.regions, tmp_path / "rs.dcm", result.made)
    written = pydicom.dcmread(tmp_path / "rs.dcm")
    names = [item.ROIName for item in written.StructureSetROISequence]
    assert names == ["kidney", "cyst 1", "tumour 1", "tumour 2", "tumour (not counted)"]
    volumes = [item.get("ROIVolume") for item in written.StructureSetROISequence]
    assert [None if volume is None else float(volume) for volume in volumes] == pytest.approx(
        [finding.value("volume") for finding in result.report.findings] + [None]
    )
    codes = [item.RTROIIdentificationCodeSequence[0].CodeValue for item in written.RTROIObservationsSequence]
    assert codes[:3] == ["64033007", "367643001", "108369006"]
    assert written.ApprovalStatus == "UNAPPROVED"
    kidney = written.ROIContourSequence[0].ContourSequence
    assert {contour.ContourGeometricType for contour in kidney} == {"CLOSED_PLANAR"}
    assert len(kidney) == 4  # one a slice: the holes are in it by their keyholes
    image = pydicom.dcmread(result.made.source_files[0])
    assert kidney[0].ContourImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert all(len(str(value)) <= 16 for contour in kidney for value in contour.ContourData)


def test_the_voxels_come_back_as_labels(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    write_structures(result.regions, tmp_path / "rs.dcm", result.made)
    back = read_labels(tmp_path / "rs.dcm", TASK.label_schema, result.volume.geometry)
    assert_array_equal(back.label_map.array, result.label_map.array)


def test_a_slice_that_was_filled_in_refers_to_no_image(tmp_path: Path) -> None:
    slices = made_series()
    del slices[2]
    scan = read_scan(save_all(slices, tmp_path / "image"), allow_gaps=True)
    mask = mask_on(scan.volume.geometry)
    result = result_on(tmp_path / "other")
    made = Made(result.made.model, scan.series.files, result.made.created)
    write_structures(regions_of_labels(mask), tmp_path / "rs.dcm", made)
    written = pydicom.dcmread(tmp_path / "rs.dcm")
    kidney = written.ROIContourSequence[0].ContourSequence
    assert ["ContourImageSequence" in contour for contour in kidney] == [True, True, False, True]


def test_an_empty_mask_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    result = result_on(tmp_path)
    empty = LabelMap(np.zeros_like(result.label_map.array), result.label_map.geometry, TASK.label_schema)
    with pytest.raises(InputError, match="nothing was found"):
        write_structures(regions_of_labels(empty), tmp_path / "rs.dcm", result.made)
    assert not (tmp_path / "rs.dcm").exists()


def _contours(dataset: Dataset, structure: int = 0) -> list[Dataset]:
    return list(dataset.ROIContourSequence[structure].ContourSequence)


def _flipped(dataset: Dataset) -> None:
    for structure in dataset.ROIContourSequence:
        for contour in structure.ContourSequence:
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) * (-1, 1, 1)
            contour.ContourData = [f"{value:.10g}" for value in points.ravel()]


def _lost(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence = _contours(dataset)[1:]


def _filled(dataset: Dataset) -> None:
    """The outline without its keyhole: the hole is filled."""
    contour = _contours(dataset)[0]
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    square = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    contour.ContourData = [f"{value:.10g}" for x, y in square for value in (x, y, low[2])]


def _renamed(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROIName = "tumour 9"


def _volume(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROIVolume = "1.5"


def _image(dataset: Dataset) -> None:
    first, second = _contours(dataset)[:2]
    first.ContourImageSequence[0].ReferencedSOPInstanceUID = second.ContourImageSequence[0].ReferencedSOPInstanceUID


def _no_image(dataset: Dataset) -> None:
    del _contours(dataset)[0].ContourImageSequence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_flipped, "hold other voxels"), (_lost, "hold other voxels"), (_filled, "hold other voxels"),
        (_renamed, "its structures are"), (_volume, "the volume of cyst 1"), (_image, "another image"),
        (_no_image, "another image"),
    ],
)  # fmt: skip
def test_a_structure_set_that_says_otherwise_is_not_delivered(
    tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    result = result_on(tmp_path)
    write_structures(result.regions, tmp_path / "rs.dcm", result.made)
    with lenient():
        images = open_source(result.made).slices(result.volume.geometry)
    require_same_structures(result.regions, images, tmp_path / "rs.dcm")
    dataset = pydicom.dcmread(tmp_path / "rs.dcm")
    change(dataset)
    dataset.save_as(tmp_path / "changed.dcm")
    with pytest.raises(InputError, match=reason):
        require_same_structures(result.regions, images, tmp_path / "changed.dcm")
