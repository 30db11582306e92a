"""The service as it is started: its processes, killed one by one and all at once; its listener; its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_port import free_port
from made_service import SHAPE, write_settings
from orthanc import Orthanc, made_ct, push
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import InputError
from medseg.jobs.worker_name import is_gone
from medseg.settings.sources import read_settings
from medseg.workflows.service.places import Places
from medseg.workflows.service.serve import serve

LIMIT_S = 90.0


@contextmanager
def running(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`medseg serve` on these settings; killed at the end where it still runs."""
    command = [sys.executable, "-m", "medseg.cli", "serve", "--config", str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    with (file.parent / "stderr").open("ab") as errors:
        process = subprocess.Popen(command, cwd=file.parent, env=environment, stderr=errors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(what: Callable[[], Any], file: Path) -> Any:
    """What is true at last. Fails with the log where it never is."""
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        try:
            if found := what():
                return found
        except (OSError, httpx.HTTPError):
            pass
        time.sleep(0.05)
    log = file.parent / "service.log"
    said = (log.read_text() if log.exists() else "") + (file.parent / "stderr").read_text()
    raise AssertionError(f"it did not happen within {LIMIT_S:g} s:\n{said[-3000:]}")


def answers(file: Path, path: str = "health") -> httpx.Response:
    told = json.loads((file.parent / "state" / "service.json").read_text())
    return httpx.get(told["health"].replace("health", path), timeout=5, trust_env=False)


def children(pid: int) -> list[int]:
    """The processes that a process has begun, the trackers of multiprocessing left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = stat.with_name("cmdline").read_bytes()
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid and b"resource_tracker" not in command:
            found.append(int(stat.parent.name))
    return found


def results(orthanc: Orthanc) -> int:
    return len(orthanc.objects("SR"))


def test_the_archive_may_be_down_and_any_process_killed_and_each_series_is_treated_once(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    file = write_settings(tmp_path, orthanc, archive={"settle_s": 1})  # a push takes a while
    orthanc.kill()
    with running(file) as service:
        until(lambda: answers(file).status_code == 200, file)
        until(lambda: "medseg_archive_up 0.0" in answers(file, "metrics").text, file)
        orthanc.start()
        until(lambda: "medseg_archive_up 1.0" in answers(file, "metrics").text, file)
        first = children(service.pid)
        for child in first:  # the watcher and the worker
            os.kill(child, signal.SIGKILL)
        until(lambda: answers(file).status_code == 503, file)
        orthanc.push(made_ct(tmp_path / "a", 1, shape=SHAPE))
        until(lambda: results(orthanc) == 1, file)
        until(lambda: answers(file).status_code == 200, file)
        assert not set(first) & set(children(service.pid))
        metrics = answers(file, "metrics").text
        assert 'medseg_process_starts_total{process="watcher"} 2.0' in metrics
        assert 'medseg_up{part="workers"} 1.0' in metrics
        assert answers(file, "live").status_code == 200
        assert answers(file, "else").status_code == 404
        with pytest.raises(InputError, match="another service runs on"):
            serve(read_settings(file).settings)
        orthanc.push(made_ct(tmp_path / "b", 2, shape=SHAPE))
        places = Places.of(read_settings(file).settings)
        with places.queue() as queue:
            until(lambda: queue.counts()["running"] or results(orthanc) == 2, file)
            service.kill()
            service.wait()
            until(lambda: all(is_gone(one.worker or "") for one in queue.records("running")), file)
    with running(file) as service:
        until(lambda: results(orthanc) == 2, file)
        orthanc.push(tmp_path / "a")
        until(lambda: 'state="done"} 2.0' in answers(file, "metrics").text, file)
        service.send_signal(signal.SIGTERM)
        assert service.wait(LIMIT_S) == 0
    assert sorted(series["Modality"] for series in orthanc.objects()) == ["CT", "CT", "SEG", "SEG", "SR", "SR"]
    assert not children(service.pid)
    lines = [json.loads(line) for line in (tmp_path / "service.log").read_text().splitlines()]
    assert {"service started", "series queued", "results stored", "process died", "archive", "service stopped"} <= {
        line["event"] for line in lines
    }


def test_what_is_sent_to_the_listener_is_treated_once(orthanc: Orthanc, tmp_path: Path) -> None:
    port = free_port()
    listener = {
        "port": port,
        "spool": "spool",
        "quiet_s": 0.5,
        "senders": [{"ae_title": "MODALITY", "addresses": ["127.0.0.1"]}],
    }
    dimse = {"kind": "dimse", "name": "pacs", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port}
    route = {"name": "liver", "model": "model", "match": {"modality": "CT"}, "destinations": ["pacs"]}
    file = write_settings(tmp_path, orthanc, listener=listener, destinations=[dimse], routes=[route])
    settings = file.read_text()
    file.write_text(settings[: settings.index("[archive]")] + settings[settings.index("[retention]") :])
    with running(file) as service:
        until(lambda: answers(file).status_code == 200, file)
        push(made_ct(tmp_path / "a", 1, shape=SHAPE), port, called="MEDSEG")
        until(lambda: results(orthanc) == 1, file)
        until(lambda: 'state="done"} 1.0' in answers(file, "metrics").text, file)
        for child in children(service.pid):  # the listener, the receiver and the worker
            os.kill(child, signal.SIGKILL)
        for name in ("listener", "receiver"):
            again = re.compile(rf'medseg_process_starts_total{{process="{name}"}} [2-9]')
            until(lambda again=again: again.search(answers(file, "metrics").text), file)  # type: ignore[misc]
        until(lambda: answers(file).status_code == 200, file)
        push(tmp_path / "a", port, called="MEDSEG")
        until(lambda: not list((tmp_path / "spool" / "series").iterdir()), file)
        until(lambda: 'state="done"} 1.0' in answers(file, "metrics").text, file)
    assert sorted(series["Modality"] for series in orthanc.objects()) == ["SEG", "SR"]
    with Places.of(read_settings(file).settings).queue() as queue:
        (record,) = queue.records()
    assert (record.state, record.starts) == ("done", 1)


def test_a_wrong_password_is_told_by_status_until_it_is_mended(tmp_path: Path) -> None:
    def status() -> int:
        told = CliRunner().invoke(app, ["status", "--config", str(file)])
        said.append(told.output)
        return told.exit_code

    said: list[str] = []
    password = tmp_path / "password"
    password.write_text("wrong")
    with Orthanc(tmp_path / "orthanc", user="medseg", password="right") as archive:
        signed = {"user": "medseg", "password_file": "password"}
        file = write_settings(tmp_path, archive, archive=signed)
        archive.push(made_ct(tmp_path / "a", 1, shape=SHAPE))
        with running(file):
            until(lambda: answers(file).status_code == 200, file)
            until(lambda: status() == 3 and "to be mended: " in said[-1], file)
            assert "does not let us in (HTTP 401)" in said[-1]
            password.write_text("right")
            until(lambda: results(archive) == 1, file)
            until(lambda: status() == 0, file)
            assert "archive: it answers" in said[-1]


@pytest.mark.parametrize(
    ("gone", "mend"),
    [("archive", r"give an \[archive\] or a \[listener\]"), ("routes", r"give at least one \[\[routes\]\]")],
)
def test_nothing_to_do_is_refused(gone: str, mend: str, tmp_path: Path) -> None:
    file = write_settings(tmp_path, "http://127.0.0.1:1/dicom-web")
    settings = read_settings(file).settings.model_copy(update={gone: None if gone == "archive" else ()})
    with pytest.raises(InputError, match=mend):
        serve(settings)
