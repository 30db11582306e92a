"""Every file that pydicom ships as test data is read or refused, never a crash."""

from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.read import read_scan

SHIPPED = Path(pydicom.data.__file__).parent


def shipped_files() -> list[Path]:
    return sorted(file for file in SHIPPED.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc"))


def test_every_file_that_pydicom_ships_is_read_or_refused() -> None:
    """Nothing else than InputError may come out, and what is read has the pixels that pydicom decodes."""
    files = shipped_files()
    read = 0
    for file in files:
        try:
            scan = read_scan(file)
        except InputError:
            continue
        read += 1
        if file.name == "J2K_pixelrep_mismatch.dcm":
            continue  # pydicom itself takes the sign from the header or the stream by an option
        with lenient():
            dataset = pydicom.dcmread(file)
            try:
                expected = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(
                    dataset.get("RescaleIntercept", 0)
                )
            except (RuntimeError, AttributeError):
                continue  # a codec that pydicom lacks here
        np.testing.assert_allclose(scan.volume.array[:, :, 0].T, expected, rtol=1e-6, err_msg=file.name)
    assert read >= 30
    assert len(files) >= 180


def test_a_folder_with_a_dicomdir_is_scanned_file_by_file() -> None:
    folder = SHIPPED / "test_files" / "dicomdirtests"
    with pytest.raises(InputError, match="choose one with --series"):
        read_scan(folder)
    with pytest.raises(InputError, match="161 slices are missing"):  # four slices of a head, far apart
        read_scan(folder / "77654033" / "CT2")
    with pytest.raises(InputError, match="too many to interpolate"):
        read_scan(folder / "77654033" / "CT2", allow_gaps=True)
