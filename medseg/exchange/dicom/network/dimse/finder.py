"""C-FIND and C-MOVE (PS3.4 C): what an archive has of a patient, how many images of a series, and to have them sent."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when the module is loaded
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.network.dimse.client import SUCCESS, associated, named
from medseg.exchange.dicom.network.dimse.config import AeTitle, ClientSettings, DimseNode
from medseg.exchange.dicom.network.web.answers import ArchivedSeries, ArchivedStudy, one_patient

_PENDING = frozenset((0xFF00, 0xFF01))
_DESTINATION_UNKNOWN = 0xA801
_STUDY_KEYS = (
    "StudyInstanceUID",
    "PatientName",
    "StudyTime",
    "AccessionNumber",
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
_SERIES_KEYS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
    "Manufacturer",
    "StationName",
    "NumberOfSeriesRelatedInstances",
)


def find_studies(
    node: DimseNode, patient_id: str, settings: ClientSettings | None = None, *, date: str = ""
) -> tuple[ArchivedStudy, ...]:
    """The studies of a patient in the archive, of one day where a date (20261126) is given.

    Raises InputError for a patient number that would match others too, UnreachableError where the archive fails.
    """
    wanted = one_patient(patient_id)
    keys = _keys("STUDY", PatientID=wanted, StudyDate=date, **dict.fromkeys(_STUDY_KEYS, ""))
    found = (_study(answer) for answer in _query(node, keys, settings))
    return tuple(study for study in found if study.patient_id == wanted)


def find_series(
    node: DimseNode, patient_id: str, settings: ClientSettings | None = None, *, modality: str = ""
) -> tuple[ArchivedSeries, ...]:
    """The series of a patient in the archive, such as priors, of one modality or of all.

    Raises what `find_studies` raises.
    """
    studies = find_studies(node, patient_id, settings)
    found = [one for study in studies for one in series_of_study(node, study.study_uid, settings)]
    return tuple(one for one in found if modality in ("", one.modality))


def series_of_study(
    node: DimseNode, study_uid: str, settings: ClientSettings | None = None
) -> tuple[ArchivedSeries, ...]:
    """The series of a study. Raises UnreachableError where the archive fails."""
    keys = _keys("SERIES", StudyInstanceUID=study_uid, **dict.fromkeys(_SERIES_KEYS, ""))
    return tuple(_series(answer, study_uid) for answer in _query(node, keys, settings))


def count_images(
    node: DimseNode, study_uid: str, series_uid: str, settings: ClientSettings | None = None
) -> int | None:
    """How many images the archive has of a series; None where it does not have it.

    Archives need not count (PS3.4 C.3.4): then the images themselves are listed.
    """
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
    answers = _query(node, _keys("SERIES", **keys, NumberOfSeriesRelatedInstances=""), settings)
    if not answers:
        return None
    said = text(answers[0], "NumberOfSeriesRelatedInstances")
    return int(said) if said.isdigit() else len(_query(node, _keys("IMAGE", **keys, SOPInstanceUID=""), settings))


def move_series(
    node: DimseNode, study_uid: str, series_uid: str, destination: AeTitle, settings: ClientSettings | None = None
) -> int:
    """Have the archive send a series to a node that it knows, such as our own listener; how many images it sent.

    Raises InputError where it does not know the destination, UnreachableError where it sent less than all.
    """
    keys = _keys("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
    model = StudyRootQueryRetrieveInformationModelMove
    last = Dataset()
    with associated(node, [build_context(model)], settings or ClientSettings()) as association, lenient():
        for status, _ in association.send_c_move(keys, destination, model):
            last = status
    code = last.get("Status")
    if code == _DESTINATION_UNKNOWN:
        raise InputError(f"{named(node)} does not know {destination}. Have our AE title and address registered there.")
    if code != SUCCESS or last.get("NumberOfFailedSuboperations"):
        said = "no answer" if code is None else f"0x{code:04X}"
        raise UnreachableError(f"{named(node)} did not send the series to {destination} ({said}).")
    return int(last.get("NumberOfCompletedSuboperations") or 0)


def _query(node: DimseNode, keys: Dataset, settings: ClientSettings | None) -> list[Dataset]:
    model = StudyRootQueryRetrieveInformationModelFind
    found: list[Dataset] = []
    with associated(node, [build_context(model)], settings or ClientSettings()) as association, lenient():
        for status, answer in association.send_c_find(keys, model):
            code = status.get("Status")
            if code in _PENDING and answer is not None:
                found.append(answer)
            elif code != SUCCESS:
                said = "it broke off" if code is None else f"0x{code:04X}"
                raise UnreachableError(f"{named(node)} did not answer a query ({said}).")
    return found


def _keys(level: str, **keys: str) -> Dataset:
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    return query


def _study(answer: Dataset) -> ArchivedStudy:
    return ArchivedStudy(
        study_uid=text(answer, "StudyInstanceUID"),
        patient_id=text(answer, "PatientID"),
        patient_name=text(answer, "PatientName"),
        date=text(answer, "StudyDate"),
        time=text(answer, "StudyTime"),
        accession=text(answer, "AccessionNumber"),
        description=text(answer, "StudyDescription"),
        modalities=tuple(text(answer, "ModalitiesInStudy").split("\\")),
        series_count=_count(answer, "NumberOfStudyRelatedSeries"),
        instance_count=_count(answer, "NumberOfStudyRelatedInstances"),
    )


def _series(answer: Dataset, study_uid: str) -> ArchivedSeries:
    return ArchivedSeries(
        study_uid=study_uid,
        series_uid=text(answer, "SeriesInstanceUID"),
        modality=text(answer, "Modality"),
        number=text(answer, "SeriesNumber"),
        description=text(answer, "SeriesDescription"),
        body_part=text(answer, "BodyPartExamined"),
        manufacturer=text(answer, "Manufacturer"),
        station=text(answer, "StationName"),
        instance_count=_count(answer, "NumberOfSeriesRelatedInstances"),
    )


def _count(answer: Dataset, keyword: str) -> int | None:
    said = text(answer, keyword)
    return int(said) if said.isdigit() else None
