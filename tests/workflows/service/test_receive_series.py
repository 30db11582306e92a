"""Series that the listener took: which become jobs, with their images, and which do not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from made_service import SHAPE, ServiceParts, write_settings
from orthanc import made_ct

from medseg.exchange.dicom.network.dimse.receiving.received import REASON
from medseg.workflows.service.intake.receive_series import Receiver, received_folder
from medseg.workflows.service.standing import read_status, release

LISTENER = {"spool": "spool", "quiet_s": 0, "senders": [{"ae_title": "CT1", "addresses": ["127.0.0.1"]}]}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[ServiceParts]:
    """A service without an archive; its results stay here."""
    route = {"name": "liver", "model": "model", "match": {"modality": "CT"}, "destinations": []}
    file = write_settings(tmp_path, "http://127.0.0.1:9/dicom-web", listener=LISTENER, routes=[route])
    text = file.read_text()
    file.write_text(text[: text.index("[archive]")] + text[text.index("[retention]") :])
    parts = ServiceParts.of(file)
    yield parts
    parts.queue.close()


@pytest.fixture
def receiver(parts: ServiceParts) -> Receiver:
    assert parts.settings.listener is not None
    folder = received_folder(parts.settings.listener, parts.settings)
    return Receiver(parts.settings, parts.places, parts.ledger, parts.queue, folder)


def spooled(tmp_path: Path, where: str, change: Callable[[pydicom.Dataset], None] = lambda _: None) -> Path:
    """A series in the spool, as the listener and its sweep leave it."""
    folder = made_ct(tmp_path / "spool" / where / "0123456789abcdef-1", shape=SHAPE)
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(folder / file.name)
    return folder


def test_a_series_is_treated_with_the_images_that_came_and_only_once(
    parts: ServiceParts, receiver: Receiver, tmp_path: Path
) -> None:
    folder = spooled(tmp_path, "complete")
    assert receiver.look() == 1
    assert not folder.exists()
    outcome = parts.work()
    assert outcome is not None
    assert outcome.reason is None
    (work,) = parts.places.work.iterdir()
    assert sorted(file.name for file in (work / "objects").iterdir()) == ["measurements.dcm", "segmentation.dcm"]
    spooled(tmp_path, "complete")
    assert receiver.look() == 0
    assert parts.work() is None
    assert not (work / "images").exists()


def test_what_no_route_is_for_is_told(parts: ServiceParts, receiver: Receiver, tmp_path: Path) -> None:
    def to_mr(dataset: pydicom.Dataset) -> None:
        dataset.Modality = "MR"

    folder = spooled(tmp_path, "complete", to_mr)
    assert receiver.look() == 0
    assert not folder.exists()
    (row,) = read_status(parts.settings).rows
    assert (row.state, row.reason) == ("passed over", "liver: its modality is MR, not CT")


def test_a_series_that_announces_more_images_waits_for_them(
    parts: ServiceParts, receiver: Receiver, tmp_path: Path
) -> None:
    def announce(dataset: pydicom.Dataset) -> None:
        dataset.ImagesInAcquisition = SHAPE[2] + 1

    spooled(tmp_path, "series", announce)
    assert receiver.look() == 0
    assert receiver.received.sweep().waiting == 1


def test_what_did_not_become_whole_is_held_until_somebody_releases_it(
    parts: ServiceParts, receiver: Receiver, tmp_path: Path
) -> None:
    folder = spooled(tmp_path, "incomplete")
    (folder / REASON).write_text("the sender of PHANTOM broke off")
    (row,) = read_status(parts.settings).rows
    assert (row.name, row.state, row.reason) == ("0123456789ab", "held", "the sender of [hidden] broke off")
    assert receiver.look() == 0
    assert release(parts.settings, row.name) == 1
    assert receiver.look() == 1
