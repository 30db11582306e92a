"""Listener: takes images by C-STORE into the spool, answers C-ECHO, and hears what an archive has committed itself to.

What each answer means (PS3.4 B.2.3): 0x0000 the image is on the disk; 0xA700 no room now, try again later; 0xA900 the
data are not what the message said; 0xC000 they cannot be read; 0x0124 not for this sender.
"""

from __future__ import annotations

import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_RELEASE

from medseg.core.errors import InputError
from medseg.exchange.dicom.elements import lenient, text
from medseg.exchange.dicom.files import read_dataset, sop_class, sop_instance
from medseg.exchange.dicom.network.dimse.commitment import CommitmentInbox
from medseg.exchange.dicom.network.dimse.config import ListenerConfig
from medseg.exchange.dicom.network.dimse.contexts import accepted_contexts
from medseg.exchange.dicom.network.dimse.receiving.bounds import BoundedMessages, BoundedServer, bounded_entity
from medseg.exchange.dicom.network.dimse.receiving.spool import Spool, SpooledImage

SUCCESS, NOT_AUTHORIZED = 0x0000, 0x0124
OUT_OF_RESOURCES, DOES_NOT_MATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000

_UNKNOWN_CALLER = (0x01, 0x01, 0x03)
_UNKNOWN_CALLED = (0x01, 0x01, 0x07)
_TOO_MANY = (0x02, 0x03, 0x02)
_NOT_NOW = (0x02, 0x03, 0x01)
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

_FORGOTTEN = 3.0
"""How many times the longest silence a received file may lie untouched: its association is gone for long."""

Tell = Callable[[str, dict[str, str | int]], None]
"""Hears what happens: an event and its facts, none of which names a patient."""


@dataclass(slots=True)
class _Arrivals:
    """What one association has stored so far."""

    sender: str
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    keys: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    stored: int = 0
    is_released: bool = False


class Listener:
    """The C-STORE listener; use it as a context manager. `port` is the one it really has.

    Raises InputError where the address cannot be had or the TLS files cannot be used.
    """

    def __init__(self, config: ListenerConfig, tell: Tell) -> None:
        self._config = config
        self._tell = tell
        self._spool = Spool(config.spool, config.limits)
        self._inbox = CommitmentInbox(config.spool)
        self._open: dict[Association, _Arrivals] = {}
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None
        self._usual_folder: str | None = None

    def __enter__(self) -> Self:
        self._spool.begin()
        self._server = self._bound(bounded_entity(self._config))
        self._usual_folder, tempfile.tempdir = tempfile.tempdir, str(self._spool.incoming)  # where pynetdicom writes
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            for association in self._server.active_associations:
                association.abort()
            self._server.shutdown()
            tempfile.tempdir = self._usual_folder

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the listener does not run")
        return int(self._server.server_address[1])

    def _bound(self, entity: AE) -> BoundedServer:
        handlers: list[tuple[Any, Callable[[Any], Any]]] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_EVENT_REPORT, self._on_commitment),
            (evt.EVT_ACSE_RECV, self._on_acse),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        try:
            return BoundedServer(
                entity, self._config, accepted_contexts(), handlers, lambda: self._tell("connection refused", {})
            )
        except OSError as error:
            raise InputError(
                f"the listener cannot listen at {self._config.host}:{self._config.port} ({error.strerror}). "
                "Is another one running? Choose another port."
            ) from error

    def _on_requested(self, event: Any) -> None:
        try:
            self._close_lost()
            reason = self._reason_to_reject(event.assoc)
        except Exception:  # noqa: BLE001 - pynetdicom would go on, and accept whoever it is
            reason = _NOT_NOW
        if reason is not None:
            event.assoc.acse.send_reject(*reason)
            event.assoc.is_rejected = True
            event.assoc.kill()
            self._tell("association rejected", {"reason": reason[2], "source": reason[1]})

    def _reason_to_reject(self, association: Association) -> tuple[int, int, int] | None:
        request: Any = association.requestor.primitive
        allowed = {sender.ae_title for sender in self._config.senders_at(association.requestor.address)}
        if request.calling_ae_title.strip() not in allowed:
            return _UNKNOWN_CALLER
        if request.called_ae_title.strip() != self._config.ae_title:
            return _UNKNOWN_CALLED
        if self._server is not None and self._server.established() >= self._config.most_associations:
            return _TOO_MANY
        with self._lock:
            self._open[association] = _Arrivals(request.calling_ae_title.strip())
        return None

    def _on_echo(self, event: Any) -> int:
        self._tell("echo", {"sender": self._arrivals(event.assoc).sender})
        return SUCCESS

    def _on_store(self, event: Any) -> int:
        arrivals = self._arrivals(event.assoc)
        try:
            status, key = self._store(event, arrivals)
        except (OSError, MemoryError):
            status, key = OUT_OF_RESOURCES, ""
        with self._lock:
            is_over = event.assoc not in self._open
        if is_over:  # the connection broke while this image, its last, was being kept
            self._spool.close(arrivals.name, arrivals.keys, arrivals.keys)
        if status == SUCCESS:
            arrivals.stored += 1
            return status
        arrivals.refused |= {key} if key else arrivals.keys
        self._tell("image refused", {"status": f"0x{status:04X}", "sender": arrivals.sender, "series": key})
        return status

    def _store(self, event: Any, arrivals: _Arrivals) -> tuple[int, str]:
        """The status to answer, and the series it belongs to; empty where that cannot be told."""
        request = event.request
        if request._dataset_file is None:
            return CANNOT_UNDERSTAND, ""
        request._dataset_file.close()
        received = Path(request._dataset_file.name)  # pynetdicom removes it, unless it was moved away
        try:
            with lenient():
                header = read_dataset(received)
                image = _image(header)
        except InputError:
            return CANNOT_UNDERSTAND, ""
        told = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        if told != (sop_class(header), image.instance_uid) or told[0] != event.context.abstract_syntax:
            return DOES_NOT_MATCH, image.key
        if not self._spool.has_room(received.stat().st_size):
            return OUT_OF_RESOURCES, image.key
        self._spool.keep(received, image, arrivals.name)
        arrivals.keys.add(image.key)
        return SUCCESS, image.key

    def _on_commitment(self, event: Any) -> tuple[int, None]:
        with lenient():
            is_known = self._inbox.keep(event.event_information)
        self._tell("commitment reported", {"known": int(is_known)})
        return (SUCCESS if is_known else 0x0110), None

    def _on_acse(self, event: Any) -> None:
        if isinstance(event.primitive, A_RELEASE) and event.primitive.result is None:
            self._arrivals(event.assoc).is_released = True

    def _on_closed(self, event: Any) -> None:
        self._close(event.assoc)

    def _close_lost(self) -> None:
        """Close associations whose threads died without saying so, and remove what such ones left."""
        self._spool.discard_forgotten(_FORGOTTEN * self._config.silence_s)
        with self._lock:
            lost = [association for association in self._open if association.ident and not association.is_alive()]
        for association in lost:
            self._close(association)

    def _close(self, association: Association) -> None:
        if isinstance(association.dimse, BoundedMessages):
            association.dimse.discard_unfinished()
        with self._lock:
            arrivals = self._open.pop(association, None)
        if arrivals is None:
            return
        broken = arrivals.refused if arrivals.is_released else arrivals.refused | arrivals.keys
        self._spool.close(arrivals.name, arrivals.keys, broken)
        if arrivals.keys or broken:
            facts: dict[str, str | int] = {
                "sender": arrivals.sender,
                "images": arrivals.stored,
                "series": len(arrivals.keys),
            }
            self._tell("received" if not broken else "broken off", facts)

    def _arrivals(self, association: Association) -> _Arrivals:
        with self._lock:
            return self._open[association]


def _image(header: Dataset) -> SpooledImage:
    study, series, instance = text(header, "StudyInstanceUID"), text(header, "SeriesInstanceUID"), sop_instance(header)
    if not (study and series and instance):
        raise InputError("the image does not say to which study and series it belongs")
    return SpooledImage(study, series, instance)
