"""A server of pynetdicom that cannot be held or filled: every connection has a deadline, every length a limit.

pynetdicom alone believes any length that a PDU announces, waits for ever for a socket that says nothing more, shakes
hands for TLS while nobody else is heard, and counts silent connections as associations.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from medseg.exchange.dicom.network.dimse.config import ListenerConfig
from medseg.exchange.dicom.network.dimse.tls import server_context
from medseg.exchange.dicom.writing.elements import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

MOST_ASSOCIATE_BYTES = 256 << 10
"""No honest request for an association is longer: 128 contexts with 20 transfer syntaxes each have 80 kB."""

MOST_COMMAND_BYTES = 64 << 10
"""A command set (PS3.7 6.3) has some hundred bytes."""

MOST_WAITING_MESSAGES = 4
"""Messages of one association that are not yet answered; asynchronous operations are not negotiated."""

_BACKLOG = 64
_ESTABLISHED = "Sta6"
"""pynetdicom's name for PS3.8's state of an association that is open (9.2.1)."""
_INVALID_PDU = "Evt19"
"""pynetdicom's name for PS3.8's event of an unrecognized or invalid PDU; the state machine aborts on it."""


class BoundedSocket(AssociationSocket):
    """Reads no PDU that is longer than agreed, or takes longer than `silence_s` to come.

    Before an association is agreed, and once it was aborted, `first_word_s` is all the time there is.
    """

    def __init__(self, association: Association, connection: socket.socket, config: ListenerConfig) -> None:
        super().__init__(association, client_socket=connection)
        self._config = config
        self._most_bytes = max(config.most_pdu_kb << 10, MOST_ASSOCIATE_BYTES)

    @property
    def _patience_s(self) -> float:
        is_open = self.assoc.dul.state_machine.current_state == _ESTABLISHED
        return self._config.silence_s if is_open else self._config.first_word_s

    def recv(self, nr_bytes: int) -> bytearray:
        """As many bytes, or fewer where the connection ends. Raises OSError for too many, or when time is up."""
        if nr_bytes > self._most_bytes:
            raise OSError("a PDU longer than agreed was announced")
        if self.socket is None:
            return bytearray()
        ends = time.monotonic() + self._patience_s
        data = bytearray(nr_bytes)
        place, filled = memoryview(data), 0
        while filled < nr_bytes:
            left_s = ends - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("a PDU took too long to come")
            self.socket.settimeout(left_s)
            count = self.socket.recv_into(place[filled:])
            if not count:
                break
            filled += count
        place.release()
        del data[filled:]
        return data

    def send(self, bytestream: bytes) -> None:
        """Send all of it; a peer that takes nothing for as long is cut off."""
        if self.socket is not None:
            self.socket.settimeout(self._patience_s)
        super().send(bytestream)

    def close(self) -> None:
        """Close the connection, and wake who still waits for its first word."""
        super().close()
        if not self.assoc.is_established:
            words: Any = self.assoc.dul.to_user_queue
            words.put(None)  # what a wait that timed out gives

    def _shutdown_socket(self) -> None:
        """Close the connection; pynetdicom leaves it open where the other side was faster."""
        connection = self.socket
        super()._shutdown_socket()
        if connection is not None:
            connection.close()


class BoundedMessages(DIMSEServiceProvider):
    """Puts messages together as pynetdicom does, up to a length; one that cannot be read ends the association."""

    def __init__(self, association: Association, most_bytes: int) -> None:
        super().__init__(association)
        self._most_bytes = most_bytes
        self._command_bytes = 0
        self._data_bytes = 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in the next part of a message. What goes wrong in it is the sender's, and must not end this thread."""
        try:
            self._count(primitive)
            super().receive_primitive(primitive)
        except Exception:  # noqa: BLE001 - any bytes may stand in a message; all errors mean that it cannot be read
            self._end_association()
        if self.message is None:
            self._command_bytes = self._data_bytes = 0

    def _count(self, primitive: P_DATA) -> None:
        for _, fragment in primitive.presentation_data_value_list:
            if fragment[0] & 1:
                self._command_bytes += len(fragment)
            else:
                self._data_bytes += len(fragment)
        if self._command_bytes > MOST_COMMAND_BYTES or self._data_bytes > self._most_bytes:
            raise OSError("a message is longer than allowed")
        if self.msg_queue.qsize() > MOST_WAITING_MESSAGES:
            raise OSError("messages come without waiting for answers")

    def _end_association(self) -> None:
        self.discard_unfinished()
        self.dul.event_queue.put(_INVALID_PDU)

    def discard_unfinished(self) -> None:
        """Remove the files of messages that nobody will answer: the unfinished one, and those that wait."""
        left = [None if self.message is None else self.message._data_set_file]
        with suppress(queue.Empty):
            while True:
                _, message = self.msg_queue.get_nowait()
                left.append(getattr(message, "_dataset_file", None))
        for file in left:
            if file is not None:
                file.close()
                Path(file.name).unlink(missing_ok=True)


class _BoundedHandler(RequestHandler):
    server: BoundedServer

    def _create_association(self) -> Association:
        association = super()._create_association()
        config = self.server.config
        association.dul.event_queue.get_nowait()  # the plain socket said "connected"; the bounded one says it again
        association.dul.socket = BoundedSocket(association, self.request, config)
        association.dimse = BoundedMessages(association, config.limits.most_object_mb << 20)
        return association


class BoundedServer(ThreadedAssociationServer):
    """Hears only allowed addresses, a limited number of connections, and never waits for one of them."""

    request_queue_size = _BACKLOG
    daemon_threads = True

    def __init__(
        self,
        entity: AE,
        config: ListenerConfig,
        contexts: list[PresentationContext],
        handlers: list[tuple[Any, Callable[[Any], Any]]],
        on_refused: Callable[[], None],
    ) -> None:
        self.config = config
        self._on_refused = on_refused
        super().__init__(
            entity,
            (config.host, config.port),
            config.ae_title,
            contexts,
            None if config.tls is None else server_context(config.tls),
            list(handlers),
            _BoundedHandler,
        )

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's signature
        """Whether a connection is heard at all."""
        is_heard = bool(self.config.senders_at(str(client_address[0]))) and self._has_room()
        if not is_heard:
            self._on_refused()
        return is_heard

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection; its TLS handshake is left to a thread of its own."""
        if self.socket is None:
            raise OSError("the listener is closed")
        connection, address = self.socket.accept()
        connection.settimeout(self.config.first_word_s)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands where TLS is spoken, then go on with the association in threads of its own."""
        try:
            if self.ssl_context is not None:
                request = self.ssl_context.wrap_socket(request, server_side=True)
            self.finish_request(request, client_address)
        except (OSError, ValueError, RuntimeError, MemoryError):
            self._on_refused()
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is printed: what a connection did wrong is counted where it is refused."""

    def established(self) -> int:
        """How many associations are open now."""
        return sum(association.is_established for association in self.active_associations)

    def shutdown(self) -> None:
        """Hear nobody any more."""
        BaseServer.shutdown(self)
        self.server_close()

    def _has_room(self) -> bool:
        return threading.active_count() < 2 * self.config.most_connections  # an association has two threads


def bounded_entity(config: ListenerConfig) -> AE:
    """The application entity of the listener, with its time-outs; datasets go to files while they come."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE(config.ae_title)
    entity.acse_timeout = config.first_word_s
    entity.dimse_timeout = config.silence_s
    entity.network_timeout = config.silence_s
    entity.maximum_pdu_size = config.most_pdu_kb << 10
    entity.implementation_class_uid, entity.implementation_version_name = IMPLEMENTATION_UID, IMPLEMENTATION_NAME
    entity.maximum_associations = 1 << 20  # the listener itself counts those that are established
    return entity
