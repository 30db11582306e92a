"""Identifiers planted in 26 places of what is received and sent stand in no event, log, trace or exception text."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_oracle import Grid, made_series, save
from dicom_peers import MadeArchive, RunningListener, pdu, raw_association, sending, status_of, wait_until
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from medseg.core.errors import MedsegError
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode
from medseg.exchange.dicom.network.dimse.finder import find_series
from medseg.exchange.dicom.network.dimse.receiving import process
from medseg.exchange.dicom.network.dimse.receiving.received import Patience, ReceivedFolder, gap_of
from medseg.exchange.dicom.network.dimse.sender import send

PLANTED = {
    "PatientName": "Mustermann^Erika", "PatientID": "PID47110815", "PatientBirthDate": "19610308",
    "OtherPatientIDs": "OPI998877", "OtherPatientNames": "Maedchen^Gretel", "PatientAddress": "Heidestrasse 17",
    "PatientTelephoneNumbers": "06221560", "PatientComments": "Nachbar Oberarzt", "PatientMotherBirthName": "Schulze",
    "AccessionNumber": "ACC99001", "StudyID": "STU31337", "StudyDate": "20240229", "StudyTime": "101112",
    "StudyDescription": "Bemerkung Eins", "SeriesDescription": "Bemerkung Zwei", "ProtocolName": "Protokoll Erika",
    "InstitutionName": "Klinikum Sued", "InstitutionAddress": "Neuenheimer Feld", "ReferringPhysicianName": "Obermaier",
    "OperatorsName": "Schwester^Agnes", "PerformingPhysicianName": "Doktor^Faust", "StationName": "STATION7",
    "DeviceSerialNumber": "SN556677", "StudyInstanceUID": "1.2.3.4711.1", "SeriesInstanceUID": "1.2.3.4711.2",
    "SOPInstanceUID": "1.2.3.4711.3",
}  # fmt: skip
"""Keyword and value, each a place where a name, a number, an address, a date or a UID stands in an image."""

TITLE = "MUSTERMANN"
"""A calling AE title that a sender made of a name."""


def planted_images(folder: Path) -> list[Path]:
    """Three images of a series with a gap, every planted value in each."""
    slices = made_series(Grid())
    for k, one in enumerate(slices):
        for keyword, value in PLANTED.items():
            setattr(one, keyword, f"{value}.{k}" if keyword == "SOPInstanceUID" else value)
    return [save(slices[k], folder / f"{k}.dcm") for k in (0, 1, 4)]


def words() -> list[str]:
    parts = [part for value in PLANTED.values() for part in (value, *value.split("^"), *value.split(" "))]
    return [part for part in [*parts, TITLE] if len(part) > 2]


def leaks(text: str) -> list[str]:
    return [word for word in words() if word.lower() in text.lower()]


def damaged(image: FileDataset) -> Dataset:
    del image.StudyInstanceUID
    return image


def test_the_planted_places_are_twenty_six() -> None:
    assert len(PLANTED) == 26


def test_the_listener_tells_nothing(
    listening: Callable[..., RunningListener], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listener = listening()
    files = planted_images(tmp_path / "in")
    with sending(listener.port) as association:
        assert [status_of(association, dcmread(file)) for file in files] == [0, 0, 0]
        assert status_of(association, damaged(dcmread(files[0]))) == 0xC000
    with pytest.raises(AssertionError), sending(listener.port, calling=TITLE):
        pass
    with pytest.raises(AssertionError), sending(listener.port, called=TITLE):
        pass
    with raw_association(listener.port) as connection:
        connection.sendall(pdu(0x77, " ".join(words()).encode()))
    wait_until(lambda: len(listener.said) >= 5)
    names = {event["event"] for event in listener.said}
    assert {"listening", "image refused", "association rejected", "broken off"} <= names
    assert leaks(str(listener.said)) == []
    out, err = capfd.readouterr()
    assert leaks(out + err) == []


def test_a_bug_in_the_listener_tells_its_place_and_no_text() -> None:
    told: list[dict[str, str | int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_say", lambda event, facts: told.append({"event": event, **facts}))
        patch.setattr(threading, "excepthook", threading.excepthook)
        for name in ("pynetdicom", "pydicom"):
            patch.setattr(logging.getLogger(name), "level", logging.WARNING)
        process._silence_libraries()
        thread = threading.Thread(target=lambda: int(PLANTED["PatientName"]))
        thread.start()
        thread.join()
    assert told[0]["kind"] == "ValueError"
    assert str(told[0]["place"]).startswith("test_names_stay_inside.py:")
    assert leaks(str(told)) == []


def test_reasons_of_what_is_set_aside_name_nobody(tmp_path: Path, listening: Callable[..., RunningListener]) -> None:
    listener = listening()
    with sending(listener.port) as association:
        for file in planted_images(tmp_path / "in"):
            assert status_of(association, dcmread(file)) == 0
    listener.heard("received")
    received = ReceivedFolder(listener.config.spool, gap_of, Patience(0.0, -1.0))
    (series,) = received.sweep().incomplete
    assert "gap" in series.reason
    assert leaks(series.reason) == []
    assert leaks(" ".join(map(str, listener.config.spool.rglob("*")))) == [], "names of files are hashes"


def test_what_the_sender_raises_names_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    files = planted_images(tmp_path / "in")
    fast = ClientSettings(tries=1, timeout_s=3)
    said = []
    with caplog.at_level(logging.DEBUG):
        for statuses in ([0xA900], [0xA700], [None], [0xC001]):
            with MadeArchive(list(statuses)) as archive, pytest.raises(MedsegError) as caught:
                send(files, archive.node, fast)
            said.append(repr(caught.value))
            said.append(repr(caught.value.__cause__))
        with MadeArchive() as archive:
            with pytest.raises(MedsegError) as caught:
                find_series(archive.node, PLANTED["PatientID"], fast)
            said.append(repr(caught.value))
            with pytest.raises(MedsegError) as caught:
                echo(DimseNode(ae_title="MADE", host="127.0.0.1", port=archive.node.port), fast)
            said.append(repr(caught.value))
    out, err = capfd.readouterr()
    assert leaks(" ".join(said) + out + err + caplog.text) == []
