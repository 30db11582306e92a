"""write_segmentation: every orientation, read back by our own reader and by highdicom, validated, deterministic."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import CORONAL, PRONE, SAGITTAL, Grid, enhanced, made_series, save, save_all, turned
from numpy.testing import assert_array_equal

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code, Label, LabelSchema
from medseg.core.report import ModelIdentity
from medseg.exchange.dicom.writing.regions import regions_of_labels
from medseg.exchange.dicom.writing.segmentation import SegmentationKind, require_same_regions, write_segmentation
from medseg.exchange.dicom.writing.source import Made
from medseg.exchange.labels import read_labels
from medseg.exchange.read import read_scan

VALIDATOR = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))
ANATOMY = Code(value="123037004", scheme="SCT", meaning="Anatomical Structure")
LESION = Code(value="49755003", scheme="SCT", meaning="Morphologically Altered Structure")
SCHEMA = LabelSchema(
    labels=(
        Label(index=1, name="liver", code=Code(value="10200004", scheme="SCT", meaning="Liver"), category=ANATOMY,
              colour=(200, 80, 60)),
        Label(index=7, name="cyst", code=Code(value="367643001", scheme="SCT", meaning="Cyst"), category=LESION,
              colour=(20, 80, 160), kind="lesion"),
        Label(index=300, name="tumour", code=Code(value="108369006", scheme="SCT", meaning="Neoplasm"),
              category=LESION, colour=(250, 220, 60), kind="lesion"),
    )
)  # fmt: skip
MODEL = ModelIdentity(name="liver lesions", sha256="ab" * 32, medseg_version="0.1.0")
CREATED = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
GRIDS = {
    "axial": Grid(),
    "prone": Grid(directions=PRONE),
    "coronal": Grid(directions=CORONAL),
    "sagittal": Grid(directions=SAGITTAL),
    "oblique 1": Grid(directions=turned(1)),
    "oblique 2": Grid(directions=turned(2)),
    "oblique 5": Grid(directions=turned(5)),
    "tilted": Grid(tilt=0.8),
    "tilted backward, oblique": Grid(tilt=-0.6, directions=turned(7)),
    "one slice": Grid(count=1),
    "thick": Grid(step=7.5, row_spacing=0.5, column_spacing=1.2),
    "far away": Grid(origin=(-412.123, 298.7, 603.9)),
}


def source(folder: Path, grid: Grid) -> tuple[Geometry, Made]:
    slices = made_series(grid)
    for one in slices:
        one.StudyDate = one.SeriesDate = "20260301"
        one.StudyTime = "120000"
        one.PatientBirthDate = one.PatientSex = one.AccessionNumber = one.ReferringPhysicianName = one.StudyID = ""
        one.Manufacturer = "made"
        one.PositionReferenceIndicator = ""
    scan = read_scan(save_all(slices, folder / "image"))
    return scan.volume.geometry, Made(MODEL, scan.series.files, CREATED)


def mask_on(geometry: Geometry, seed: int = 0) -> LabelMap:
    array = np.random.default_rng(seed).choice([0, 0, 1, 7, 300], size=geometry.shape).astype(np.uint16)
    if geometry.shape[2] > 3:
        array[:, :, 2] = 0  # an empty slice, which the object leaves out
    return LabelMap(array, geometry, SCHEMA)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_mask_of_any_orientation_comes_back(tmp_path: Path, name: str, kind: SegmentationKind) -> None:
    geometry, made = source(tmp_path, GRIDS[name])
    mask = mask_on(geometry)
    write_segmentation(mask, tmp_path / "seg.dcm", made, kind)
    back = read_labels(tmp_path / "seg.dcm", SCHEMA, geometry)
    assert_array_equal(back.label_map.array, mask.array)
    if VALIDATOR is not None:
        said = subprocess.run([VALIDATOR, str(tmp_path / "seg.dcm")], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr, said.stderr


def test_who_what_and_how_stand_in_the_object(tmp_path: Path) -> None:
    geometry, made = source(tmp_path, Grid())
    write_segmentation(mask_on(geometry), tmp_path / "seg.dcm", made)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (dataset.PatientID, dataset.PatientName) == ("MADE", "Made^Series")
    assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (
        pydicom.dcmread(made.source_files[0]).StudyInstanceUID,
        geometry.frame_of_reference,
    )
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["liver", "cyst", "tumour"]
    third = dataset.SegmentSequence[2]
    assert third.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert third.SegmentAlgorithmType == "AUTOMATIC"
    assert "ab" * 32 in third.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert dataset.preamble == b"\0" * 128
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6


def test_the_same_result_gives_the_same_file(tmp_path: Path) -> None:
    geometry, made = source(tmp_path, Grid())
    for name in ("a.dcm", "b.dcm"):
        write_segmentation(mask_on(geometry), tmp_path / name, made)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    write_segmentation(mask_on(geometry, 1), tmp_path / "c.dcm", made)
    assert pydicom.dcmread(tmp_path / "c.dcm").SOPInstanceUID != pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID


def test_highdicom_reads_the_same_voxels(tmp_path: Path) -> None:
    import highdicom

    geometry, made = source(tmp_path, Grid())
    mask = mask_on(geometry)
    write_segmentation(mask, tmp_path / "seg.dcm", made)
    found = highdicom.seg.segread(tmp_path / "seg.dcm")
    volume = found.get_volume(combine_segments=True, relabel=False)
    numbers = {1: 1, 2: 7, 3: 300}
    counts = {numbers[n]: int((volume.array == n).sum()) for n in (1, 2, 3)}
    assert counts == {index: int(mask.mask(index).sum()) for index in (1, 7, 300)}


def test_an_enhanced_image_may_be_the_source(tmp_path: Path) -> None:
    slices = made_series()
    save(enhanced(slices), tmp_path / "image" / "enhanced.dcm")
    scan = read_scan(tmp_path / "image")
    mask = mask_on(scan.volume.geometry)
    dataset = pydicom.dcmread(tmp_path / "image" / "enhanced.dcm")
    for keyword in ("StudyDate", "StudyTime", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
    dataset.save_as(tmp_path / "image" / "enhanced.dcm")
    write_segmentation(mask, tmp_path / "seg.dcm", Made(MODEL, scan.series.files, CREATED))
    assert_array_equal(read_labels(tmp_path / "seg.dcm", SCHEMA, scan.volume.geometry).label_map.array, mask.array)


def test_an_empty_mask_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    geometry, made = source(tmp_path, Grid())
    empty = LabelMap(np.zeros(geometry.shape, np.uint8), geometry, SCHEMA)
    with pytest.raises(InputError, match="nothing was found"):
        write_segmentation(empty, tmp_path / "seg.dcm", made)
    assert not (tmp_path / "seg.dcm").exists()


def test_images_of_another_position_of_the_patient_are_refused(tmp_path: Path) -> None:
    geometry, made = source(tmp_path, Grid())
    other = Geometry(geometry.shape, geometry.affine, "1.2.3")
    with pytest.raises(InputError, match="frame of reference"):
        write_segmentation(mask_on(other), tmp_path / "seg.dcm", made)


def test_the_read_back_check_sees_a_flip_a_shift_and_a_lost_voxel(tmp_path: Path) -> None:
    geometry, made = source(tmp_path, Grid())
    mask = mask_on(geometry)
    write_segmentation(mask, tmp_path / "seg.dcm", made)
    require_same_regions(regions_of_labels(mask), tmp_path / "seg.dcm")
    moved = geometry.affine.copy()
    moved[0, 3] += 0.7
    lost = mask.array.copy()
    lost[tuple(np.argwhere(lost == 7)[0])] = 0
    for wrong in (
        LabelMap(mask.array[::-1], geometry, SCHEMA),
        LabelMap(mask.array[:, :, ::-1], geometry, SCHEMA),
        LabelMap(mask.array, Geometry(geometry.shape, moved), SCHEMA),
        LabelMap(lost, geometry, SCHEMA),
    ):
        with pytest.raises(InputError, match="the written object was read back and is wrong"):
            require_same_regions(regions_of_labels(wrong), tmp_path / "seg.dcm")


@pytest.mark.parametrize(("rows", "columns", "count"), [(2, 2, 3), (1, 7, 4), (3, 5, 5), (3, 3, 1)])
def test_frames_that_fill_no_whole_bytes_come_back(tmp_path: Path, rows: int, columns: int, count: int) -> None:
    geometry, made = source(tmp_path, Grid(rows=rows, columns=columns, count=count))
    array = np.random.default_rng(3).choice([1, 7], size=geometry.shape).astype(np.uint8)
    mask = LabelMap(array, geometry, SCHEMA)
    write_segmentation(mask, tmp_path / "seg.dcm", made, "BINARY")
    assert_array_equal(read_labels(tmp_path / "seg.dcm", SCHEMA, geometry).label_map.array, array)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    length = (dataset.NumberOfFrames * rows * columns + 7) // 8
    assert len(dataset.PixelData) == length + length % 2
    assert dataset.PixelData[length:] in (b"", b"\0")
