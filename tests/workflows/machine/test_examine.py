"""The doctor: what is there, what is missing, how to get it; an archive that answers, refuses, or is not there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.workflows.machine import examine
from medseg.workflows.machine.examine import Check, examine_machine


def of(checks: tuple[Check, ...], group: str) -> dict[str, Check]:
    return {check.name: check for check in checks if check.group == group}


@contextmanager
def archive(status: int) -> Iterator[str]:
    """A server that answers every question with one status; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            body = b"[]" if status == HTTPStatus.OK else b""
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings(folder: Path, url: str) -> None:
    (folder / "medseg.toml").write_text(f'[archive]\nurl = "{url}"\n', encoding="utf-8")


def test_here_everything_that_is_required_is_there(tmp_path: Path) -> None:
    checks = examine_machine(tmp_path)
    assert not [check for check in checks if check.state == "missing"]
    assert {check.group for check in checks} == {
        "machine",
        "network",
        "codecs",
        "disk",
        "packages",
        "extras",
        "programs",
    }
    assert all(check.mend for check in checks if check.state != "fine")
    assert all(not check.mend for check in checks if check.state == "fine")


def test_what_is_missing_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2.0", "no-such-package>=1", 'no-such-extra>=1; extra == "ray"', 'medseg[ray]; extra == "all"']
    monkeypatch.setattr(examine, "requires", lambda _: lines)
    monkeypatch.setattr("shutil.which", lambda _: None)
    checks = examine_machine(tmp_path)
    required = of(checks, "packages")["required"]
    assert (required.state, required.found) == ("missing", "without no-such-package")
    for name in ("ray", "all"):
        extra = of(checks, "extras")[name]
        assert (extra.state, extra.found) == ("optional", "without no-such-extra")
        assert extra.mend == f"pip install 'medseg[{name}]'"
    assert of(checks, "programs")["Orthanc"].mend == "apt-get install orthanc"


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_500_000_000}))
    results = of(examine_machine(tmp_path), "disk")["results"]
    assert (results.state, results.found) == ("optional", f"1.5 GB free in {tmp_path}")


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (200, "fine", "answers"),
        (204, "fine", "answers"),
        (401, "missing", "does not let us in"),
        (404, "missing", "404"),
    ],
)
def test_an_archive_answers(tmp_path: Path, status: int, state: str, said: str) -> None:
    with archive(status) as url:
        settings(tmp_path, url)
        check = of(examine_machine(tmp_path), "archive")["DICOMweb"]
    assert check.state == state
    assert said in check.found


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings(tmp_path, f"http://127.0.0.1:{port}")
    check = of(examine_machine(tmp_path), "archive")["DICOMweb"]
    assert check.state == "missing"
    assert "did not list its studies" in check.found


def test_an_archive_that_cannot_be_asked_for_want_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medseg.core.extras.find_spec", lambda _: None)
    settings(tmp_path, "http://127.0.0.1:9")
    check = of(examine_machine(tmp_path), "archive")["DICOMweb"]
    assert (check.state, check.mend) == ("missing", "pip install 'medseg[network]'")
    assert "dicomweb_client" in check.found


@pytest.mark.parametrize(
    ("text", "found"),
    [("[archive", "TOML"), ('[archive]\nurl = "no address"', "give the address of")],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "medseg.toml").write_text(text, encoding="utf-8")
    assert [found in check.found for check in examine_machine(tmp_path) if check.group == "archive"] == [True]


def test_settings_without_an_archive_are_fine(tmp_path: Path) -> None:
    (tmp_path / "medseg.toml").write_text("[jobs]\nworkers = 1\n", encoding="utf-8")
    assert not of(examine_machine(tmp_path), "archive")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        examine_machine(tmp_path / "none")
