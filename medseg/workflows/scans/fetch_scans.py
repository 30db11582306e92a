"""Scans out of an archive that speaks DICOMweb: what it holds of a patient, and one series of it taken in."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medseg.core.atomic import UNFINISHED_PREFIX
from medseg.exchange.dicom.network.web.answers import ArchivedSeries, ArchivedStudy, one_patient
from medseg.exchange.dicom.network.web.archive import StudyFilter, WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.workflows.progress import Progress, silent
from medseg.workflows.scans.take_in_scans import TakenIn, take_in_scans

MOST_STUDIES = 50
"""Studies that are listed; who wants fewer asks more narrowly."""


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study in an archive with its series."""

    study: ArchivedStudy
    series: tuple[ArchivedSeries, ...]


@dataclass(frozen=True, slots=True)
class FoundStudies:
    """The studies of a patient; `is_cut` where the archive lists more than `MOST_STUDIES`, of which these are some."""

    studies: tuple[FoundStudy, ...]
    is_cut: bool = False


def find_in_archive(archive: WebArchiveConfig, patient_id: str, date: str = "") -> FoundStudies:
    """The studies of exactly that patient, of one day where a date (20261126) is given, in the archive's order.

    Some archives match more than they are asked for, such as another case or a part of the number; those studies are
    dropped. Raises InputError where the number is empty or would match others, UnreachableError where the archive does
    not answer.
    """
    number = one_patient(patient_id)
    wanted = StudyFilter(patient_id=number, first_date=date.strip(), last_date=date.strip())
    with WebArchive(archive) as web:
        listed = tuple(web.studies(wanted, MOST_STUDIES + 1))
        theirs = [study for study in listed[:MOST_STUDIES] if study.patient_id == number]
        found = tuple(FoundStudy(study, web.series(study.study_uid)) for study in theirs)
    return FoundStudies(found, is_cut=len(listed) > MOST_STUDIES)


def fetch_from_archive(
    archive: WebArchiveConfig, study_uid: str, series_uid: str, into: Path, name: str, progress: Progress = silent
) -> TakenIn:
    """One series, fetched, read whole, and moved into a new folder below `into`; nothing is kept where it cannot be.

    `progress` hears how many of its images were fetched, then how many were read. Raises InputError where the
    series cannot be shown, UnreachableError where the archive does not answer.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED_PREFIX, dir=into) as place:
        arrived = Path(place) / "series"
        with WebArchive(archive) as web:
            web.fetch_series(study_uid, series_uid, arrived, partial(progress, "fetching"))
        return take_in_scans(arrived, into, name, progress)
