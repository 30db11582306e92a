"""Elements, archives, contours and segments that cannot be: each is refused with its own sentence."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_frames import header
from dicom_oracle import ROOT, Grid, made_series, save, save_all
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medseg.core.errors import InputError
from medseg.exchange import archive
from medseg.exchange.dicom.contents import contents_of
from medseg.exchange.dicom.deidentify import deidentify
from medseg.exchange.dicom.elements import items, whole
from medseg.exchange.dicom.files import is_dicom, read_dataset
from medseg.exchange.dicom.rtstruct import read_structures
from medseg.exchange.dicom.scan import inspect
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends


class TestElements:
    def test_a_fraction_is_no_whole_number(self) -> None:
        with pytest.raises(InputError, match=r"one\.dcm: SliceThickness is 2\.5, which is no whole number"):
            whole(header(), "SliceThickness", "one.dcm")
        assert whole(header(SliceThickness="3"), "SliceThickness", "one.dcm") == 3

    def test_a_number_is_no_sequence(self) -> None:
        dataset = Dataset()
        dataset.add_new("PerFrameFunctionalGroupsSequence", "LO", "none")
        with pytest.raises(InputError, match=r"one\.dcm: PerFrameFunctionalGroupsSequence is damaged: it is no seq"):
            items(dataset, "PerFrameFunctionalGroupsSequence", "one.dcm")


class TestFiles:
    def test_a_folder_is_no_dicom_file(self, tmp_path: Path) -> None:
        assert not is_dicom(tmp_path)
        assert not is_dicom(tmp_path / "none")

    def test_an_object_that_does_not_say_what_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "bare.dcm").write_bytes(b"\0" * 128 + b"DICM")
        with pytest.raises(InputError, match=r"bare\.dcm is no DICOM object that can be used.*\(SOPClassUID\)"):
            read_dataset(tmp_path / "bare.dcm")

    def test_what_is_no_image_is_not_de_identified(self, tmp_path: Path) -> None:
        (report,) = made_series(Grid(count=1))
        report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
        folder = save_all([*made_series(Grid(count=1)), report], tmp_path / "in")
        (folder / "bare.dcm").write_bytes(b"\0" * 128 + b"DICM")
        done = deidentify(folder, tmp_path / "out", b"a secret of the clinic")
        assert done.written == 1
        reasons = {file.name: reason for file, reason in done.left_out}
        assert reasons["0001.dcm"] == "it is a structured report"
        assert "does not say what it is" in reasons["bare.dcm"]

    @pytest.mark.parametrize(
        ("sop_class", "said"),
        [
            ("1.2.840.10008.5.1.4.1.1.104.1", "it is an encapsulated document"),
            ("1.2.840.10008.5.1.4.1.1.6.2", "it is an Enhanced US Volume Storage"),
            ("1.2.840.10008.5.1.4.1.1.78.1", "it is a Lensometry Measurements Storage"),
        ],
    )
    def test_what_is_no_image_is_named_with_its_article(self, tmp_path: Path, sop_class: str, said: str) -> None:
        image, other = made_series(Grid(count=2))
        other.SOPClassUID = sop_class
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(other, keyword)
        folder = save_all([image, other], tmp_path / "in")
        assert [reason for _, reason in contents_of(folder).passed_over] == [said]
        assert [reason for _, reason in deidentify(folder, tmp_path / "out", b"secret" * 4).left_out] == [said]

    def test_a_listing_of_a_series_that_is_not_there(self, tmp_path: Path) -> None:
        folder = save_all(made_series(Grid(count=2)), tmp_path / "in")
        with pytest.raises(InputError, match=r"no series under .* is called '9'; there are: CT series 3"):
            inspect(folder, mends=Mends(series="9"))
        with pytest.raises(InputError, match=r"no series under .* has a phase that is called '9'"):
            inspect(folder, mends=Mends(phase="9"))


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"x" * 100 if not name.endswith("/") else b"")
    return path


class TestArchives:
    def test_a_password_is_not_asked_for(self, tmp_path: Path) -> None:
        data = bytearray(zipped(tmp_path / "a.zip", "a.dcm", "b.dcm").read_bytes())
        place = data.find(b"PK\x01\x02")
        data[place + 8] |= 1  # the flag of an encrypted file, in the list at the end
        (tmp_path / "a.zip").write_bytes(data)
        with pytest.raises(InputError, match=r"a\.zip is encrypted\. Unpack it with its password"):
            read_scan(tmp_path / "a.zip")

    def test_a_file_of_an_archive_that_is_not_what_it_was(self, tmp_path: Path) -> None:
        data = zipped(tmp_path / "a.zip", "a.dcm", "b.dcm").read_bytes()
        (tmp_path / "a.zip").write_bytes(data.replace(b"x" * 100, b"y" * 100, 1))
        with pytest.raises(InputError, match=r"a\.zip is damaged: Bad CRC-32.*Copy or download the archive again"):
            read_scan(tmp_path / "a.zip")

    def test_folders_and_what_a_mac_adds_are_no_files(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", "scan/", "scan/a.dcm", "__MACOSX/._a.dcm")
        with archive.unpacked(path) as folder:
            assert len(list(folder.iterdir())) == 1
        with tarfile.open(tmp_path / "a.tar", "w") as packed:
            packed.add(tmp_path / "a.zip", "scan/a.dcm")
            entry = tarfile.TarInfo("scan")
            entry.type = tarfile.DIRTYPE
            packed.addfile(entry)
        with archive.unpacked(tmp_path / "a.tar") as folder:
            assert len(list(folder.iterdir())) == 1

    @pytest.mark.parametrize(
        ("limit", "most", "said"),
        [
            ("MOST_FILES", 2, "holds more than 2 files"),
            ("MOST_BYTES", 250, "would unpack to 0.0 GiB; at most 0 GiB are unpacked"),
        ],
    )
    def test_too_much_is_not_unpacked(
        self, limit: str, most: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = zipped(tmp_path / "a.zip", "a.dcm", "b.dcm", "c.dcm")
        monkeypatch.setattr(archive, limit, most)
        with pytest.raises(InputError, match=said):
            read_scan(path)


def contours(points: list[float], kind: str = "CLOSED_PLANAR", number: int = 1) -> Dataset:
    """A structure set with one named structure and one contour."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", ROOT + "71"
    dataset.SeriesInstanceUID, dataset.Modality = ROOT + "72", "RTSTRUCT"
    dataset.FrameOfReferenceUID = ROOT + "4"
    named, contour, drawn = Dataset(), Dataset(), Dataset()
    named.ROINumber, named.ROIName = 1, "GTV"
    contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points) // 3
    contour.add_new("ContourData", "DS", points)
    drawn.ReferencedROINumber, drawn.ContourSequence = number, Sequence([contour])
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Sequence([named]), Sequence([drawn])
    return dataset


SQUARE = [0.0, 0.0, 1.0, 4.0, 0.0, 1.0, 4.0, 4.0, 1.0]


class TestContours:
    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (lambda: contours(SQUARE, number=7), "has contours of structure 7, which it does not name"),
            (lambda: contours(SQUARE[:-1]), "structure 'GTV': a contour is damaged"),
            (lambda: contours(SQUARE[:6]), "holds no closed contour"),
            (lambda: contours(SQUARE, kind="POINT"), "holds no closed contour"),
        ],
    )
    def test_what_is_no_closed_line_is_refused(self, made: Callable[[], Dataset], said: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=said):
            read_structures(save(made(), tmp_path / "rs.dcm"))

    def test_contours_outside_the_image_are_left_out_with_a_warning(self, tmp_path: Path) -> None:
        image = read_scan(save_all(made_series(Grid(origin=(0, 0, 0), step=1.0)), tmp_path / "image")).volume.geometry
        above = [value + 50.0 * (number % 3 == 2) for number, value in enumerate(SQUARE)]
        dataset = contours(SQUARE)
        (extra,) = contours(above).ROIContourSequence
        dataset.ROIContourSequence[0].ContourSequence.append(extra.ContourSequence[0])
        drawn = read_structures(save(dataset, tmp_path / "rs.dcm")).on(image)
        assert drawn.warnings == ("GTV: 1 contours lie outside the image and were left out",)
        assert [int(np.count_nonzero(piece.plane)) > 0 for piece in drawn.pieces] == [True]
