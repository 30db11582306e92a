"""An archive is asked by hand, by DICOMweb and by DIMSE: it answers, a prior is found, and had."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from dicom_peers import RunningListener
from free_port import free_port
from made_service import write_settings
from orthanc import Orthanc, made_ct
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import InputError, UnreachableError
from medseg.settings.model import Listener
from medseg.settings.sources import read_settings
from medseg.workflows.service.places import Places

SENDERS = [{"ae_title": "ORTHANC", "addresses": ["127.0.0.1"]}]
BEFORE, NOW = "20250101", "20260101"


@dataclass
class Hospital:
    """An archive with two scans of one patient and one of another, and a listener that it may send to."""

    config: Path
    listener: RunningListener

    def says(self, *words: str) -> str:
        """What `medseg archive WORDS` prints; what it raises goes through."""
        said = CliRunner().invoke(app, ["archive", *words, "--config", str(self.config)], catch_exceptions=False)
        assert said.exit_code == 0, said.output
        return said.output


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    prior = made_ct(folder / "prior", seed=1, shape=(16, 16, 8))
    for file in prior.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.StudyDate = BEFORE
        dataset.save_as(file)
    listener = Listener.model_validate({"spool": folder / "spool", "port": 0, "senders": SENDERS})
    with (
        RunningListener(listener) as running,
        Orthanc(folder / "orthanc", peers={"MEDSEG": running.port}) as archive,
    ):
        archive.push(prior)
        archive.push(made_ct(folder / "scan", seed=2, shape=(16, 16, 6)))
        archive.push(made_ct(folder / "other", patient="PHANTOM2", shape=(16, 16, 6)))
        node = {"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1"}
        config = write_settings(
            folder,
            archive,
            listener={"spool": "spool", "senders": SENDERS},
            dimse={"timeout_s": 10, "tries": 1},
            destinations=[
                {**node, "name": "pacs", "port": archive.dicom_port},
                {**node, "name": "away", "port": free_port()},
            ],
        )
        Places.of(read_settings(config).settings).make()
        yield Hospital(config, running)


def rows(said: str) -> list[list[str]]:
    """What `find` says of each series: date, modality, images, description, study, series."""
    *lines, count = said.splitlines()
    assert count == f"{len(lines) // 2} series"
    return [[*lines[n].split("  "), *lines[n + 1].split()] for n in range(0, len(lines), 2)]


# a connection that nobody accepted is left by pynetdicom for Python to close
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_archive_says_whether_it_answers(hospital: Hospital) -> None:
    assert hospital.says("echo", "archive") == "archive: it answers\n"
    assert hospital.says("echo", "pacs") == "pacs: it answers\n"
    with pytest.raises(InputError, match="these do not answer: away"):
        hospital.says("echo")
    with pytest.raises(InputError, match="no archive attic; it names: archive, pacs, away"):
        hospital.says("echo", "attic")


@pytest.mark.parametrize("name", ["archive", "pacs"])
def test_the_priors_of_a_patient_are_listed_the_newest_first(hospital: Hospital, name: str) -> None:
    found = rows(hospital.says("find", "PHANTOM", "--from", name))
    assert [row[:4] for row in found] == [[NOW, "CT", "6 images", "phantom"], [BEFORE, "CT", "8 images", "phantom"]]
    assert rows(hospital.says("find", "PHANTOM", "--from", name, "--date", BEFORE)) == found[1:]
    assert hospital.says("find", "PHANTOM", "--from", name, "--modality", "MR") == "0 series\n"
    assert hospital.says("find", "NOBODY", "--from", name) == "0 series\n"
    for everybody in ("*", "PHANTOM*", "PHANTOM?", "PHANTOM\\PHANTOM2", " ", ""):
        with pytest.raises(InputError, match="would match other patients"):
            hospital.says("find", everybody, "--from", name)


def test_a_list_of_studies_that_was_cut_says_so(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lists more than" not in hospital.says("find", "PHANTOM")
    monkeypatch.setattr("medseg.workflows.scans.fetch_scans.MOST_STUDIES", 1)
    assert "the archive lists more than 1 studies; name a day with --date" in hospital.says("find", "PHANTOM")


def test_a_prior_is_fetched_whole_into_a_new_folder(hospital: Hospital, tmp_path: Path) -> None:
    study, series = rows(hospital.says("find", "PHANTOM"))[1][4:]
    assert "8 images" in hospital.says("fetch", study, series, "--output", str(tmp_path / "prior"))
    got = sorted((tmp_path / "prior").iterdir())
    assert [pydicom.dcmread(file).SeriesInstanceUID for file in got] == [series] * 8
    with pytest.raises(InputError, match="is there already"):
        hospital.says("fetch", study, series, "--output", str(tmp_path / "prior"))
    with pytest.raises(InputError, match="medseg archive move"):
        hospital.says("fetch", study, series, "--output", str(tmp_path / "new"), "--from", "pacs")
    with pytest.raises(InputError, match="lists no images"):
        hospital.says("fetch", study, "1.2.3", "--output", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_prior_is_sent_to_the_listener_and_noted(hospital: Hospital) -> None:
    study, series = rows(hospital.says("find", "PHANTOM", "--from", "pacs"))[1][4:]
    assert hospital.says("move", study, series, "--from", "pacs").startswith("8 images")
    assert hospital.listener.heard("received")[0]["images"] == 8
    audit = (hospital.config.parent / "state" / "audit.sqlite").read_bytes()
    assert b"8 images to the listener, by hand" in audit
    assert study.encode() not in audit
    with pytest.raises(InputError, match="medseg archive fetch"):
        hospital.says("move", study, series, "--from", "archive")
    with pytest.raises((InputError, UnreachableError), match=r"has no images|did not send"):
        hospital.says("move", study, "1.2.3", "--from", "pacs")
