"""The unit of PET voxels, and the factor that turns Bq/ml into SUV by body weight (PS3.3 C.8.9.1, QIBA FDG-PET)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydicom.dataset import Dataset

from medseg.core.volume import Unit
from medseg.exchange.dicom.elements import items, number, text

_MOST_HOURS_BEFORE_SCAN = 24.0
_LEAST_DOSE_BQ = 1e5
"""A tracer dose is 1e7 to 1e9 Bq; a smaller number was written in MBq."""


@dataclass(frozen=True, slots=True)
class PetScale:
    """What PET voxels are multiplied by, the unit that gives, and what to tell the user."""

    factor: float
    unit: Unit
    warning: str = ""


def pet_scale(header: Dataset, where: str) -> PetScale:
    """SUVbw where the header gives all that it takes; else the stored unit, with a warning that says what lacks."""
    units = text(header, "Units").upper()
    if units == "GML":
        kind = text(header, "SUVType").upper()
        if kind in ("", "BW"):
            return PetScale(1.0, "SUVbw")
        return PetScale(1.0, "arbitrary", f"PET values are SUV of the type {kind}, not by body weight")
    if units != "BQML":
        return PetScale(1.0, "arbitrary", f"PET values are in {units or 'an unknown unit'}: they are no SUV")
    factor, lacking = _suv_factor(header, where)
    if factor is None:
        return PetScale(1.0, "Bq/ml", f"PET values stay in Bq/ml and are no SUV: {lacking}")
    return PetScale(factor, "SUVbw")


def _suv_factor(header: Dataset, where: str) -> tuple[float | None, str]:
    """Grams over the dose in Bq at the time to which the voxels are decay-corrected, or why it cannot be had."""
    corrected = text(header, "CorrectedImage").upper().split("\\")
    correction = text(header, "DecayCorrection").upper()
    if not {"ATTN", "DECY"} <= set(corrected):
        return None, "CorrectedImage does not say ATTN and DECY"
    tracer = (items(header, "RadiopharmaceuticalInformationSequence", where) or [Dataset()])[0]
    weight_kg = number(header, "PatientWeight", where)
    dose_bq = number(tracer, "RadionuclideTotalDose", where)
    half_life_s = number(tracer, "RadionuclideHalfLife", where)
    missing = [
        name
        for name, value in (
            ("PatientWeight", weight_kg),
            ("RadionuclideTotalDose", dose_bq),
            ("RadionuclideHalfLife", half_life_s),
        )
        if not value or value <= 0
    ]
    if not weight_kg or not dose_bq or not half_life_s or missing:
        return None, f"the header lacks {', '.join(missing)}"
    if dose_bq < _LEAST_DOSE_BQ:
        return None, f"RadionuclideTotalDose is {dose_bq:g} Bq, which is no dose in Bq"
    if correction == "ADMIN":
        return weight_kg * 1000 / dose_bq, ""
    if correction != "START":
        return None, f"DecayCorrection is {correction or 'missing'}, so the time of the voxels is not known"
    waited_s, lacking = _seconds_from_injection(header, tracer)
    if waited_s is None:
        return None, lacking
    return weight_kg * 1000 / (dose_bq * 2 ** (-waited_s / half_life_s)), ""


def _seconds_from_injection(header: Dataset, tracer: Dataset) -> tuple[float | None, str]:
    scan = _moment(text(header, "SeriesDate"), text(header, "SeriesTime"))
    acquired = _moment(text(header, "AcquisitionDate"), text(header, "AcquisitionTime"))
    if scan is None:
        return None, "the header lacks SeriesDate or SeriesTime"
    if acquired is not None and scan > acquired:
        return None, "SeriesTime is later than AcquisitionTime, so the start of the scan is not known"
    injected = _moment(*_split(text(tracer, "RadiopharmaceuticalStartDateTime")))
    if injected is None:
        injected = _moment(scan.strftime("%Y%m%d"), text(tracer, "RadiopharmaceuticalStartTime"))
        if injected is None:
            return None, "the header lacks RadiopharmaceuticalStartTime"
        if injected > scan:  # a time without a date: the injection was before midnight
            injected -= timedelta(days=1)
    waited = (scan - injected).total_seconds()
    if not 0 <= waited <= _MOST_HOURS_BEFORE_SCAN * 3600:
        return None, f"the injection lies {waited / 3600:.1f} h before the scan, which cannot be"
    return waited, ""


def _split(moment: str) -> tuple[str, str]:
    return moment[:8], moment[8:].partition("+")[0].partition("-")[0]


def _moment(date: str, time: str) -> datetime | None:
    """The moment of a DICOM date and time, all in one and the same zone; None where one is missing or damaged."""
    clock, _, fraction = time.strip().partition(".")
    if not clock:  # strptime would take it for midnight
        return None
    try:
        moment = datetime.strptime(f"{date.strip()} {clock.ljust(6, '0')}", "%Y%m%d %H%M%S").replace(tzinfo=UTC)
        return moment + timedelta(seconds=float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return None
