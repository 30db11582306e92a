"""DICOM files that are not even begun to be read: too large, none at all, or of nothing."""

from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.exchange.dicom.files import MOST_FILE_BYTES, read_dataset


def test_a_file_of_more_than_four_gibibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.truncate(MOST_FILE_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"large\.dcm has 4\.0 GiB; files up to 4 GiB are read"):
        read_dataset(path)


def test_text_is_no_dicom_file(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague, " * 20)
    with pytest.raises(InputError, match=r"letter\.txt is not a DICOM file: it has neither a preamble"):
        read_dataset(path)
