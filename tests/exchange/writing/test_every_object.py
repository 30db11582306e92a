"""Twelve ways to lie in the patient, every format: valid, every voxel in its place, the same numbers, the same bytes.

Places are computed here from the plain headers in LPS+ mm, by no function of the library and by none of highdicom.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_oracle import Grid
from dicom_results import GRIDS, TASK, images, require_valid, result_on
from matplotlib.path import Path as Polygon
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.writing.read_back import deliver, require_headers
from medseg.exchange.dicom.writing.report_check import read_groups
from medseg.exchange.dicom.writing.source import open_source
from medseg.exchange.nifti import read_nifti
from medseg.exchange.reports.formats import WRITERS, Result, require_formats, with_needed, write_formats
from medseg.exchange.scan import Mends

DICOM = tuple(name for name, writer in WRITERS.items() if writer.is_dicom)
DCMQI = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
Places = set[tuple[int, float, float, float]]
"""Region number and LPS+ position, rounded to hundredths of a millimetre."""


def everything(folder: Path, grid: Grid | None = None, slices: list[Dataset] | None = None) -> Result:
    made = result_on(folder, grid, slices)
    probability = np.random.default_rng(0).random(made.volume.array.shape).astype(np.float32)
    return Result(
        made.report, made.volume, made.label_map, made.numbers, made.made.source_files,
        Volume(probability, made.volume.geometry),
    )  # fmt: skip


def places(number: int, positions: NDArray[np.float64]) -> Places:
    return {(number, float(x), float(y), float(z)) for x, y, z in np.round(positions, 2) + 0.0}


def expected(result: Result) -> Places:
    found: Places = set()
    for region in result.regions.regions:
        index = np.argwhere(result.regions.array == region.number)
        affine = result.volume.geometry.affine
        ras = index @ affine[:3, :3].T + affine[:3, 3]
        found |= places(region.number, ras * (-1, -1, 1))
    return found


def pixel_positions(position: object, orientation: object, spacing: object, inside: NDArray[np.bool_]) -> NDArray:  # type: ignore[type-arg]
    """LPS+ positions of the pixels of a plane (rows, columns), as PS3.3 C.7.6.2.1.1 says."""
    start, axes, mm = (np.array(value, dtype=float) for value in (position, orientation, spacing))
    j, i = np.nonzero(inside)
    return np.asarray(start + i[:, None] * axes[:3] * mm[1] + j[:, None] * axes[3:] * mm[0])


def segmentation_places(path: Path) -> Places:
    dataset = pydicom.dcmread(path)
    count = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[:count]
    planes = bits.reshape(-1, dataset.Rows, dataset.Columns).astype(bool)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    found: Places = set()
    for plane, group in zip(planes, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        at = pixel_positions(
            group.PlanePositionSequence[0].ImagePositionPatient,
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            shared.PixelMeasuresSequence[0].PixelSpacing,
            plane,
        )
        found |= places(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, at)
    return found


def structure_places(path: Path, sources: tuple[Path, ...]) -> Places:
    """Pixels of the referenced images whose centres lie inside the contours."""
    by_uid = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, sources)}
    found: Places = set()
    for structure in pydicom.dcmread(path).ROIContourSequence:
        for contour in structure.ContourSequence:
            image = by_uid[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            start, axes, mm = (
                np.array(value, dtype=float)
                for value in (image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing)
            )
            away = points - start
            np.testing.assert_allclose(away @ np.cross(axes[:3], axes[3:]), 0, atol=1e-6)
            outline = np.column_stack([away @ axes[:3] / mm[1], away @ axes[3:] / mm[0]])
            j, i = np.mgrid[: image.Rows, : image.Columns]
            inside = Polygon(outline, closed=False).contains_points(np.column_stack([i.ravel(), j.ravel()]))
            at = pixel_positions(start, axes, mm, inside.reshape(i.shape))
            found |= places(int(structure.ReferencedROINumber), at)
    return found


def map_values(path: Path) -> dict[tuple[float, ...], float]:
    dataset = pydicom.dcmread(path)
    planes = np.frombuffer(dataset.FloatPixelData, "<f4").reshape(-1, dataset.Rows, dataset.Columns)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    found: dict[tuple[float, ...], float] = {}
    for plane, group in zip(planes, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        at = pixel_positions(
            group.PlanePositionSequence[0].ImagePositionPatient,
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            shared.PixelMeasuresSequence[0].PixelSpacing,
            np.ones(plane.shape, bool),
        )
        found.update(zip(map(tuple, (np.round(at, 2) + 0.0).tolist()), plane.ravel().tolist(), strict=True))
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_each_object_is_valid_and_each_voxel_in_its_place(tmp_path: Path, name: str) -> None:
    result = everything(tmp_path, GRIDS[name])
    for path in write_formats(result, DICOM, tmp_path):
        require_valid(path)
    assert segmentation_places(tmp_path / "segmentation.dcm") == expected(result)
    assert structure_places(tmp_path / "structures.dcm", result.images) == expected(result)
    index = np.argwhere(np.ones(result.volume.geometry.shape, bool))
    lps = np.round(result.volume.geometry.world(index) * (-1, -1, 1), 2) + 0.0
    assert result.probability is not None
    meant = dict(zip(map(tuple, lps.tolist()), result.probability.array.ravel().tolist(), strict=True))
    assert map_values(tmp_path / "probability.dcm") == meant


@pytest.mark.parametrize("name", ["prone", "coronal", "sagittal", "oblique 2", "thick"])
@pytest.mark.skipif(DCMQI is None, reason="dcmqi is not installed: pip install dcmqi")
def test_dcmqi_finds_the_same_voxels(tmp_path: Path, name: str) -> None:
    result = everything(tmp_path, GRIDS[name])
    (path,) = write_formats(result, ["dicom-seg"], tmp_path)
    command = [str(DCMQI), "--inputDICOM", str(path), "--outputDirectory", str(tmp_path), "-t", "nii", "-p", "read"]
    subprocess.run(command, check=True, capture_output=True)
    found: Places = set()
    for region in result.regions.regions:
        volume = read_nifti(tmp_path / f"read-{region.number}.nii.gz", Mends()).volume
        found |= places(region.number, volume.geometry.world(np.argwhere(volume.array != 0)) * (-1, -1, 1))
    assert found == expected(result)


def pdf_words(path: Path) -> str:
    """All text of a PDF that matplotlib wrote, piece by piece."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL)
    unpacked = []
    for stream in streams:
        try:
            unpacked.append(zlib.decompress(stream).decode("latin-1"))
        except zlib.error:
            continue
    text = r"\(((?:\\.|[^\\)])*)\)"
    shown = re.findall(r"\[[^\]]*?\]\s*TJ|\([^()]*\)\s*Tj", "\n".join(unpacked))
    return "\n".join(re.sub(r"\\(.)", r"\1", "".join(re.findall(text, one))) for one in shown)


def test_the_same_number_stands_in_each_format(tmp_path: Path) -> None:
    result = everything(tmp_path)
    write_formats(result, [name for name in WRITERS if name not in ("nrrd", "radiomics")], tmp_path)
    meant = [
        (m.code.value, m.value) for finding in result.report.findings for m in finding.measurements
    ]  # fmt: skip
    assert len(meant) == 25
    read = Report.model_validate(json.loads((tmp_path / "report.json").read_text()))
    assert [(m.code.value, m.value) for finding in read.findings for m in finding.measurements] == meant
    groups = [group for group in read_groups(tmp_path / "measurements.dcm") if group.segment]
    assert [(number.code, number.value) for group in groups for number in group.numbers] == meant
    with (tmp_path / "findings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["code"] for row in rows] == [code for code, _ in meant]
    assert [float(row["value"]) for row in rows] == pytest.approx([value for _, value in meant], rel=1e-5)
    said = pydicom.dcmread(tmp_path / "structures.dcm").StructureSetROISequence
    written = re.findall(r" ([-0-9.e]+) \S+(?:;|$)", "; ".join(item.get("ROIDescription", "") for item in said[:4]))
    assert [float(number) for number in written] == pytest.approx([value for _, value in meant], rel=1e-8)
    comment = pydicom.dcmread(tmp_path / "pictures.dcm").ImageComments
    written = re.findall(r" ([-0-9.e]+) \S+(?:;|$)", comment.replace("\r\n", "\n").replace("\n", "; "))
    assert [float(number) for number in written] == pytest.approx([value for _, value in meant], rel=1e-8)
    encapsulated = pydicom.dcmread(tmp_path / "report.dcm")
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert encapsulated.EncapsulatedDocument[: encapsulated.EncapsulatedDocumentLength] == pdf
    words = pdf_words(tmp_path / "report.pdf")
    for finding in result.report.findings:
        volume_ml = finding.value("volume")
        assert volume_ml is not None
        digits = f"{volume_ml:.2g}" if volume_ml < 0.1 else f"{volume_ml:.2f}"
        assert f"{digits} " in words, digits


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    result = everything(tmp_path)
    (tmp_path / "again").mkdir()
    wanted = [name for name in WRITERS if name not in ("nrrd", "nifti", "radiomics")]
    for first, second in zip(
        write_formats(result, wanted, tmp_path), write_formats(result, wanted, tmp_path / "again"), strict=True
    ):
        assert first.read_bytes() == second.read_bytes(), first.name
    series = {pydicom.dcmread(tmp_path / WRITERS[name].file).SeriesInstanceUID for name in DICOM}
    assert len(series) == len(DICOM)


@pytest.mark.parametrize(
    ("character_set", "patient", "meaning"),
    [
        ("ISO_IR 100", "Grün^Ödön", "CT Schädel"),
        ("ISO_IR 144", "Люкceмбypг", "КТ головы"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部CT"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东", "头部CT"),
    ],
)
def test_names_keep_their_characters(
    tmp_path: Path, character_set: str | list[str], patient: str, meaning: str
) -> None:
    """In the header, in a sequence, and in a sequence of a sequence."""
    slices = images(Grid())
    for one in slices:
        one.SpecificCharacterSet, one.PatientName, one.ReferringPhysicianName = character_set, patient, patient
        one.PatientID, one.PatientAge, one.AccessionNumber = "P-17", "045Y", "A7"
        other, procedure, issuer = Dataset(), Dataset(), Dataset()
        procedure.CodeValue, procedure.CodingSchemeDesignator, procedure.CodeMeaning = "C1", "99LOCAL", meaning
        issuer.LocalNamespaceEntityID = meaning
        other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "X-1", meaning, "TEXT"
        other.IssuerOfPatientIDQualifiersSequence = [issuer]
        one.IssuerOfPatientID, one.ProcedureCodeSequence, one.OtherPatientIDsSequence = meaning, [procedure], [other]
    result = everything(tmp_path, slices=slices)
    for path in write_formats(result, DICOM, tmp_path):
        written = pydicom.dcmread(path)
        assert (written.PatientName, written.ReferringPhysicianName) == (patient, patient), path.name
        assert (written.PatientID, written.PatientAge, written.AccessionNumber) == ("P-17", "045Y", "A7")
        assert written.StudyInstanceUID == slices[0].StudyInstanceUID
        ((other,), (procedure,)) = written.OtherPatientIDsSequence, written.ProcedureCodeSequence
        assert written.IssuerOfPatientID == other.IssuerOfPatientID == procedure.CodeMeaning == meaning, path.name
        assert other.IssuerOfPatientIDQualifiersSequence[0].LocalNamespaceEntityID == meaning, path.name


def test_the_model_stands_in_each_object(tmp_path: Path) -> None:
    result = everything(tmp_path)
    for path in write_formats(result, DICOM, tmp_path):
        written = pydicom.dcmread(path)
        (equipment,) = written.ContributingEquipmentSequence
        assert equipment.ManufacturerModelName == written.ManufacturerModelName == "liver lesions"
        assert equipment.SoftwareVersions == written.SoftwareVersions == "0.1.0"
        assert "ab" * 32 in equipment.ContributionDescription
        assert written.preamble == b"\0" * 128
        assert written.file_meta.ImplementationVersionName == "MEDSEG"


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("PatientID", "ANOTHER", "its PatientID"),
        ("PatientName", "Another^One", "its PatientName"),
        ("StudyInstanceUID", "1.2.3", "its StudyInstanceUID"),
        ("FrameOfReferenceUID", "1.2.3", "its frame of reference"),
        ("ContributingEquipmentSequence", [], "the content hash of the model"),
    ],
)
def test_an_object_of_another_patient_study_place_or_model_is_not_delivered(
    tmp_path: Path, keyword: str, value: object, reason: str
) -> None:
    result = everything(tmp_path)
    (path,) = write_formats(result, ["rtstruct"], tmp_path)
    with lenient():
        source = open_source(result.made)
    require_headers(path, source)
    dataset = pydicom.dcmread(path)
    setattr(dataset, keyword, value)
    with pytest.raises(InputError, match=reason):
        deliver(dataset, tmp_path / "wrong.dcm", source, lambda file: None)
    assert not (tmp_path / "wrong.dcm").exists()


def test_an_object_with_a_preamble_is_not_delivered(tmp_path: Path) -> None:
    result = everything(tmp_path)
    (path,) = write_formats(result, ["rtstruct"], tmp_path)
    with lenient():
        source = open_source(result.made)
    dataset = pydicom.dcmread(path)
    dataset.preamble = b"MZ" + b"\0" * 126
    with pytest.raises(InputError, match="its preamble"):
        deliver(dataset, tmp_path / "wrong.dcm", source, lambda file: None)


def test_dicom_formats_need_a_dicom_scan_and_known_names() -> None:
    with pytest.raises(
        InputError, match=r"dicom-seg refers to the patient.*choose of json, csv, nifti, nrrd, pdf, radiomics"
    ):
        require_formats(["csv", "dicom-seg"], is_dicom=False)
    with pytest.raises(InputError, match="there is no format 'docx'; choose of json, csv"):
        require_formats(["docx"], is_dicom=True)
    assert with_needed(["dicom-sr", "csv"], has_findings=True) == ("csv", "dicom-seg", "dicom-sr")
    assert with_needed(["dicom-sr"], has_findings=False) == ("dicom-sr",)


def test_an_empty_mask_leaves_as_a_report_that_says_so(tmp_path: Path) -> None:
    full = everything(tmp_path)
    array = np.zeros_like(full.label_map.array)
    empty = LabelMap(array, full.label_map.geometry, TASK.label_schema)
    report = full.report.model_copy(update={"findings": ()})
    result = Result(report, full.volume, empty, array, full.images)
    for path in write_formats(result, ["json", "csv", "pdf", "dicom-sr", "dicom-pdf", "dicom-pictures"], tmp_path):
        if path.suffix == ".dcm":
            require_valid(path)
    assert pydicom.dcmread(tmp_path / "pictures.dcm").ImageComments == "Nothing was found."
    assert not (tmp_path / "segmentation.dcm").exists()


def test_the_masks_formats_are_the_mask(tmp_path: Path) -> None:
    result = everything(tmp_path, GRIDS["oblique 2"])
    (path,) = write_formats(result, ["nifti"], tmp_path)
    back = read_nifti(path, Mends()).volume
    assert_array_equal(back.array, result.label_map.array)
