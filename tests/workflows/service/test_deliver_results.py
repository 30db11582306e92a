"""Results on their way to another archive than the one that is watched: refused, not let in, kept or merely taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import MadeArchive
from fake_archive import FakeArchive, Request, keep, running
from made_service import SHAPE, MakeParts, ServiceParts
from orthanc import Orthanc, made_ct
from pydicom.dataset import Dataset

from medseg.jobs.worker import Outcome
from medseg.workflows.service.standing import read_status


def to(destination: str, name: str = "liver") -> dict[str, Any]:
    """A route to a destination."""
    return {"name": name, "model": "model", "match": {"modality": "CT"}, "destinations": [destination]}


def web(url: str, **more: str) -> dict[str, Any]:
    return {"kind": "dicomweb", "name": "pacs", "url": url, "tries": 1, "pause_s": 0, **more}


def dimse(archive: MadeArchive) -> dict[str, Any]:
    return {"kind": "dimse", "name": "pacs", **archive.node.model_dump(exclude_none=True)}


def modalities(orthanc: Orthanc) -> list[str]:
    return sorted(series["Modality"] for series in orthanc.objects())


def reason(parts: ServiceParts, state: str) -> str:
    (row,) = [row for row in read_status(parts.settings).rows if row.state == state]
    return row.reason


def worked(parts: ServiceParts) -> Outcome:
    """The outcome of the next job, as soon as it is due."""
    while (outcome := parts.work()) is None:
        pass
    return outcome


def refused(request: Request) -> bool:
    """A STOW that the archive refuses, as PS3.18 10.5.3 has it answer."""
    if request.command == "POST":
        failure = {"00081197": {"vr": "US", "Value": [0xA900]}}
        request.answer(409, json.dumps({"00081198": {"vr": "SQ", "Value": [failure]}}).encode())
    return request.command == "POST"


def committed(action: Dataset) -> Dataset:
    """The archive's word that it keeps all that it was asked for."""
    report = Dataset()
    report.TransactionUID = action.TransactionUID
    report.ReferencedSOPSequence = action.ReferencedSOPSequence
    return report


def pushed(orthanc: Orthanc, parts: ServiceParts, folder: Path, count: int) -> None:
    for number in range(count):
        orthanc.push(made_ct(folder / str(number), number, shape=SHAPE))
    assert parts.watch() == count


class TestRefused:
    """The reason is told, it is tried once, and the next series goes on."""

    def test_by_dicomweb(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        with running(FakeArchive()) as archive:
            parts = make_parts(destinations=[web(archive.url)], routes=[to("pacs")])
            pushed(orthanc, parts, tmp_path, 2)
            archive.misdeed = refused
            self.is_set_aside(parts, "the object does not match its kind (0xA900)")
            archive.misdeed = lambda request: keep(request, archive)
            assert worked(parts).result is not None
        assert parts.queue.counts()["done"] == 1
        assert len(archive.objects) == 2, "the mask and the report"

    def test_by_c_store(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        with MadeArchive([0xA900]) as archive:
            parts = make_parts(destinations=[dimse(archive)], routes=[to("pacs")])
            pushed(orthanc, parts, tmp_path, 2)
            self.is_set_aside(parts, "(0xA900)")
            assert worked(parts).result is not None
        assert parts.queue.counts()["done"] == 1
        assert len(archive.stored) == 2

    def is_set_aside(self, parts: ServiceParts, told: str) -> None:
        assert worked(parts).then == "set aside"
        assert told in reason(parts, "quarantined")
        (record,) = parts.queue.records("quarantined")
        assert (record.starts, record.failures) == (1, 1)
        assert parts.queue.counts()["waiting"] == 1


def test_one_that_does_not_let_us_in_waits_and_the_others_go_on(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("wrong")
    with Orthanc(tmp_path / "protected", user="medseg", password="right") as protected:
        closed = web(protected.dicomweb_url, user="medseg", password_file="password")
        parts = make_parts(destinations=[closed], routes=[to("pacs"), to("archive", "other")])
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        assert parts.watch() == 2
        while parts.queue.counts()["done"] == 0 or not read_status(parts.settings).to_mend:
            worked(parts)
        assert modalities(orthanc) == ["CT", "SEG", "SR"]
        (told,) = read_status(parts.settings).to_mend
        assert "does not let us in (HTTP 401)" in told
        assert reason(parts, "waiting") == told
        password.write_text("right")
        while worked(parts).result is None:
            pass
        assert modalities(protected) == ["SEG", "SR"]
    assert read_status(parts.settings).to_mend == ()


@pytest.mark.parametrize("commits", [True, False])
def test_what_is_merely_taken_is_told_from_what_is_kept(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, commits: bool
) -> None:
    with MadeArchive(commit=committed if commits else None) as archive:
        parts = make_parts(destinations=[dimse(archive)], routes=[to("pacs")])
        pushed(orthanc, parts, tmp_path, 1)
        result = worked(parts).result
    assert isinstance(result, dict)
    assert (result["stored"], result["unconfirmed"]) == ({"pacs": 2}, [] if commits else ["pacs"])
    assert parts.ledger.stored_count() == (2 if commits else 0)
    log = (tmp_path / "service.log").read_text()
    assert ("taken without a word that they are kept" in log) is not commits
