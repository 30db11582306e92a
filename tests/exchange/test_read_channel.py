"""A scan as a channel: its modality and its unit."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.task import Channel
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.exchange.read_channel import read_channel

GRID = Geometry.from_spacing((6, 5, 4), (2.0, 2.0, 3.0))
CT, PET, MR = (Channel(name=name, modality=modality) for name, modality in (("C", "CT"), ("P", "PT"), ("M", "MR")))


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    write_nifti(np.arange(120, dtype=np.float32).reshape(GRID.shape), GRID, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_a_format_without_units_is_believed_and_pet_is_warned_of(nifti: Path) -> None:
    assert read_channel(nifti, CT).volume.unit == "HU"
    assert read_channel(nifti, MR).volume.unit == "arbitrary"
    pet = read_channel(nifti, PET)
    assert pet.volume.unit == "SUVbw"
    assert any("taken to be SUV" in warning for warning in pet.warnings)
    assert not any("taken to be" in warning for warning in read_channel(nifti, CT).warnings)


def test_dicom_of_the_channels_modality_passes_and_another_is_refused(tmp_path: Path) -> None:
    write_series(Volume(np.zeros(GRID.shape, np.float32), GRID, "HU"), tmp_path / "ct", Series(Study(), "CT"))
    assert read_channel(tmp_path / "ct", CT).volume.unit == "HU"
    with pytest.raises(InputError, match="is a CT scan; the channel M takes MR"):
        read_channel(tmp_path / "ct", MR)


def test_pet_in_becquerel_is_refused(tmp_path: Path) -> None:
    write_series(Volume(np.ones(GRID.shape, np.float32), GRID, "Bq/ml"), tmp_path / "pt", Series(Study(), "PT"))
    with pytest.raises(InputError, match=r"is in Bq/ml; the channel P takes SUVbw"):
        read_channel(tmp_path / "pt", PET)
