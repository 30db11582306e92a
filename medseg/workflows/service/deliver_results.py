"""Delivery: results into the archives that a route names, each object once, and asked for until it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.network.dimse.commitment import CommitmentInbox
from medseg.exchange.dicom.network.dimse.sender import send
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.exchange.dicom.network.web.objects import uids_of
from medseg.settings.model import DimseDestination, Settings
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places


@dataclass(frozen=True, slots=True)
class Delivery:
    """The objects of one job on their way out."""

    settings: Settings
    places: Places
    ledger: Ledger
    job_id: str

    def to(self, name: str, files: Sequence[Path]) -> int:
        """Store files in the destination of that name; how many were new there.

        Raises UnreachableError where it cannot take them now, InputError where it never will.
        """
        destination = self._destination(name)
        uids = [uids_of(file) for file in files]
        noted = [(sop, series, file.stem) for (_, series, sop), file in zip(uids, files, strict=True)]
        self.ledger.sending(self.job_id, name, noted)
        if isinstance(destination, DimseDestination):
            new = self._sent(destination, files)
        else:
            with WebArchive(destination) as archive:
                new = sum(not stored.was_there for stored in archive.store(files))
        self.ledger.stored(self.job_id, name)
        return new

    def _destination(self, name: str) -> WebArchiveConfig | DimseDestination:
        if name == "archive" and self.settings.archive is not None:
            return self.settings.archive
        for destination in self.settings.destinations:
            if destination.name == name:
                return destination
        raise InputError(
            f"the destination {name} is no longer in medseg.toml. Put it back, or release the job to another."
        )

    def _sent(self, destination: DimseDestination, files: Sequence[Path]) -> int:
        """By C-STORE; that the archive keeps them it must say itself, where it can."""
        folder = self.settings.listener.spool if self.settings.listener else self.places.state
        sent = send(files, destination, self.settings.dimse, CommitmentInbox(folder))
        if any(one.commitment == "no answer" for one in sent):
            raise UnreachableError(f"{destination.name} took the objects and did not say that it keeps them")
        return len(sent)
