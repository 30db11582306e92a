"""What an archive says of studies, series and instances: DICOM JSON (PS3.18 F) as frozen types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

from medseg.core.errors import InputError

_WILDCARDS = frozenset("*?\\")

Answer = Mapping[str, Any]
"""One match as DICOM JSON."""

STUDY_FIELDS = ("StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
"""What is asked for beyond what every archive gives (PS3.18 10.6.3)."""
SERIES_FIELDS = (
    "SeriesDescription",
    "BodyPartExamined",
    "Manufacturer",
    "StationName",
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True, slots=True)
class ArchivedStudy:
    """A study as the archive lists it; empty where it does not say, counts None where it does not count."""

    study_uid: str
    patient_id: str
    patient_name: str
    date: str
    time: str
    accession: str
    description: str
    modalities: tuple[str, ...]
    series_count: int | None
    instance_count: int | None


@dataclass(frozen=True, slots=True)
class ArchivedSeries:
    """A series as the archive lists it; empty where it does not say, the count None where it does not count."""

    study_uid: str
    series_uid: str
    modality: str
    number: str
    description: str
    body_part: str
    manufacturer: str
    station: str
    instance_count: int | None


@dataclass(frozen=True, slots=True)
class ArchivedInstance:
    """One object of a series."""

    sop_class: str
    sop_instance: str
    number: str


def one_patient(patient_id: str) -> str:
    """The patient's number as it is asked for. Raises InputError where it is empty or would match others too."""
    wanted = patient_id.strip()
    if not wanted or set(wanted) & _WILDCARDS:
        raise InputError(
            "name the patient by the whole number that the archive knows; an empty one, or one with * ? or \\, would "
            "match other patients"
        )
    return wanted


def study_of(answer: Answer) -> ArchivedStudy:
    """The study that a match describes."""
    return ArchivedStudy(
        study_uid=said(answer, "StudyInstanceUID"),
        patient_id=said(answer, "PatientID"),
        patient_name=said(answer, "PatientName"),
        date=said(answer, "StudyDate"),
        time=said(answer, "StudyTime"),
        accession=said(answer, "AccessionNumber"),
        description=said(answer, "StudyDescription"),
        modalities=all_said(answer, "ModalitiesInStudy"),
        series_count=_count(answer, "NumberOfStudyRelatedSeries"),
        instance_count=_count(answer, "NumberOfStudyRelatedInstances"),
    )


def series_of(answer: Answer, study_uid: str) -> ArchivedSeries:
    """The series that a match describes."""
    return ArchivedSeries(
        study_uid=study_uid,
        series_uid=said(answer, "SeriesInstanceUID"),
        modality=said(answer, "Modality"),
        number=said(answer, "SeriesNumber"),
        description=said(answer, "SeriesDescription"),
        body_part=said(answer, "BodyPartExamined"),
        manufacturer=said(answer, "Manufacturer"),
        station=said(answer, "StationName"),
        instance_count=_count(answer, "NumberOfSeriesRelatedInstances"),
    )


def instance_of(answer: Answer) -> ArchivedInstance:
    """The object that a match describes."""
    return ArchivedInstance(
        sop_class=said(answer, "SOPClassUID"),
        sop_instance=said(answer, "SOPInstanceUID"),
        number=said(answer, "InstanceNumber"),
    )


def said(answer: Answer, keyword: str) -> str:
    """The first value of an element as text; empty where there is none."""
    return next(iter(all_said(answer, keyword)), "")


def all_said(answer: Answer, keyword: str) -> tuple[str, ...]:
    """Every value of an element as text; a person's name by its first group of components (PS3.18 F.2.2)."""
    element = answer.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, Mapping) else None
    if not isinstance(values, list):
        return ()
    named = [next(iter(value.values()), "") if isinstance(value, Mapping) else value for value in values]
    return tuple(str(value).strip() for value in named if value is not None)


def items(answer: Answer, keyword: str) -> list[Answer]:
    """The items of a sequence; none where it is absent."""
    element = answer.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, Mapping) else None
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _count(answer: Answer, keyword: str) -> int | None:
    text = said(answer, keyword)
    return int(text) if text.isdigit() else None
