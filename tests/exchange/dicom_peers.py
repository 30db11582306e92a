"""Both ends of a DICOM association for tests: our listener in its own process, senders good and bad, a made archive."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made when the module is loaded
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from medseg.exchange.dicom.network.dimse.config import DimseNode, ListenerConfig
from medseg.exchange.dicom.network.dimse.contexts import RECEIVED_CLASSES
from medseg.exchange.dicom.network.dimse.receiving.process import Hear, ListenerProcess

ASSOCIATE_RQ, P_DATA = 0x01, 0x04
LIMIT_S = 60.0


class RunningListener:
    """A listener in a process of its own, and everything that it said; `hear` hears it too."""

    def __init__(self, config: ListenerConfig, hear: Hear = lambda _: None) -> None:
        self.config = config
        self.said: list[dict[str, Any]] = []
        self._also = hear
        self._process = ListenerProcess(config, self._hear)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._process.port

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.is_alive

    @property
    def memory_mb(self) -> float:
        """What of its process lies in memory now."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1]) / 1024
        raise RuntimeError("the system does not say")

    def kill(self) -> None:
        """kill -9."""
        if self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGKILL)
        wait_until(lambda: not self._process.is_alive)

    def start_again(self) -> None:
        """Start it once more on the same spool."""
        self._process.start()

    def heard(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Its events of that name, once there are so many."""
        wait_until(lambda: len(self._named(event)) >= count, f"{count} of {event!r} in {self.said}")
        return self._named(event)

    def images(self) -> list[Path]:
        """What of the spool is stored."""
        return sorted((self.config.spool / "series").glob("*/*.dcm"))

    def _hear(self, event: dict[str, Any]) -> None:
        self.said.append(event)
        self._also(event)

    def _named(self, event: str) -> list[dict[str, Any]]:
        return [one for one in list(self.said) if one["event"] == event]


class Clock:
    """A clock that goes on when it is told to; it begins now, as files carry the time of the machine."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead_s

    def later(self, seconds: float) -> None:
        """Let so much time pass."""
        self._ahead_s += seconds


def wait_until(is_so: Callable[[], bool], what: str = "it did not happen") -> None:
    """Wait for something that happens soon; raises AssertionError where it does not."""
    ends = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < ends, f"after {LIMIT_S:g} s: {what}"
        time.sleep(0.01)


@contextmanager
def sending(port: int, calling: str = "MODALITY", called: str = "MEDSEG", **options: Any) -> Iterator[Association]:
    """An association with a listener on loopback that may store any received class; released unless it ended."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = LIMIT_S
    contexts = [build_context(sop_class) for sop_class in RECEIVED_CLASSES]
    opened: list[socket.socket] = []  # pynetdicom leaves those open that the other side closed first
    noted: Any = (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket))
    association = entity.associate("127.0.0.1", port, contexts, ae_title=called, evt_handlers=[noted], **options)
    try:
        assert association.is_established, "no association"
        yield association
    finally:
        if association.is_established:
            association.release()
        for connection in opened:
            connection.close()


@contextmanager
def raw_association(port: int) -> Iterator[socket.socket]:
    """The bare connection of an association that was agreed on, for sending what pynetdicom would not."""
    with sending(port) as association:
        wrapped = association.dul.socket
        assert wrapped is not None
        assert wrapped.socket is not None
        association._kill, association.is_established = True, False
        association.dul.kill_dul()
        association.dul.join()
        wrapped.socket.settimeout(LIMIT_S)
        yield wrapped.socket


def status_of(association: Association, dataset: Dataset | Path) -> int | None:
    """The status that a C-STORE is answered with; None where there was no answer."""
    said = association.send_c_store(dataset).get("Status")
    return None if said is None else int(said)


def raw(port: int) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def pdu(kind: int, content: bytes, length: int | None = None) -> bytes:
    """A PDU (PS3.8 9.3.1), whose announced length may lie."""
    return struct.pack(">BBL", kind, 0, len(content) if length is None else length) + content


def is_closed(connection: socket.socket, within_s: float = LIMIT_S) -> bool:
    """Whether the other side closes within that time."""
    connection.settimeout(within_s)
    try:
        while connection.recv(4096):
            continue
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@dataclass
class MadeArchive:
    """An archive on loopback that answers each C-STORE with the next of `statuses` (0 when they are used up).

    A request for commitment is turned by `commit` into the report that comes within the same association.
    """

    statuses: list[int | None] = field(default_factory=list)
    commit: Callable[[Dataset], Dataset] | None = None
    stored: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        entity = AE("MADE")
        for sop_class in (*RECEIVED_CLASSES, SegmentationStorage, Comprehensive3DSRStorage):
            entity.add_supported_context(sop_class)
        if self.commit is not None:
            entity.add_supported_context(StorageCommitmentPushModel)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_N_ACTION, self._on_action)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()

    @property
    def node(self) -> DimseNode:
        """Where it is."""
        assert self._server is not None
        return DimseNode(ae_title="MADE", host="127.0.0.1", port=self._server.server_address[1])

    def _on_store(self, event: Any) -> int:
        status = self.statuses.pop(0) if self.statuses else 0
        if status is None:
            event.assoc.abort()
            return 0
        if status == 0:
            self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return status

    def _on_action(self, event: Any) -> tuple[int, None]:
        assert self.commit is not None
        report = self.commit(event.action_information)
        kind = 2 if "FailedSOPSequence" in report else 1
        told = (report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        threading.Timer(0.05, event.assoc.send_n_event_report, told).start()
        return 0, None
