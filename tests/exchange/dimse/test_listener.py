"""The listener stores what dcmtk sends, says what it does not take and why, and goes on working afterwards."""

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import Mock

import pytest
from dicom_oracle import Grid, made_series, made_slice, save
from dicom_peers import LIMIT_S, RunningListener, raw, sending, status_of, wait_until
from orthanc import push, require_storescu, storescu
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from medseg.core.errors import InputError, NoEntryError
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.config import AllowedSender, ClientSettings, DimseNode, ListenerConfig
from medseg.exchange.dicom.network.dimse.receiving.listener import Listener

Listening = Callable[..., RunningListener]


def test_dcmtk_sends_a_series_and_every_byte_of_it_is_there(listener: RunningListener, series: Path) -> None:
    push(series, listener.port, called="MEDSEG")
    (received,) = listener.heard("received")
    assert received == {"event": "received", "sender": "MODALITY", "images": 6, "series": 1}
    sent = {str(one.SOPInstanceUID): one for one in map(dcmread, series.iterdir())}
    stored = {str(one.SOPInstanceUID): one for one in map(dcmread, listener.images())}
    assert stored == sent
    assert list((listener.config.spool / "incoming").iterdir()) == []


def test_an_echo_is_answered(listener: RunningListener) -> None:
    node = DimseNode(ae_title="MEDSEG", host="127.0.0.1", port=listener.port)
    echo(node, ClientSettings(ae_title="MODALITY"))
    with pytest.raises(NoEntryError, match="does not know our AE title STRANGER"):
        echo(node, ClientSettings(ae_title="STRANGER"))
    with pytest.raises(NoEntryError, match=r"is not called OTHER\. Correct its AE title"):
        echo(node.model_copy(update={"ae_title": "OTHER"}), ClientSettings(ae_title="MODALITY"))


def test_a_wrong_title_is_rejected_with_the_reason(listener: RunningListener, series: Path) -> None:
    require_storescu()
    calling = storescu(series, listener.port, called="MEDSEG", calling="STRANGER")
    called = storescu(series, listener.port, called="OTHER")
    assert "Calling AE Title Not Recognized" in calling.stderr
    assert "Called AE Title Not Recognized" in called.stderr
    assert listener.images() == []
    assert {one["reason"] for one in listener.heard("association rejected", 2)} == {3, 7}
    push(series, listener.port, called="MEDSEG")


def test_an_address_that_is_not_allowed_is_not_even_heard(listening: Listening) -> None:
    elsewhere = (AllowedSender(ae_title="MODALITY", addresses=("192.0.2.0/24",)),)
    listener = listening(senders=elsewhere)
    with pytest.raises(AssertionError, match="no association"), sending(listener.port):
        pass
    listener.heard("connection refused")


def test_what_is_not_an_image_for_a_model_is_declined(listener: RunningListener) -> None:
    picture = made_slice(Grid(), 0)
    picture.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    with sending(listener.port) as association, pytest.raises(ValueError, match="presentation context"):
        association.send_c_store(_with_meta(picture))


def test_an_object_that_is_not_what_it_says_is_refused(listener: RunningListener) -> None:
    nameless, other = made_slice(Grid(), 0), made_slice(Grid(), 1)
    del nameless.SeriesInstanceUID
    with sending(listener.port) as association:
        assert status_of(association, _with_meta(nameless)) == 0xC000
        other = _with_meta(other)
        original = association.dimse.send_msg

        def lie(primitive: Any, context_id: int) -> None:
            primitive.AffectedSOPInstanceUID = "1.2.3"
            original(primitive, context_id)

        association.dimse.send_msg = lie  # type: ignore[method-assign]
        assert status_of(association, other) == 0xA900
    assert listener.images() == []
    assert [one["status"] for one in listener.heard("image refused", 2)] == ["0xC000", "0xA900"]
    listener.heard("broken off")


def test_a_full_spool_answers_out_of_resources_and_works_on_when_there_is_room(listening: Listening) -> None:
    listener = listening(limits={"most_mb": 1, "least_free_mb": 0})
    large = Grid(count=4, rows=400, columns=500, row_spacing=0.1, column_spacing=0.1)  # 0.4 MB each
    images = [_with_meta(one) for one in made_series(large)]
    with sending(listener.port) as association:
        assert [status_of(association, one) for one in images] == [0, 0, 0xA700, 0xA700]
    assert list((listener.config.spool / "incoming").iterdir()) == []
    for stored in listener.images():
        stored.unlink()
    listener.kill()  # it counts anew when it starts, or every few seconds
    listener.start_again()
    with sending(listener.port) as association:
        assert status_of(association, images[2]) == 0


def test_the_last_word_of_a_killed_listener_is_not_taken_for_the_next_ones_first(listening: Listening) -> None:
    """What a listener said is heard in a thread, which may be late."""
    heard, may_go_on = threading.Event(), threading.Event()

    def hear_slowly(event: dict[str, Any]) -> None:
        if event["event"] == "connection refused":
            heard.set()
            may_go_on.wait(LIMIT_S)

    elsewhere = (AllowedSender(ae_title="MODALITY", addresses=("192.0.2.0/24",)),)
    listener = listening(senders=elsewhere, hear=hear_slowly)
    with raw(listener.port):
        assert heard.wait(LIMIT_S)
    listener.kill()
    starting = threading.Thread(target=listener.start_again)
    starting.start()
    wait_until(lambda: listener.is_alive)
    may_go_on.set()
    starting.join()
    raw(listener.port).close()


def test_a_disk_that_is_nearly_full_counts_as_a_full_spool(listening: Listening) -> None:
    listener = listening(limits={"least_free_mb": 1 << 40})
    with sending(listener.port) as association:
        assert status_of(association, _with_meta(made_slice(Grid(), 0))) == 0xA700
    assert listener.images() == []


def test_who_cannot_be_judged_is_rejected(tmp_path: Path) -> None:
    config = ListenerConfig(spool=tmp_path, senders=(AllowedSender(ae_title="MODALITY", addresses=("127.0.0.1",)),))
    event = Mock()
    event.assoc.requestor.address = "no address"
    Listener(config, lambda *_: None)._on_requested(event)
    event.assoc.acse.send_reject.assert_called_once_with(2, 3, 1)
    event.assoc.kill.assert_called_once()


def test_a_port_in_use_is_a_sentence(listening: Listening) -> None:
    taken = listening().port
    with pytest.raises(InputError, match=f"127.0.0.1:{taken}.*Choose another port"):
        listening(port=taken)


@pytest.mark.parametrize("said", [{"senders": ()}, {"ae_title": "A" * 17}, {"ae_title": "A\\B"}, {"colour": "blue"}])
def test_a_wrong_configuration_is_refused(tmp_path: Path, said: dict[str, Any]) -> None:
    senders = (AllowedSender(ae_title="MODALITY", addresses=("127.0.0.1",)),)
    with pytest.raises(ValueError, match="validation error"):
        ListenerConfig(**{"spool": tmp_path, "senders": senders, **said})


def test_a_sender_is_known_by_network_and_by_mapped_address() -> None:
    sender = AllowedSender(ae_title="CT1", addresses=("10.1.0.0/16", "2001:db8::7"))
    assert [sender.is_at(place) for place in ("10.1.2.3", "::ffff:10.1.2.3", "10.2.0.1", "2001:db8::7%eth0")] == [
        True,
        True,
        False,
        True,
    ]


def _with_meta(dataset: Dataset) -> FileDataset:
    with TemporaryDirectory() as folder:
        return dcmread(save(dataset, Path(folder) / "one.dcm"))
