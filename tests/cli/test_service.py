"""The commands of the service: what they print, and their exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import InputError
from medseg.jobs.job import Job
from medseg.settings.sources import read_settings
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places

FAILED = Job(workflow="segment_series", arguments={"study": "1.2.3.4.5", "series": "1.2.3.4.6", "route": "hippocampus"})


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "medseg.toml"
    file.write_text(
        '[folders]\nstate = "state"\nwork = "work"\n[archive]\nurl = "http://127.0.0.1:9/dicom-web"\ntries = 1\n'
        '[[routes]]\nname = "hippocampus"\nmodel = "hippocampus_mr"\nmatch = { modality = "MR" }\n'
    )
    return file


@pytest.fixture
def places(config: Path) -> Places:
    """A state in which one job failed and one series is held."""
    places = Places.of(read_settings(config).settings)
    places.make()
    with places.queue() as queue:
        queue.submit([FAILED])
        claim = queue.claim("w")
        assert claim is not None
        queue.fail(claim, "the series has a gap of 10 mm", is_final=True)
    ledger = Ledger(places.ledger_file)
    ledger.note_series("1.2.3.4.5", "1.2.3.4.7", "hippocampus", "held", "it has 8 of the 9 images")
    ledger.note_series("1.2.3.4.5", "1.2.3.4.8", "", "passed over", "its modality is US, not MR")
    return places


def run(*command: str, exit_code: int = 0) -> str:
    said = CliRunner().invoke(app, list(command))
    assert said.exit_code == exit_code, said.output
    return said.output


def test_status_tells_what_needs_a_person(places: Places) -> None:
    said = run("status", exit_code=3)
    for word in ("a gap of 10 mm", "8 of the 9 images", "no service answers", "it was not asked yet", FAILED.id[:12]):
        assert word in said
    assert "its modality is US" not in said
    assert "1.2.3.4" not in said
    assert "its modality is US" in run("status", "--all", exit_code=3)
    assert "1.2.3.4.7" in run("status", "--identify", exit_code=3)
    told = json.loads(run("status", "--json", exit_code=3))
    assert told["jobs"]["quarantined"] == 1
    assert told["to_mend"] == []
    assert {row["state"] for row in told["series"]} == {"quarantined", "held"}
    assert not any("study_uid" in row for row in told["series"])


def test_status_alone_ends_well_until_an_archive_does_not_let_us_in(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.workflows.service.standing._health", lambda _: "")
    places = Places.of(read_settings(config).settings)
    places.make()
    places.queue().close()
    run("status")
    ledger = Ledger(places.ledger_file)
    ledger.note("archive", "the archive did not answer")
    ledger.note_to_mend("gone", "storing", "a destination that medseg.toml no longer names")
    assert "archive: the archive did not answer" in run("status"), "it may come back by itself"
    ledger.note_to_mend("archive", "asking", "it does not let us in")
    assert "to be mended: it does not let us in" in run("status", exit_code=3)
    assert json.loads(run("status", "--json", exit_code=3))["to_mend"] == ["it does not let us in"]
    ledger.note_to_mend("archive", "asking", "")
    run("status")


def test_what_failed_is_tried_again_and_what_is_held_released(places: Places) -> None:
    assert "2 set aside" in run("quarantine", "list")
    assert "1 tried again" in run("retry", FAILED.id[:12])
    with places.queue() as queue:
        assert queue.counts()["waiting"] == 1
    assert "0 tried again" in run("retry")
    assert "1 released" in run("quarantine", "release", "--all")
    assert "0 set aside" in run("quarantine", "list")
    with pytest.raises(InputError, match="is called 0123"):
        CliRunner().invoke(app, ["retry", "0123"], catch_exceptions=False)
    with pytest.raises(InputError, match="or --all"):
        CliRunner().invoke(app, ["quarantine", "release"], catch_exceptions=False)


def test_before_the_first_start_there_is_nothing_to_tell(config: Path) -> None:
    with pytest.raises(InputError, match="no service has run on"):
        CliRunner().invoke(app, ["status"], catch_exceptions=False)


def test_config_is_shown_with_its_sources(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSEG_JOBS_WORKERS", "2")
    said = run("config", "show", "--set", "archive.poll_s=3")
    for words in ("MEDSEG_JOBS_WORKERS", "--set archive.poll_s", "hippocampus_mr", "default"):
        assert words in said


def test_config_is_checked(config: Path, tmp_path: Path) -> None:
    assert "can be used" in run("config", "check")
    assert "error: archive: the archive http://127.0.0.1:9/dicom-web did not" in run(
        "config", "check", "--ask", exit_code=3
    )
    config.write_text(config.read_text().replace('"MR"', '"CT"'))
    assert "it matches CT, and its model is for MR" in run("config", "check", exit_code=3)
    config.write_text(config.read_text().replace("hippocampus_mr", "nowhere").replace("127.0.0.1", "archive"))
    said = run("config", "check", exit_code=3)
    assert "nowhere is not a model bundle" in said
    assert "note: archive: patients' data and passwords go unencrypted" in said


def test_without_the_extra_it_is_named(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.core.extras.find_spec", lambda _: None)
    for command in ("serve", "status", "retry"):
        with pytest.raises(InputError, match=r"pip install 'medseg\[network\]'"):
            CliRunner().invoke(app, [command], catch_exceptions=False)
    assert "hippocampus" in run("config", "show")
