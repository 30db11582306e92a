"""Delivery: results into the archives that a route names, each object once, and asked for until it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError, NoEntryError, UnreachableError
from medseg.exchange.dicom.identifiers import without_identifiers
from medseg.exchange.dicom.network.dimse.commitment import CommitmentInbox
from medseg.exchange.dicom.network.dimse.sender import send
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.dicom.network.web.objects import uids_of
from medseg.settings.model import DimseDestination, Settings
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places

_STORING = "storing"


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many objects were new to a destination, and whether it said that it keeps them: lists them, or committed."""

    new: int
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """The objects of one job on their way out."""

    settings: Settings
    places: Places
    ledger: Ledger
    job_id: str

    def to(self, name: str, files: Sequence[Path]) -> Delivered:
        """Store files in the destination of that name.

        Raises UnreachableError where it cannot take them now, InputError where it never will.
        """
        destination = self._destination(name)
        uids = [uids_of(file) for file in files]
        noted = [(sop, series, file.stem) for (_, series, sop), file in zip(uids, files, strict=True)]
        self.ledger.sending(self.job_id, name, noted)
        try:
            delivered = self._delivered(destination, files)
        except NoEntryError as error:
            self.ledger.note_to_mend(name, _STORING, without_identifiers(str(error)))
            raise
        self.ledger.note_to_mend(name, _STORING, "")
        if delivered.is_confirmed:
            self.ledger.stored(self.job_id, name)
        return delivered

    def _delivered(self, destination: WebArchiveConfig | DimseDestination, files: Sequence[Path]) -> Delivered:
        if isinstance(destination, DimseDestination):
            return self._sent(destination, files)
        with WebArchive(destination) as archive:
            return Delivered(sum(not stored.was_there for stored in archive.store(files)), is_confirmed=True)

    def _destination(self, name: str) -> WebArchiveConfig | DimseDestination:
        if name == "archive" and self.settings.archive is not None:
            return self.settings.archive
        for destination in self.settings.destinations:
            if destination.name == name:
                return destination
        raise InputError(
            f"the destination {name} is no longer in medseg.toml. Put it back, or release the job to another."
        )

    def _sent(self, destination: DimseDestination, files: Sequence[Path]) -> Delivered:
        """By C-STORE; that the archive keeps them it must say itself, where it can."""
        folder = self.settings.listener.spool if self.settings.listener else self.places.state
        sent = send(files, destination, self.settings.dimse, CommitmentInbox(folder))
        if any(one.commitment == "no answer" for one in sent):
            raise UnreachableError(f"{destination.name} took the objects and did not say that it keeps them")
        return Delivered(len(sent), is_confirmed=all(one.commitment == "kept" for one in sent))
