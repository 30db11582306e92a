"""What hostile or broken peers send costs their own connection: no memory, nobody else's time, and not the listener."""

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from dicom_oracle import Grid, made_slice
from dicom_peers import (
    ASSOCIATE_RQ,
    P_DATA,
    RunningListener,
    is_closed,
    pdu,
    raw,
    raw_association,
    sending,
    status_of,
    wait_until,
)
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

MOST_MORE_MB = 60
"""What a listener may grow by under any of this: Python's own pools, far from what the peers announce."""


def command(element: bytes) -> bytes:
    """A P-DATA-TF with a last fragment of a command set on the first presentation context."""
    fragment = bytes([1, 0b11]) + element
    return pdu(P_DATA, len(fragment).to_bytes(4, "big") + fragment)


def endless_command(connection: socket.socket) -> None:
    part = bytes([1, 0b01]) + b"\0" * 60_000
    for _ in range(200):
        connection.sendall(pdu(P_DATA, len(part).to_bytes(4, "big") + part))


HOSTILE: dict[str, Callable[[socket.socket], object]] = {
    "a PDU of 4 GiB": lambda one: one.sendall(pdu(P_DATA, b"\0" * 1000, length=0xFFFF_FFFF)),
    "a PDU of a length that was not agreed": lambda one: one.sendall(pdu(P_DATA, b"", length=2 << 20)),
    "a PDU of an unknown type": lambda one: one.sendall(pdu(0x77, b"nonsense")),
    "noise": lambda one: one.sendall(bytes(range(256)) * 100),
    "a fragment that says it is longer": lambda one: one.sendall(pdu(P_DATA, b"\xff\xff\xff\xff\x01\x03")),
    "a fragment of nothing": lambda one: one.sendall(pdu(P_DATA, b"\0\0\0\x01\x01")),
    "a command that is none": lambda one: one.sendall(command(b"\0\0\0\x01\x02\0\0\0\x34\x12")),
    "a command set that is no dataset": lambda one: one.sendall(command(b"\xff" * 99)),
    "a command set without an end": endless_command,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_ends_the_association_and_nothing_else(listener: RunningListener, series: Path, name: str) -> None:
    image = dcmread(series / "0000.dcm")
    with sending(listener.port) as honest:
        assert status_of(honest, image) == 0
        before_mb = listener.memory_mb
        with raw_association(listener.port) as connection:
            with suppress(OSError):  # it is cut off in the middle
                HOSTILE[name](connection)
            assert is_closed(connection)
        assert status_of(honest, image) == 0, "the other association goes on"
    assert listener.is_alive
    assert listener.memory_mb < before_mb + MOST_MORE_MB
    assert [one for one in listener.said if one["event"] == "bug"] == []


def test_an_announcement_of_4_gib_before_any_association_holds_nothing(listener: RunningListener) -> None:
    before_mb = listener.memory_mb
    with raw(listener.port) as connection:
        connection.sendall(pdu(ASSOCIATE_RQ, b"\0" * 70_000, length=0xFFFF_FFFF))
        assert is_closed(connection, 5)
    assert listener.memory_mb < before_mb + MOST_MORE_MB


def test_sixty_silent_sockets_keep_nobody_waiting_and_are_closed(listener: RunningListener, series: Path) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(raw(listener.port)) for _ in range(60)]
        for connection in silent[30:]:
            connection.sendall(pdu(ASSOCIATE_RQ, b"\0" * 20, length=200))  # and then nothing more
        with sending(listener.port) as association:
            assert status_of(association, dcmread(series / "0000.dcm")) == 0
        assert all(is_closed(connection) for connection in silent[:30]), "within first_word_s"
    listener.heard("received")


def test_a_connection_too_many_is_refused_and_the_others_live(listening: Callable[..., RunningListener]) -> None:
    listener = listening(most_connections=6, first_word_s=30)
    with ExitStack() as stack:
        held = [stack.enter_context(raw(listener.port)) for _ in range(12)]
        listener.heard("connection refused")
        assert sum(not is_closed(connection, 0.2) for connection in held) >= 3
    listener.said.clear()
    wait_until(lambda: _is_let_in(listener))


def test_an_association_too_many_is_told_to_come_again(listening: Callable[..., RunningListener]) -> None:
    listener = listening(most_associations=2)
    with sending(listener.port), sending(listener.port):
        with pytest.raises(AssertionError, match="no association"), sending(listener.port):
            pass
        assert listener.heard("association rejected")[0]["reason"] == 2
    wait_until(lambda: _is_let_in(listener))


def test_a_part_that_comes_too_slowly_ends_it(listening: Callable[..., RunningListener]) -> None:
    listener = listening(silence_s=0.5)
    with raw_association(listener.port) as connection:
        connection.sendall(pdu(P_DATA, b"\0" * 10, length=5000))
        assert is_closed(connection)


def test_an_image_larger_than_allowed_is_cut_off_and_leaves_no_file(listening: Callable[..., RunningListener]) -> None:
    listener = listening(limits={"most_object_mb": 1})
    large = made_slice(Grid(rows=1000, columns=1000, row_spacing=0.1, column_spacing=0.1), 0)
    large.file_meta = FileMetaDataset()
    large.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with sending(listener.port) as association:
        assert association.send_c_store(large).get("Status") is None
    wait_until(lambda: list((listener.config.spool / "incoming").iterdir()) == [])
    assert listener.images() == []


def test_messages_of_no_service_leave_no_file_for_long(listening: Callable[..., RunningListener], series: Path) -> None:
    listener = listening(silence_s=1.5)
    image = dcmread(series / "0000.dcm")
    with sending(listener.port) as association:
        original = association.dimse.send_msg

        def strange(primitive: Any, context_id: int) -> None:
            primitive.AffectedSOPClassUID = "1.2.3"
            original(primitive, context_id)

        association.dimse.send_msg = strange  # type: ignore[method-assign]
        assert status_of(association, image) is None
    incoming = listener.config.spool / "incoming"
    wait_until(lambda: _is_let_in(listener) and not any(incoming.iterdir()))


def test_kill_9_in_the_middle_of_a_series_loses_nothing_that_was_acknowledged(
    listener: RunningListener, series: Path
) -> None:
    files = sorted(series.iterdir())
    with sending(listener.port) as association:
        assert [status_of(association, dcmread(file)) for file in files[:3]] == [0, 0, 0]
        listener.kill()
        association.abort()
    assert len(listener.images()) == 3
    (listener.config.spool / "incoming" / "half.dcm").write_bytes(b"half of an image")
    listener.start_again()
    assert list((listener.config.spool / "incoming").iterdir()) == []
    (folder,) = (listener.config.spool / "series").iterdir()
    assert [mark.name[:8] for mark in folder.glob(".*")] == [".broken-"], "it is known that something may be missing"
    with sending(listener.port) as association:
        assert [status_of(association, dcmread(file)) for file in files] == [0] * 6
    wait_until(lambda: list(folder.glob(".*")) == [])
    assert len(listener.images()) == 6


def _is_let_in(listener: RunningListener) -> bool:
    try:
        with sending(listener.port):
            return True
    except AssertionError:
        return False
