"""What names a patient appears in no log, reason, metric or status, whatever becomes of the series."""

import logging
import shutil
from pathlib import Path

import pydicom
import pytest
from made_service import SHAPE, MakeParts, ServiceParts
from orthanc import Orthanc, made_ct
from prometheus_client.exposition import generate_latest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.exchange.dicom.identifiers import HIDDEN, identifying_words, without_identifiers
from medseg.workflows.service.answer_health import Health
from medseg.workflows.service.measure import Measures
from medseg.workflows.service.write_log import LOGGER

PLANTED = {
    "PatientName": "Plantname^Eve",
    "PatientID": "PLANTID1",
    "OtherPatientNames": "PLANT02^X",
    "PatientBirthName": "PLANT03",
    "PatientMotherBirthName": "PLANT04",
    "PatientAddress": "PLANT05 street",
    "PatientTelephoneNumbers": "PLANT06",
    "PatientComments": "PLANT07 seen",
    "AdditionalPatientHistory": "PLANT08",
    "Occupation": "PLANT09",
    "AccessionNumber": "PLANT10",
    "StudyID": "PLANT11",
    "StudyDescription": "PLANT12 of liver",
    "SeriesDescription": "PLANT13 thin",
    "ProtocolName": "PLANT14",
    "InstitutionName": "PLANT15",
    "InstitutionAddress": "PLANT16",
    "InstitutionalDepartmentName": "PLANT17",
    "StationName": "PLANT18",
    "ReferringPhysicianName": "PLANT19^Dr",
    "PerformingPhysicianName": "PLANT20",
    "OperatorsName": "PLANT21",
    "RequestedProcedureDescription": "PLANT22",
    "ImageComments": "PLANT23",
    "DeviceSerialNumber": "PLANT24",
    "AdmissionID": "PLANT25",
}
WORDS = (*(f"PLANT{number:02d}" for number in range(2, 26)), "PLANTNAME", "PLANTID1")
UIDS = ("1.2.826.0.1.77.1", "1.2.826.0.1.77.2")


def planted(folder: Path, seed: int, study: str) -> Path:
    made_ct(folder, seed, shape=SHAPE)
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        for keyword, value in PLANTED.items():
            setattr(dataset, keyword, value)
        dataset.StudyInstanceUID = study
        dataset.save_as(file)
    return folder


def everything_said(parts: ServiceParts, folder: Path) -> str:
    """Log, reasons in the databases, metrics, and what the commands print."""
    measures = Measures(parts.places, parts.ledger, Health())
    for record in parts.queue.records():
        measures.settled(record)
    reasons = [record.reason or "" for record in parts.queue.records()]
    reasons += [one.reason for one in parts.ledger.series("held", "passed over")]
    reasons += [note.text for note in parts.ledger.notes().values()]
    config = ["--config", str(folder / "medseg.toml")]
    printed = [
        CliRunner().invoke(app, [*command, *config]).output
        for command in (["status", "--all"], ["status", "--json"], ["quarantine", "list"], ["config", "show"])
    ]
    assert "phantom" not in printed[0]
    log = (folder / "service.log").read_text()
    return "\n".join([log, *reasons, *printed, generate_latest(measures.registry).decode()]).upper()


def test_planted_identifiers_are_told_nowhere(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = make_parts()
    orthanc.push(planted(tmp_path / "good", 1, UIDS[0]))
    refused = planted(tmp_path / "refused", 2, UIDS[1])
    for file in refused.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        dataset.RescaleSlope = 0
        dataset.save_as(file)
    orthanc.push(refused)
    parts.watch()
    while parts.work() is not None:
        pass
    monkeypatch.setattr("medseg.workflows.service.treat_series.report_study", breaks)
    (job,) = [record.job for record in parts.queue.records("done")]
    parts.queue.forget([job.id])
    parts.queue.submit([job])
    shutil.rmtree(parts.places.work_of(job.id))
    while parts.queue.counts()["waiting"]:
        parts.work()
    logging.getLogger("other.library").critical("GET /studies/%s?PatientName=Plantname", UIDS[0])
    logging.getLogger(LOGGER).error("a bug", exc_info=ValueError("Plantname"))
    said = everything_said(parts, tmp_path)
    assert parts.queue.counts()["quarantined"] == 2
    assert "ANOTHER LIBRARY'S" in said
    assert [word for word in (*WORDS, *UIDS) if word in said] == []


def breaks(*_: object) -> None:
    raise ValueError(f"cannot write {PLANTED['PatientName']} of {UIDS[0]}")


class TestHiding:
    def test_hides_words_of_the_headers_and_uids_and_nothing_else(self, tmp_path: Path) -> None:
        files = list(planted(tmp_path / "ct", 1, UIDS[0]).rglob("*.dcm"))
        words = identifying_words(files)
        assert {"Plantname", "Eve", "PLANT05"} <= words
        text = (
            f"CT series 1 'PLANT13 thin' of plantname, eve ({UIDS[0]}): a gap of 10 mm after slice 4 of 8; never mind"
        )
        assert without_identifiers(text, words) == (
            f"CT series 1 '{HIDDEN} {HIDDEN}' of {HIDDEN}, {HIDDEN} ({HIDDEN}): a gap of 10 mm after slice 4 of 8; "
            "never mind"
        )

    def test_what_is_no_dicom_hides_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "notes.dcm").write_text("Eve")
        assert identifying_words([tmp_path / "notes.dcm"]) == frozenset()
        assert without_identifiers("version 0.28.2 at 127.0.0.1:80") == "version 0.28.2 at 127.0.0.1:80"
