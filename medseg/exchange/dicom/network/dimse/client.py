"""associated: an open association with another application entity, for a block; failures told as sentences."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined] # made when the module is loaded

from medseg.core.errors import InputError, MedsegError, NoEntryError, UnreachableError
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode
from medseg.exchange.dicom.network.dimse.tls import client_context
from medseg.exchange.dicom.writing.elements import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

SUCCESS = 0x0000
MOST_PDU_BYTES = 128 << 10
_CALLING_UNKNOWN, _CALLED_UNKNOWN = (1, 3), (1, 7)
"""Source and reason in an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


@contextmanager
def associated(
    node: DimseNode,
    contexts: Sequence[PresentationContext],
    settings: ClientSettings,
    handlers: Sequence[tuple[Any, Any]] = (),
) -> Iterator[Association]:
    """An association on which some of the contexts were accepted; released when the block ends, aborted when it fails.

    Raises UnreachableError where there is none to be had, and says why; InputError where no context is accepted.
    """
    _silence_pynetdicom()
    entity = AE(settings.ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = settings.timeout_s
    entity.network_timeout = settings.timeout_s
    entity.maximum_pdu_size = MOST_PDU_BYTES
    entity.implementation_class_uid, entity.implementation_version_name = IMPLEMENTATION_UID, IMPLEMENTATION_NAME
    connections: list[socket.socket] = []
    noted = (evt.EVT_CONN_OPEN, lambda event: connections.append(event.assoc.dul.socket.socket))
    association = entity.associate(
        node.host,
        node.port,
        list(contexts),
        ae_title=node.ae_title,
        max_pdu=entity.maximum_pdu_size,
        tls_args=None if node.tls is None else (client_context(node.tls), node.host),
        evt_handlers=[noted, *handlers],
    )
    try:
        if not association.is_established:
            raise _refusal(association, node, settings)
        yield association
        association.release()
    finally:
        if association.is_established:
            association.abort()
        for connection in connections:  # pynetdicom leaves those open that the other side closed first
            connection.close()


def echo(node: DimseNode, settings: ClientSettings | None = None) -> None:
    """Verify that the node answers a C-ECHO (PS3.4 A). Raises UnreachableError where it does not, and says why."""
    with associated(node, [build_context(Verification)], settings or ClientSettings()) as association:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != SUCCESS:
            raise UnreachableError(f"{named(node)} did not answer a C-ECHO.")


def named(node: DimseNode) -> str:
    """The node for people."""
    return f"the DICOM node {node.ae_title} at {node.host}:{node.port}"


def _refusal(association: Association, node: DimseNode, settings: ClientSettings) -> MedsegError:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        reason = (answer.result_source, answer.diagnostic)
        if reason == _CALLING_UNKNOWN:
            return NoEntryError(
                f"{named(node)} does not know our AE title {settings.ae_title}. Have it registered there."
            )
        if reason == _CALLED_UNKNOWN:
            return NoEntryError(f"{named(node)} is not called {node.ae_title}. Correct its AE title.")
        return UnreachableError(
            f"{named(node)} rejects the association (source {reason[0]}, reason {reason[1]}). Try again later."
        )
    if answer is not None:
        return InputError(f"{named(node)} accepts none of the kinds of objects that we propose. Let it accept them.")
    try:
        socket.create_connection((node.host, node.port), settings.timeout_s).close()
    except OSError as error:
        reached = error.strerror or type(error).__name__
        return UnreachableError(f"{named(node)} does not answer ({reached}). Does it run?")
    how = "by TLS: does its certificate fit, and does it want one of ours" if node.tls else "as DICOM: does it want TLS"
    return UnreachableError(f"{named(node)} takes connections and does not answer {how}?")


def _silence_pynetdicom() -> None:
    """Its log holds what was sent and found: patients' names and numbers."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
