"""PET units and SUV from made headers, against values worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_oracle import Grid, Storage, made_series, save_all
from pydicom.dataset import Dataset

from medseg.core.errors import InputError
from medseg.exchange.read import Scan, read_scan

HALF_LIFE_S = 6586.2  # fluorine-18
DOSE_BQ = 370e6


def pet_header(one: Dataset) -> None:
    """70 kg, 370 MBq of F-18 at 10:00:00, scanned at 11:00:00, decay-corrected to the start of the scan."""
    one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    one.Modality = "PT"
    one.Units = "BQML"
    one.CorrectedImage = ["ATTN", "DECY", "SCAT"]
    one.DecayCorrection = "START"
    one.PatientWeight = "70"
    one.SeriesDate = one.AcquisitionDate = "20240301"
    one.SeriesTime = one.AcquisitionTime = "110000"
    tracer = Dataset()
    tracer.RadionuclideTotalDose = str(DOSE_BQ)
    tracer.RadionuclideHalfLife = str(HALF_LIFE_S)
    tracer.RadiopharmaceuticalStartTime = "100000.000000"
    one.RadiopharmaceuticalInformationSequence = [tracer]


def read_pet(folder: Path, change: Callable[[Dataset], object] = lambda one: None) -> tuple[Scan, np.ndarray]:
    """The scan, and the Bq/ml that stand in the files."""
    slices = made_series(Grid(), Storage())
    for one in slices:
        pet_header(one)
        change(one)
    plain = made_series(Grid(), Storage())
    scan = read_scan(save_all(slices, folder / "pet"))
    return scan, read_scan(save_all(plain, folder / "plain")).volume.array.astype(np.float64)


def tracer_of(one: Dataset) -> Dataset:
    item: Dataset = one.RadiopharmaceuticalInformationSequence[0]
    return item


def test_suv_is_bq_per_ml_over_the_dose_left_at_the_start_for_each_gram(tmp_path: Path) -> None:
    scan, bq = read_pet(tmp_path)
    left_bq = DOSE_BQ * 0.5 ** (3600 / HALF_LIFE_S)
    assert scan.volume.unit == "SUVbw"
    np.testing.assert_allclose(scan.volume.array, bq * 70_000 / left_bq, rtol=1e-6)
    assert scan.warnings == ()


def test_voxels_corrected_to_the_injection_take_the_whole_dose(tmp_path: Path) -> None:
    scan, bq = read_pet(tmp_path, lambda one: setattr(one, "DecayCorrection", "ADMIN"))
    np.testing.assert_allclose(scan.volume.array, bq * 70_000 / DOSE_BQ, rtol=1e-6)


def test_an_injection_before_midnight_is_a_day_earlier(tmp_path: Path) -> None:
    def late(one: Dataset) -> None:
        one.SeriesTime = one.AcquisitionTime = "003000"
        tracer_of(one).RadiopharmaceuticalStartTime = "233000"

    scan, bq = read_pet(tmp_path, late)
    np.testing.assert_allclose(scan.volume.array, bq * 70_000 / (DOSE_BQ * 0.5 ** (3600 / HALF_LIFE_S)), rtol=1e-6)


def test_a_start_with_its_date_is_believed(tmp_path: Path) -> None:
    scan, bq = read_pet(
        tmp_path, lambda one: setattr(tracer_of(one), "RadiopharmaceuticalStartDateTime", "20240301103000.5")
    )
    np.testing.assert_allclose(scan.volume.array, bq * 70_000 / (DOSE_BQ * 0.5 ** (1799.5 / HALF_LIFE_S)), rtol=1e-6)


def test_gml_is_suv_already(tmp_path: Path) -> None:
    scan, stored = read_pet(tmp_path, lambda one: setattr(one, "Units", "GML"))
    assert scan.volume.unit == "SUVbw"
    np.testing.assert_array_equal(scan.volume.array, stored)


def drop(*keywords: str) -> Callable[[Dataset], None]:
    def change(one: Dataset) -> None:
        for keyword in keywords:
            holder = one if keyword in one else tracer_of(one)
            delattr(holder, keyword)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("PatientWeight"), "lacks PatientWeight"),
        (lambda one: setattr(one, "PatientWeight", "0"), "lacks PatientWeight"),
        (drop("RadionuclideTotalDose", "RadionuclideHalfLife"), "RadionuclideTotalDose, RadionuclideHalfLife"),
        (drop("RadiopharmaceuticalInformationSequence"), "lacks RadionuclideTotalDose"),
        (drop("RadiopharmaceuticalStartTime"), "lacks RadiopharmaceuticalStartTime"),
        (drop("SeriesTime"), "SeriesDate or SeriesTime"),
        (drop("CorrectedImage"), "ATTN and DECY"),
        (lambda one: setattr(one, "CorrectedImage", ["ATTN"]), "ATTN and DECY"),
        (lambda one: setattr(one, "DecayCorrection", "NONE"), "DecayCorrection is NONE"),
        (lambda one: setattr(tracer_of(one), "RadionuclideTotalDose", "370"), "no dose in Bq"),
        (lambda one: setattr(one, "SeriesTime", "150000"), "later than AcquisitionTime"),
    ],
)
def test_what_lacks_for_suv_is_named_and_the_voxels_stay_bq_per_ml(
    tmp_path: Path, change: Callable[[Dataset], object], said: str
) -> None:
    scan, bq = read_pet(tmp_path, change)
    assert scan.volume.unit == "Bq/ml"
    np.testing.assert_array_equal(scan.volume.array, bq)
    assert said in scan.warnings[0]


@pytest.mark.parametrize(("units", "said"), [("CNTS", "in CNTS"), ("", "unknown unit")])
def test_other_units_are_arbitrary_with_a_warning(tmp_path: Path, units: str, said: str) -> None:
    scan, _ = read_pet(tmp_path, lambda one: setattr(one, "Units", units))
    assert scan.volume.unit == "arbitrary"
    assert said in scan.warnings[0]


def test_suv_by_lean_mass_is_not_called_suv_by_body_weight(tmp_path: Path) -> None:
    def lean(one: Dataset) -> None:
        one.Units, one.SUVType = "GML", "LBM"

    scan, _ = read_pet(tmp_path, lean)
    assert scan.volume.unit == "arbitrary"
    assert "LBM" in scan.warnings[0]


def test_slices_of_two_doses_are_refused(tmp_path: Path) -> None:
    def change(one: Dataset) -> None:
        if one.InstanceNumber == 3:
            one.PatientWeight = "90"

    with pytest.raises(InputError, match="differ in unit, dose, weight"):
        read_pet(tmp_path, change)
