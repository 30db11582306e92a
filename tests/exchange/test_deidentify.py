"""deidentify: nothing that names the patient is left in any byte, and the image is the same."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_cases import RIGHT
from dicom_oracle import ROOT, enhanced, made_series, save, save_all
from numpy.testing import assert_array_equal
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.exchange.dicom import deidentify as module
from medseg.exchange.dicom.deidentify import deidentify
from medseg.exchange.read import read_scan

SECRET = b"a secret of the clinic"
PLANTED = (
    "Mustermann", "Erika", "4711-0815", "19610308", "Klinikum", "Heidestrasse", "Obermaier", "ACC99001", "Nachbar",
    "Privatnotiz", "20240229", "SCHWESTER", "PACS-AE-TITLE", "Bemerkung",
)  # fmt: skip


def named_series() -> list[Dataset]:
    slices = made_series()
    for one in slices:
        one.PatientName, one.PatientID = "Mustermann^Erika", "4711-0815"
        one.PatientBirthDate, one.PatientSex, one.PatientAge, one.PatientWeight = "19610308", "F", "063Y", "71"
        one.InstitutionName, one.InstitutionAddress = "Klinikum", "Heidestrasse 17"
        one.ReferringPhysicianName, one.OperatorsName = "Obermaier^Karl", "SCHWESTER"
        one.AccessionNumber, one.StudyID = "ACC99001", "S-1"
        one.StudyDate = one.SeriesDate = one.AcquisitionDate = "20240229"
        one.StudyTime = "101112"
        one.PatientComments = "Nachbar von Herrn Obermaier"
        one.SeriesDescription = one.StudyDescription = "Bemerkung Mustermann"
        block = one.private_block(0x0011, "PRIVATE", create=True)
        block.add_new(0x01, "LO", "Privatnotiz Mustermann")
        request = Dataset()
        request.RequestedProcedureID, request.RequestedProcedureDescription = "4711-0815", "Mustermann"
        one.RequestAttributesSequence = [request]
    return slices


def plant_in_meta(folder: Path) -> None:
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.preamble = b"Mustermann".ljust(128, b"\0")
        dataset.file_meta.SourceApplicationEntityTitle = "PACS-AE-TITLE"
        dataset.save_as(file)


def test_no_planted_name_is_left_in_any_byte_and_the_image_is_the_same(tmp_path: Path) -> None:
    source = save_all(named_series(), tmp_path / "in")
    plant_in_meta(source)
    done = deidentify(source, tmp_path / "out", SECRET)
    assert (done.written, done.left_out) == (6, ())
    for file in (tmp_path / "out").iterdir():
        data = file.read_bytes().lower()
        assert [word for word in PLANTED if word.lower().encode() in data or word.lower() in file.name] == []
    before, after = read_scan(source), read_scan(tmp_path / "out")
    assert_array_equal(after.volume.array, before.volume.array)
    np.testing.assert_array_equal(after.volume.geometry.affine, before.volume.geometry.affine)
    assert after.volume.unit == "HU"


def test_one_patient_stays_one_patient_and_dates_keep_their_distance(tmp_path: Path) -> None:
    first, second = named_series(), named_series()
    for one in second:
        one.StudyDate = "20240310"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID = (
            ROOT + "91",
            ROOT + "92",
            one.SOPInstanceUID + ".5",
        )
    out = []
    for name, slices in (("a", first), ("b", second)):
        deidentify(save_all(slices, tmp_path / name), tmp_path / f"{name} out", SECRET)
        out.append(pydicom.dcmread(tmp_path / f"{name} out" / "000000.dcm"))
    assert out[0].PatientID == out[1].PatientID != "4711-0815"
    assert out[0].FrameOfReferenceUID == out[1].FrameOfReferenceUID
    assert out[0].StudyInstanceUID != out[1].StudyInstanceUID
    days = np.datetime64(f"{out[1].StudyDate[:4]}-{out[1].StudyDate[4:6]}-{out[1].StudyDate[6:]}") - np.datetime64(
        f"{out[0].StudyDate[:4]}-{out[0].StudyDate[4:6]}-{out[0].StudyDate[6:]}"
    )
    assert int(days.astype(int)) == 10
    deidentify(tmp_path / "a", tmp_path / "c out", SECRET + b"!")
    assert pydicom.dcmread(tmp_path / "c out" / "000000.dcm").PatientID != out[0].PatientID


def test_it_says_that_it_was_done(tmp_path: Path) -> None:
    deidentify(save_all(named_series(), tmp_path / "in"), tmp_path / "out", SECRET)
    dataset = pydicom.dcmread(tmp_path / "out" / "000000.dcm")
    assert dataset.PatientIdentityRemoved == "YES"
    assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert (dataset.PatientSex, str(dataset.PatientWeight), dataset.PatientAge) == ("F", "71", "063Y")
    assert dataset.preamble == b"\0" * 128


@pytest.mark.parametrize(
    "name", ["RLE", "JPEG 2000, signed", "deflated", "big endian", "enhanced CT, rescale of each frame"]
)
def test_any_storage_is_kept(tmp_path: Path, name: str) -> None:
    case = next(case for case in RIGHT if case.name == name)
    source = case.make(tmp_path / "in")
    deidentify(source, tmp_path / "out", SECRET)
    assert_array_equal(read_scan(tmp_path / "out").volume.array, read_scan(source).volume.array)


def test_captures_reports_and_burned_in_text_are_left_out(tmp_path: Path) -> None:
    slices = named_series()
    slices[5].BurnedInAnnotation = "YES"
    slices[4].SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    source = save_all(slices, tmp_path / "in")
    (source / "notes.txt").write_text("Mustermann")
    done = deidentify(source, tmp_path / "out", SECRET)
    assert done.written == 4
    assert [reason for _, reason in done.left_out] == [
        "it is a capture or a colour image, which may show the patient's name",
        "text is burned into its pixels",
        "it is not DICOM",
    ]


def test_the_leak_scan_sees_what_slips_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_all(named_series(), tmp_path / "in")
    monkeypatch.setattr(module, "MOVED_DATES", ("PatientBirthDate",))
    monkeypatch.setattr(module, "_moved", lambda date, days: date)
    monkeypatch.setattr(module, "KEPT_TIMES", ("InstitutionAddress",))
    with pytest.raises(InputError, match="InstitutionAddress would stand"):
        deidentify(source, tmp_path / "out", SECRET)
    assert not (tmp_path / "out").exists()


def test_a_short_secret_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="16 and more"):
        deidentify(tmp_path, tmp_path / "out", b"short")
    with pytest.raises(InputError, match="no image"):
        deidentify(tmp_path, tmp_path / "out", SECRET)


def test_the_oldest_are_ninety(tmp_path: Path) -> None:
    dataset = enhanced(named_series())
    dataset.PatientAge = "097Y"
    save(dataset, tmp_path / "in" / "a.dcm")
    deidentify(tmp_path / "in", tmp_path / "out", SECRET)
    assert pydicom.dcmread(tmp_path / "out" / "000000.dcm").PatientAge == "090Y"
