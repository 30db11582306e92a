"""send: store objects in an archive by C-STORE, and ask it to commit itself to them.

That a C-STORE was answered with success does not mean that the object is kept: storage commitment (PS3.4 J) or a query
does. What may pass (no connection, an archive that is full) is tried again with growing pauses; what would be refused
again is an InputError.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when the module is loaded
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.elements import lenient
from medseg.exchange.dicom.files import read_dataset, sop_class, sop_instance
from medseg.exchange.dicom.network.dimse.client import SUCCESS, associated, named
from medseg.exchange.dicom.network.dimse.commitment import CommitmentInbox, Report
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode
from medseg.exchange.dicom.network.dimse.contexts import proposed_contexts

Commitment = Literal["kept", "no answer", "not offered", "not asked"]

_WARNINGS = frozenset((0xB000, 0xB006, 0xB007))
"""Stored, with elements changed or left out (PS3.4 B.2.3)."""
_PROCESSING_FAILURE = 0x0110
_ASK_COMMITMENT = 1
"""The action type of a request for storage commitment (PS3.4 J.3.2)."""
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class SentObject:
    """An object that the archive took; "kept" where it has committed itself to it."""

    sop_class: str
    sop_instance: str
    path: Path
    commitment: Commitment = "not asked"


def send(
    files: Sequence[Path],
    node: DimseNode,
    settings: ClientSettings | None = None,
    inbox: CommitmentInbox | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[SentObject, ...]:
    """Store files in an archive; with an inbox ask for storage commitment and wait `commitment_s` for the report.

    Sending again what is there changes nothing in a sound archive. Raises InputError where a file is no DICOM or is
    refused for good, UnreachableError where the archive did not take all of them in `tries` tries.
    """
    settings = settings or ClientSettings()
    sending = _Sending(files, node, settings, inbox)
    reason = ""
    for number in range(settings.tries):
        if number:
            sleep(min(_LONGEST_PAUSE_S, settings.pause_s * 2.0 ** (number - 1)) * random.uniform(0.5, 1.0))
        try:
            return sending.tried()
        except UnreachableError as error:
            reason = str(error)
    raise UnreachableError(f"{reason} ({settings.tries} tries)")


class _Sending:
    """What of a delivery is still to be sent."""

    def __init__(
        self, files: Sequence[Path], node: DimseNode, settings: ClientSettings, inbox: CommitmentInbox | None
    ) -> None:
        self._objects = [_object(file) for file in files]
        self._left = list(self._objects)
        self._contexts = proposed_contexts(files)
        self._node = node
        self._settings = settings
        self._inbox = inbox

    def tried(self) -> tuple[SentObject, ...]:
        """Send what is left, and ask for commitment. Raises UnreachableError where it may work later."""
        handlers = [(evt.EVT_N_EVENT_REPORT, self._on_report)]
        with associated(self._node, self._contexts, self._settings, handlers) as association:
            for one in list(self._left):
                self._store(association, one)
                self._left.remove(one)
            outcome = self._commitment(association)
        return tuple(replace(one, commitment=outcome) for one in self._objects)

    def _store(self, association: Association, one: SentObject) -> None:
        try:
            with lenient():
                status = association.send_c_store(one.path).get("Status")
        except ValueError:  # no context was accepted for it
            raise InputError(f"{named(self._node)} does not accept objects of the kind of {one.path.name}.") from None
        except RuntimeError:  # the association ended before
            status = None
        if status is None:
            raise UnreachableError(f"{named(self._node)} broke off while {one.path.name} was sent.")
        if status == SUCCESS or status in _WARNINGS:
            return
        if status & 0xFF00 == 0xA700 or status == _PROCESSING_FAILURE:
            raise UnreachableError(f"{named(self._node)} has no room, or cannot now (0x{status:04X}).")
        raise InputError(
            f"{named(self._node)} refuses {one.path.name} (0x{status:04X}). Let it accept this kind of object, or send "
            "it elsewhere."
        )

    def _commitment(self, association: Association) -> Commitment:
        if self._inbox is None:
            return "not asked"
        if not any(one.abstract_syntax == StorageCommitmentPushModel for one in association.accepted_contexts):
            return "not offered"
        transaction = self._inbox.ask()
        status, _ = association.send_n_action(
            _request(transaction, self._objects),
            _ASK_COMMITMENT,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        if status.get("Status") != SUCCESS:
            self._inbox.close(transaction)
            return "not offered"
        report = self._inbox.wait(transaction, self._settings.commitment_s)
        self._inbox.close(transaction)
        return self._judged(report)

    def _judged(self, report: Report | None) -> Commitment:
        """Raises UnreachableError where something was lost, which is then sent again."""
        if report is None:
            return "no answer"
        self._left = [one for one in self._objects if one.sop_instance not in report.stored]
        if self._left:
            codes = ", ".join(sorted({f"0x{code:04X}" for code in report.failed.values()})) or "it does not say why"
            raise UnreachableError(
                f"{named(self._node)} does not keep {len(self._left)} of {len(self._objects)} objects ({codes})."
            )
        return "kept"

    def _on_report(self, event: Any) -> tuple[int, None]:
        """The report, where the archive gives it within the association that asked."""
        with lenient():
            is_known = self._inbox is not None and self._inbox.keep(event.event_information)
        return (SUCCESS if is_known else _PROCESSING_FAILURE), None


def _object(path: Path) -> SentObject:
    header = read_dataset(path)
    return SentObject(sop_class(header), sop_instance(header), path)


def _request(transaction: str, objects: Sequence[SentObject]) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [_reference(one) for one in objects]
    return request


def _reference(one: SentObject) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.sop_instance
    return item
