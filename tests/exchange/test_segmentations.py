"""DICOM segmentations and structure sets read as labels: made ones by hand, and real ones against their truths."""

from pathlib import Path

import numpy as np
import pytest
from dicom_oracle import ROOT, Grid, ds, made_series, save, save_all, turned
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema
from medseg.core.volume import Volume
from medseg.exchange.dicom.rtstruct import inside_polygon, read_structures
from medseg.exchange.dicom.seg import read_segmentation
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_label_map, read_scan
from medseg.exchange.write import write_label_map, write_volume

TISSUE = Code(value="85756007", scheme="SCT", meaning="Tissue")
LIVER = Code(value="10200004", scheme="SCT", meaning="Liver")
TUMOUR = Code(value="108369006", scheme="SCT", meaning="Neoplasm")
SCHEMA = LabelSchema(
    labels=(
        Label(index=1, name="liver", code=LIVER, category=TISSUE, colour=(200, 80, 60)),
        Label(index=4, name="tumour", code=TUMOUR, category=TISSUE, colour=(250, 220, 60), kind="lesion"),
    )
)
GRID = Grid(directions=turned(2))


def code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def masks() -> dict[int, np.ndarray]:
    """Two regions (slices, rows, columns) that do not touch; the second leaves slice 2 empty."""
    first = np.zeros((6, 10, 8), dtype=bool)
    first[1:5, 2:6, 1:4] = True
    second = np.zeros_like(first)
    second[[1, 3], 7, 5:] = True
    return {1: first, 2: second}


def made_segmentation(kind: str = "BINARY", grid: Grid = GRID) -> Dataset:
    """A segmentation of `masks`, frames only where something is, in shuffled order."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    if kind == "LABELMAP":
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = ROOT + "61", ROOT + "62", ROOT + "1"
    dataset.FrameOfReferenceUID = ROOT + "4"
    dataset.Modality = "SEG"
    dataset.SegmentationType = kind
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = grid.rows, grid.columns, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelRepresentation = 0
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.SegmentSequence = []
    for number, label in enumerate(SCHEMA.labels, start=1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, f"Segment {number}"
        segment.SegmentedPropertyTypeCodeSequence = [code_item(label.code)]
        segment.SegmentedPropertyCategoryCodeSequence = [code_item(label.category)]
        dataset.SegmentSequence.append(segment)
    shared = Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [ds(value) for axis in grid.directions for value in axis]
    measures.PixelSpacing = [ds(grid.row_spacing), ds(grid.column_spacing)]
    measures.SliceThickness = measures.SpacingBetweenSlices = ds(grid.step)
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups, planes = [], []
    if kind == "LABELMAP":
        labels = sum(mask.astype(np.uint8) * number for number, mask in masks().items())
        found = [(k, 0, np.asarray(labels)[k]) for k in (4, 1, 3, 2)]
    else:
        found = [(k, n, mask[k]) for n, mask in masks().items() for k in (4, 1, 3, 2) if mask[k].any()]
    for k, number, plane in found:
        group, position, identification = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [ds(value) for value in grid.position(k)]
        group.PlanePositionSequence = [position]
        if number:
            identification.ReferencedSegmentNumber = number
            group.SegmentIdentificationSequence = [identification]
        groups.append(group)
        planes.append(plane)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = len(groups)
    stacked = np.array(planes).astype(np.uint8)
    if kind == "FRACTIONAL":
        dataset.MaximumFractionalValue = 200
        dataset.SegmentationFractionalType = "PROBABILITY"
        stacked = stacked * 120 + 10
    data = np.packbits(stacked.ravel(), bitorder="little").tobytes() if bits == 1 else stacked.tobytes()
    dataset.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return dataset


def image_geometry(folder: Path, grid: Grid = GRID) -> Geometry:
    return read_scan(save_all(made_series(grid), folder / "image")).volume.geometry


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("tilt", [0.0, 0.6])
def test_a_made_segmentation_lands_on_its_image(tmp_path: Path, kind: str, tilt: float) -> None:
    grid = Grid(directions=turned(2), tilt=tilt)
    path = save(made_segmentation(kind, grid), tmp_path / "seg.dcm")
    labels = read_labels(path, SCHEMA, image_geometry(tmp_path, grid))
    expected = masks()[1] * 1 + masks()[2] * 4
    array = labels.label_map.array
    if array[0, 0, 0] == 0 and not np.array_equal(array, expected.T):
        array = array[:, :, ::-1]  # a left-handed grid is read from its other end
    assert_array_equal(array, expected.T)


def test_a_segmentation_alone_is_a_mask_on_its_own_smaller_grid(tmp_path: Path) -> None:
    mask = read_label_map(save(made_segmentation(), tmp_path / "seg.dcm"), SCHEMA)
    assert mask.array.shape == (8, 10, 4)
    assert int(mask.mask(1).sum()) == int(masks()[1].sum())
    assert int(mask.mask(4).sum()) == int(masks()[2].sum())


def _overlap(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence[-2:]:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 2
    data = np.ones(dataset.NumberOfFrames * 80, np.uint8)
    dataset.PixelData = np.packbits(data, bitorder="little").tobytes()


def _unnamed(dataset: Dataset) -> None:
    dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code_item(TISSUE)]


def _unknown_segment(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _shifted_frame(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient = [ds(float(value) + 0.7) for value in position.ImagePositionPatient]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_overlap, "overlap in"),
        (_unnamed, "matches no label"),
        (_unknown_segment, "does not describe"),
        (_shifted_frame, r"not evenly spaced|mm from its place"),
        (lambda one: setattr(one, "PixelData", one.PixelData[:-6]), "damaged or truncated"),
        (lambda one: setattr(one, "SegmentationType", "OTHER"), "unknown type"),
        (lambda one: setattr(one, "SegmentSequence", []), "describes no segment"),
        (lambda one: delattr(one.SegmentSequence[0], "SegmentNumber"), "a segment without a number"),
        (
            lambda one: delattr(one.PerFrameFunctionalGroupsSequence[0], "SegmentIdentificationSequence"),
            r"frame 1 does not say its segment",
        ),
        (lambda one: setattr(one.SegmentSequence[0], "SegmentedPropertyTypeCodeSequence", []), "matches no label"),
    ],
)
def test_a_segmentation_that_cannot_be_used_is_refused(tmp_path: Path, change, reason: str) -> None:  # type: ignore[no-untyped-def]
    dataset = made_segmentation()
    change(dataset)
    with pytest.raises(InputError, match=reason):
        read_label_map(save(dataset, tmp_path / "seg.dcm"), SCHEMA)


def test_numbers_that_the_task_does_not_name_are_no_mask_of_it(tmp_path: Path) -> None:
    geometry = Geometry.from_spacing((2, 3, 4), (1.0, 1.0, 1.0))
    write_volume(Volume(np.full((2, 3, 4), 9, np.uint8), geometry), tmp_path / "mask.nii")
    with pytest.raises(InputError, match=r"mask\.nii is not a mask of this task: the mask holds label 9"):
        read_labels(tmp_path / "mask.nii", SCHEMA, geometry)


def test_a_segmentation_of_another_position_of_the_patient_is_refused(tmp_path: Path) -> None:
    dataset = made_segmentation()
    dataset.FrameOfReferenceUID = ROOT + "44"
    with pytest.raises(InputError, match="different positions of the patient"):
        read_labels(save(dataset, tmp_path / "seg.dcm"), SCHEMA, image_geometry(tmp_path))


def test_a_mask_on_another_grid_is_brought_onto_the_image_with_a_warning(tmp_path: Path) -> None:
    coarse = Geometry.from_spacing((2, 2, 2), (4, 4, 4), (1.5, 1.5, 1.5))
    fine = Geometry.from_spacing((8, 8, 8), (1, 1, 1))
    array = np.zeros((2, 2, 2), np.uint8)
    array[1, 0, 0] = 4
    write_label_map(LabelMap(array, coarse, SCHEMA), tmp_path / "mask.nii.gz")
    labels = read_labels(tmp_path / "mask.nii.gz", SCHEMA, fine)
    expected = np.zeros((8, 8, 8), np.uint8)
    expected[4:, :4, :4] = 4
    assert_array_equal(labels.label_map.array, expected)
    assert "another grid" in labels.warnings[0]


def structure_set(contours: list[np.ndarray], name: str = "Tumour", kind: str = "CLOSED_PLANAR") -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = ROOT + "71", ROOT + "72"
    dataset.Modality = "RTSTRUCT"
    roi, drawn = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = 1, name
    drawn.ReferencedROINumber = 1
    drawn.ContourSequence = []
    for points in contours:
        contour = Dataset()
        contour.ContourGeometricType = kind
        contour.NumberOfContourPoints = len(points)
        contour.ContourData = [ds(value) for value in points.ravel()]
        drawn.ContourSequence.append(contour)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [drawn]
    dataset.FrameOfReferenceUID = ROOT + "4"
    return dataset


def contour_of(grid: Grid, k: float, corners: list[tuple[float, float]]) -> np.ndarray:
    """A closed contour in LPS+ mm of corners (i, j) in slice k."""
    row, column = np.array(grid.directions[0]), np.array(grid.directions[1])
    return np.array(
        [grid.position(k) + i * grid.column_spacing * row + j * grid.row_spacing * column for i, j in corners]
    )


SQUARE = [(0.5, 1.5), (4.5, 1.5), (4.5, 5.5), (0.5, 5.5)]
HOLE = [(1.5, 2.5), (3.5, 2.5), (3.5, 4.5), (1.5, 4.5)]


def test_contours_are_filled_by_even_and_odd(tmp_path: Path) -> None:
    grid = Grid()
    contours = [contour_of(grid, k, corners) for k in (1, 2) for corners in (SQUARE, HOLE)]
    path = save(structure_set(contours), tmp_path / "rs.dcm")
    labels = read_labels(path, SCHEMA, image_geometry(tmp_path, grid))
    expected = np.zeros((8, 10, 6), np.uint8)
    expected[1:5, 2:6, 1:3] = 4
    expected[2:4, 3:5, 1:3] = 0
    assert_array_equal(labels.label_map.array, expected)


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (structure_set([contour_of(Grid(), 1.4, SQUARE)]), "between the slices"),
        (structure_set([contour_of(Grid(directions=turned(8)), 1, SQUARE)]), "between the slices"),
        (structure_set([contour_of(Grid(), 1, SQUARE)], kind="OPEN_PLANAR"), "no closed contour"),
        (structure_set([contour_of(Grid(), 1, SQUARE)], name="Bladder"), "SINGLE"),
    ],
)
def test_structures_that_do_not_fit_are_refused(tmp_path: Path, dataset: Dataset, reason: str) -> None:
    image = image_geometry(tmp_path, Grid())
    if reason == "SINGLE":
        reason = "matches no label"
    with pytest.raises(InputError, match=reason):
        read_labels(save(dataset, tmp_path / "rs.dcm"), SCHEMA, image)


def test_an_image_is_neither_a_segmentation_nor_a_structure_set(tmp_path: Path) -> None:
    path = save(made_series()[0], tmp_path / "image.dcm")
    with pytest.raises(InputError, match=r"image\.dcm is no DICOM segmentation: it is an image"):
        read_segmentation(path)
    with pytest.raises(InputError, match=r"image\.dcm is no RT structure set: it is an image"):
        read_structures(path)


def test_one_of_several_segmentations_is_to_be_named(tmp_path: Path) -> None:
    image = image_geometry(tmp_path, Grid())
    save(structure_set([contour_of(Grid(), 1, SQUARE)]), tmp_path / "both" / "rs.dcm")
    save(made_segmentation(), tmp_path / "both" / "seg.dcm")
    with pytest.raises(InputError, match=r"holds several segmentations \(seg\.dcm, rs\.dcm\)\. Give the one"):
        read_labels(tmp_path / "both", SCHEMA, image)


def test_fractions_of_nothing_are_refused(tmp_path: Path) -> None:
    dataset = made_segmentation("FRACTIONAL")
    del dataset.MaximumFractionalValue
    with pytest.raises(InputError, match="does not say what fraction is whole"):
        read_segmentation(save(dataset, tmp_path / "seg.dcm"))


def test_names_may_be_said_by_the_user(tmp_path: Path) -> None:
    path = save(structure_set([contour_of(Grid(), 1, SQUARE)], name="GTV 1"), tmp_path / "rs.dcm")
    labels = read_labels(path, SCHEMA, image_geometry(tmp_path, Grid()), names={"GTV 1": "tumour"})
    assert int(labels.label_map.mask(4).sum()) == 16


def test_structures_of_another_position_of_the_patient_are_refused(tmp_path: Path) -> None:
    dataset = structure_set([contour_of(Grid(), 1, SQUARE)])
    dataset.FrameOfReferenceUID = ROOT + "45"
    with pytest.raises(InputError, match="different positions"):
        read_labels(save(dataset, tmp_path / "rs.dcm"), SCHEMA, image_geometry(tmp_path, Grid()))


@pytest.mark.parametrize(
    ("points", "count"),
    [
        ([(0.5, 0.5), (3.5, 0.5), (3.5, 2.5), (0.5, 2.5)], 6),  # pixels 1..3 by 1..2
        ([(1, 1), (3, 1), (3, 3), (1, 3)], 4),  # corners on centres: left and upper edges count, the others do not
        ([(-5, -5), (20, -5), (20, 20), (-5, 20)], 30),  # larger than the image
        ([(0, 0), (4, 0), (0, 4)], 10),  # a triangle: 4 + 3 + 2 + 1
        ([(50, 50), (60, 50), (60, 60)], 0),
    ],
)
def test_a_pixel_is_inside_where_its_centre_is(points: list[tuple[float, float]], count: int) -> None:
    assert int(inside_polygon(np.array(points, dtype=float), rows=5, columns=6).sum()) == count


@pytest.mark.real_data
@pytest.mark.parametrize("subject", ["STS_002", "STS_008"])
@pytest.mark.parametrize("kind", ["PET", "MR_T1"])
def test_the_sarcoma_contours_are_the_sarcoma_mask(real_data: Path, subject: str, kind: str) -> None:
    folder = real_data / "ibsi_sts_sarcoma"
    schema = LabelSchema(labels=(SCHEMA.labels[1].model_copy(update={"index": 1}),))
    image = read_scan(folder / "dicom" / subject / kind / "image")
    drawn = read_labels(folder / "dicom" / subject / kind / "mask", schema, image.volume.geometry)
    truth = read_label_map(folder / "nifti" / subject / f"{kind}_mask.nii.gz", schema).reoriented("RAS").mask(1)
    mine = drawn.label_map.reoriented("RAS").mask(1)
    assert drawn.warnings == ()
    assert 2 * (mine & truth).sum() / (mine.sum() + truth.sum()) >= 0.999


@pytest.mark.real_data
def test_real_segmentations_are_their_truths(real_data: Path) -> None:
    folder = real_data / "dicom_samples" / "dcmqi_seg"
    for name, numbers, truths in (
        ("liver", (1,), ("liver_seg",)),
        ("sparse-labelmap-noppv", (1,), ("sparse_labelmap_noppv_seg",)),
        ("sparse-labelmap-ppv5", (1,), ("sparse_labelmap_ppv5_seg",)),
        ("partial_overlaps", (1, 4, 5), ("partial_overlaps-1",)),
        ("partial_overlaps", (2,), ("partial_overlaps-2",)),
        ("partial_overlaps", (3,), ("partial_overlaps-3",)),
    ):
        found = read_segmentation(folder / f"{name}.dcm")
        truth = read_scan(folder / f"{truths[0]}.nrrd").volume
        assert found.geometry.difference(truth.geometry) is None, name
        for number in numbers:
            assert_array_equal(found.mask(number), truth.array == number, err_msg=f"{name} {number}")
