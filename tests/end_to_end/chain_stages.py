"""The stages of the whole chain that need real programs: Orthanc, `medseg serve` with its viewer, and Chromium.

The test of the chain (test_whole_chain.py) and its benchmark (benchmarks/product/whole_chain.py) put retraining, gate
and promotion between them.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import tomli_w
from free_port import free_port
from orthanc import Orthanc
from viewer_window import Window, accept, open_row, save

from medseg.core.study import Modality

LIMIT_S = 600.0


@dataclass(frozen=True)
class Site:
    """An archive and a service that treats what comes into it with the champion of a registry."""

    folder: Path
    orthanc: Orthanc
    viewer_port: int

    @property
    def url(self) -> str:
        """Where the viewer answers."""
        return f"http://127.0.0.1:{self.viewer_port}"

    @property
    def results(self) -> Path:
        """The results of the service, which its viewer shows."""
        return self.folder / "work"


@contextmanager
def running_site(folder: Path, registry: Path, modality: Modality) -> Iterator[Site]:
    """An empty archive and the service beside it, both up; ended as a service manager would."""
    with Orthanc(folder / "orthanc") as orthanc:
        site = Site(folder, orthanc, free_port())
        with (folder / "serve.txt").open("wb") as said:
            process = _begin_service(_write_settings(site, registry, modality), said)
        try:
            until(lambda: _is_well(site), site)
            yield site
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)


def send(site: Site, *studies: Path) -> None:
    """Send studies to the archive, and wait until it holds a SEG and an SR more for each."""
    wanted = {kind: len(site.orthanc.objects(kind)) + len(studies) for kind in ("SEG", "SR")}
    for study in studies:
        site.orthanc.push(study)
    until(lambda: all(len(site.orthanc.objects(kind)) == count for kind, count in wanted.items()), site)


def models_of(site: Site) -> dict[str, dict[str, str]]:
    """The model that the SEG and the SR of each patient in the archive name, by the first 16 digits of its hash."""
    found: dict[str, dict[str, str]] = {}
    for series in site.orthanc.get("/series?expand"):
        kind = series["MainDicomTags"]["Modality"]
        if kind in ("SEG", "SR"):
            file = io.BytesIO(site.orthanc.file(series["Instances"][0]))
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            found.setdefault(dataset.PatientID, {})[kind] = dataset.DeviceSerialNumber
    return found


def correct_and_accept(window: Window, patient: str, draw: Callable[[Any], None]) -> None:
    """Open a patient's study from the worklist, draw in its reading room, save, accept it."""
    room = open_row(window.worklist(), patient)
    draw(room)
    save(room)
    accept(room)
    room.page.close()


def until(what: Callable[[], Any], site: Site) -> Any:
    """What is true at last. Raises AssertionError, with what the service said, where it never is."""
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        if found := what():
            return found
        time.sleep(0.2)
    told = [path.read_text() for path in (site.folder / "serve.txt", site.folder / "service.log") if path.exists()]
    raise AssertionError(f"it did not happen within {LIMIT_S:g} s:\n{''.join(told)[-3000:]}")


def _write_settings(site: Site, registry: Path, modality: Modality) -> Path:
    """A medseg.toml with one route to the champion, the viewer, and short waits."""
    settings: dict[str, Any] = {
        "folders": {"state": "state", "work": site.results.name},
        "jobs": {"threads": 1},
        "archive": {"url": site.orthanc.dicomweb_url, "poll_s": 0.5, "settle_s": 1, "look_back_days": 0},
        "metrics": {"port": 0},
        "log": {"file": "service.log"},
        "retention": {"images": True, "least_free_gb": 0.1},
        "viewer": {"enabled": True, "port": site.viewer_port},
        "routes": [{"name": "champion", "model": f"champion@{registry}", "match": {"modality": modality}}],
    }
    path = site.folder / "medseg.toml"
    path.write_text(tomli_w.dumps(settings), encoding="utf-8")
    return path


def _begin_service(file: Path, said: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "medseg.cli", "serve", "--config", str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    return subprocess.Popen(command, stdout=said, stderr=said, env=environment)


def _is_well(site: Site) -> bool:
    """Whether the service says so of itself, and its viewer answers."""
    try:
        told = json.loads((site.folder / "state" / "service.json").read_text())
        addresses = (told["health"], site.url)
        return all(httpx.get(address, timeout=5, trust_env=False).status_code == 200 for address in addresses)
    except (OSError, httpx.HTTPError):
        return False
