"""WebArchive: an archive by DICOMweb: find studies and series, fetch a series to a folder, store for certain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dicomweb_client import DICOMwebClient

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.network.web.answers import (
    SERIES_FIELDS,
    STUDY_FIELDS,
    Answer,
    ArchivedInstance,
    ArchivedSeries,
    ArchivedStudy,
    instance_of,
    said,
    series_of,
    study_of,
)
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.dicom.network.web.connection import Connection, NotThereError
from medseg.exchange.dicom.network.web.objects import SeriesFolder, StoredObject, send_object, uids_of

PAGE = 500
"""Matches that are asked for at once; an archive may give fewer."""

_LOOKS = 6
"""How often a stored object is asked for: archives list it at once or some seconds later."""


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies are asked for; empty where it does not matter. Dates as 20261126, names with * as DICOM matches."""

    study_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""
    modality: str = ""
    first_date: str = ""
    last_date: str = ""

    @property
    def matching(self) -> dict[str, str]:
        """The keys of the query (PS3.18 8.3.4)."""
        dates = f"{self.first_date}-{self.last_date}" if self.first_date or self.last_date else ""
        keys = {
            "StudyInstanceUID": self.study_uid,
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "AccessionNumber": self.accession,
            "ModalitiesInStudy": self.modality,
            "StudyDate": dates,
        }
        return {key: value for key, value in keys.items() if value}


class WebArchive:
    """One archive. Belongs to one thread; use it as a context manager, or close it.

    Every call raises UnreachableError where the archive does not answer or does not let us in, InputError where it
    refuses or what it sends cannot be used.
    """

    def __init__(self, config: WebArchiveConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._connection = Connection(config, sleep)
        self._sleep = sleep
        timeout_s = config.timeout_s
        try:
            self._client = DICOMwebClient(config.url, session=self._connection.session, timeout=timeout_s)
        except ValueError as error:
            raise InputError(f"archive.url is {config.url}, which cannot be used: {error}") from error
        self._client.set_http_retry_params(retry=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._connection.close()

    def studies(self, wanted: StudyFilter | None = None, most: int | None = None) -> Iterator[ArchivedStudy]:
        """The studies that match, in the archive's order, asked for in pages; at most so many."""
        keys = (wanted or StudyFilter()).matching
        for answer in self._pages("list its studies", self._client.search_for_studies, keys, STUDY_FIELDS, most):
            found = study_of(answer)
            if found.study_uid:
                yield found

    def series(self, study_uid: str) -> tuple[ArchivedSeries, ...]:
        """The series of a study."""
        answers = self._pages("list the series", self._client.search_for_series, {}, SERIES_FIELDS, None, study_uid)
        found = (series_of(answer, study_uid) for answer in answers)
        return tuple(one for one in found if one.series_uid)

    def instances(self, study_uid: str, series_uid: str, most: int | None = None) -> tuple[ArchivedInstance, ...]:
        """The objects of a series, by InstanceNumber; at most so many."""
        search = self._client.search_for_instances
        answers = self._pages("list the images", search, {}, (), most, study_uid, series_uid)
        found = {one.sop_instance: one for one in map(instance_of, answers) if one.sop_instance}
        return tuple(sorted(found.values(), key=lambda one: (len(one.number), one.number, one.sop_instance)))

    def header(self, study_uid: str, series_uid: str, sop_instance: str) -> Answer:
        """The header of one object as DICOM JSON, without its pixels."""
        ask = self._client.retrieve_instance_metadata
        found = self._asked("give a header", lambda: ask(study_uid, series_uid, sop_instance))
        return found if isinstance(found, Mapping) else {}

    def fetch_series(
        self, study_uid: str, series_uid: str, folder: Path, on_object: Callable[[int, int], None] | None = None
    ) -> tuple[ArchivedInstance, ...]:
        """The objects of a series, each now a file of a new folder, which appears whole or not at all.

        No object is held in memory. `on_object` hears how many of how many are there. Raises InputError where the
        series has more objects or bytes than the config allows or none, or one is not what was asked for.
        """
        most = self.config.most_instances
        wanted = self.instances(study_uid, series_uid, most + 1)
        if len(wanted) > most:
            raise InputError(f"the series has more than {most} images (archive.most_instances), and was not fetched")
        if not wanted:
            raise InputError("the archive lists no images in the series; was it removed?")
        with whole_folder(folder) as unfinished:
            uids = [one.sop_instance for one in wanted]
            SeriesFolder(self._connection, study_uid, series_uid, uids, unfinished).fill(on_object)
        return wanted

    def store(self, files: Sequence[Path]) -> tuple[StoredObject, ...]:
        """Store DICOM files, one after the other, and ask for each until the archive lists it.

        One that the archive has already is not sent again. Raises InputError where one is refused, UnreachableError
        where it was taken and is not listed.
        """
        return tuple(self._store(file) for file in files)

    def _store(self, file: Path) -> StoredObject:
        study_uid, series_uid, sop_instance = uids_of(file)
        if self.holds(study_uid, series_uid, sop_instance):
            return StoredObject(study_uid, series_uid, sop_instance, was_there=True)
        send_object(self._connection, file, study_uid)
        for number in range(_LOOKS):
            if self.holds(study_uid, series_uid, sop_instance):
                return StoredObject(study_uid, series_uid, sop_instance, was_there=False)
            self._sleep(self.config.pause_s * 2**number)
        raise UnreachableError(f"the archive {self.config.url} took an object and does not list it")

    def holds(self, study_uid: str, series_uid: str, sop_instance: str) -> bool:
        """Whether the archive lists an object of these UIDs."""
        keys = {"SOPInstanceUID": sop_instance}
        try:
            found = list(
                self._pages("list an object", self._client.search_for_instances, keys, (), None, study_uid, series_uid)
            )
        except NotThereError:
            return False
        return any(said(answer, "SOPInstanceUID") == sop_instance for answer in found)

    def _pages(
        self,
        what: str,
        search: Callable[..., list[Any]],
        keys: Mapping[str, str],
        fields: Sequence[str],
        most: int | None,
        *uids: str,
    ) -> Iterator[Answer]:
        """Every match, page by page until one is empty: archives give fewer than asked for as they please."""
        seen = 0
        first: Answer | None = None
        while most is None or seen < most:
            limit = PAGE if most is None else min(PAGE, most - seen)

            def ask(limit: int = limit, offset: int = seen) -> list[Any]:
                return search(
                    *uids, limit=limit, offset=offset, fields=list(fields) or None, search_filters=dict(keys) or None
                )

            page = [answer for answer in self._asked(what, ask) if isinstance(answer, Mapping)]
            if not page or page[0] == first:  # an archive that knows no offset gives the first page for ever
                return
            first = first or page[0]
            yield from page[: None if most is None else most - seen]
            seen += len(page)

    def _asked(self, what: str, ask: Callable[[], Any]) -> Any:
        try:
            return self._connection.tried(what, ask)
        except (ValueError, LookupError):  # of dicomweb-client: a UID that is none, an answer without content
            raise InputError(
                f"the archive could not be asked to {what}: a UID is not valid, or it said nothing"
            ) from None
