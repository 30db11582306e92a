"""Scans out of an archive that speaks DICOMweb: what it holds of a patient, and one series of it taken in."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medseg.core.errors import InputError
from medseg.exchange.dicom.network.web.answers import ArchivedSeries, ArchivedStudy
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


def find_in_archive(archive: WebArchiveConfig, patient_id: str, date: str = "") -> tuple[FoundStudy, ...]:
    """The studies of a patient, of one day where a date (20261126) is given, in the archive's order.

    Raises InputError where no patient is named, UnreachableError where the archive does not answer.
    """
    if not patient_id.strip("* ?"):
        raise InputError("name the patient by the ID that the archive knows; an archive is not listed as a whole")
    wanted = StudyFilter(patient_id=patient_id.strip(), first_date=date.strip(), last_date=date.strip())
    with WebArchive(archive) as web:
        studies = tuple(web.studies(wanted, MOST_STUDIES))
        return tuple(FoundStudy(study, web.series(study.study_uid)) for study in studies)


def fetch_from_archive(
    archive: WebArchiveConfig, study_uid: str, series_uid: str, into: Path, name: str, progress: Progress = silent
) -> TakenIn:
    """One series, fetched, read whole, and moved into a new folder below `into`; nothing is kept where it cannot be.

    `progress` hears how many of its images were fetched, then how many were read. Raises InputError where the
    series cannot be shown, UnreachableError where the archive does not answer.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".arriving-", dir=into) as place:
        arrived = Path(place) / "series"
        with WebArchive(archive) as web:
            web.fetch_series(study_uid, series_uid, arrived, partial(progress, "fetching"))
        return take_in_scans(arrived, into, name, progress)
