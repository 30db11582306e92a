"""A real archive for tests: Orthanc on loopback, started, killed and started again on the same storage; and its feed.

Orthanc and dcmtk come from apt (`make archive`); what needs them is skipped, with the reason, where they are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from free_port import free_port

from medseg.core.study import Series, Study
from medseg.datasets.phantoms.study import make_study, phantom_grid
from medseg.exchange.dicom.writing.series import write_series

INSTALL = "apt-get install -y orthanc orthanc-dicomweb dcmtk (or: make archive)"
AE_TITLE = "ORTHANC"

_PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))
_STORESCU = Path("/usr/bin/storescu")
"""dcmtk's; the one in a virtual environment is pynetdicom's and takes other arguments."""
_START_S = 30.0


def require_orthanc() -> None:
    """Skip the test where Orthanc or its DICOMweb plug-in is missing."""
    if _program() is None or _plugin() is None:
        pytest.skip(f"Orthanc with its DICOMweb plug-in is not installed: {INSTALL}")


def require_storescu() -> None:
    """Skip the test where dcmtk's storescu is missing."""
    if not _STORESCU.exists():
        pytest.skip(f"dcmtk's storescu is not installed: {INSTALL}")


@dataclass
class Orthanc:
    """One archive with a storage of its own; `peers` are AE titles it may send to: {"MEDSEG": 11112}.

    `settings` are laid over Orthanc's own JSON: {"MaximumStorageSize": 1}. Use it as a context manager.
    """

    folder: Path
    user: str | None = None
    password: str = "archive"
    peers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    http_port: int = 0
    dicom_port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where Orthanc's own API answers."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Where QIDO, WADO and STOW answer."""
        return f"{self.url}/dicom-web"

    @property
    def log(self) -> str:
        """What Orthanc said since it was first started."""
        return (self.folder / "orthanc.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process that runs."""
        if self._process is None:
            raise RuntimeError("the archive does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, or start it again on its storage and its ports; it answers when this returns."""
        require_orthanc()
        if not self.http_port:
            self.http_port, self.dicom_port = free_port(), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration()))
        with (self.folder / "orthanc.log").open("ab") as log:
            command = [str(_program()), str(configuration)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End it as a service manager would; its storage stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=_START_S)
            self._process = None

    def kill(self) -> None:
        """kill -9; its storage stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON of a GET below the address of its own API: "/instances"."""
        answer = httpx.get(self.url + path, auth=self._auth, timeout=_START_S, trust_env=False)
        return answer.raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """The JSON of a POST below the address of its own API."""
        answer = httpx.post(self.url + path, json=body, auth=self._auth, timeout=60, trust_env=False)
        return answer.raise_for_status().json()

    def objects(self, modality: str | None = None) -> list[dict[str, Any]]:
        """Main tags of each series with its Instances; of one modality ("SEG") or of all."""
        series = self.get("/series?expand")
        tags = [{**one["MainDicomTags"], "Instances": len(one["Instances"])} for one in series]
        return [one for one in tags if modality in (None, one.get("Modality"))]

    def file(self, instance: str) -> bytes:
        """The DICOM file of an instance, by Orthanc's own name of it (from `get("/instances")`)."""
        answer = httpx.get(f"{self.url}/instances/{instance}/file", auth=self._auth, timeout=_START_S, trust_env=False)
        return answer.raise_for_status().content

    def push(self, folder: Path, *, calling: str = "MODALITY") -> None:
        """Send every file in a folder to it by dcmtk's storescu."""
        push(folder, self.dicom_port, called=AE_TITLE, calling=calling)

    @property
    def _auth(self) -> tuple[str, str] | None:
        return None if self.user is None else (self.user, self.password)

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": "archive of a test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": AE_TITLE,
            "DicomCheckCalledAet": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": self.user is not None,
            "RegisteredUsers": {} if self.user is None else {self.user: self.password},
            "Plugins": [str(_plugin())],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "StudiesMetadata": "Full"},
            "UnknownSopClassAccepted": True,  # its DCMTK does not know Label Map Segmentation Storage
            "StorageCommitmentReportsSize": 100,
            "DicomModalities": {title: [title, "127.0.0.1", port] for title, port in self.peers.items()},
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "StableAge": 2,
            "OverwriteInstances": False,
            "ConcurrentJobs": 1,
            "SyncStorageArea": False,  # a killed process loses nothing by it, a power cut would
            "HttpThreadsCount": 8,
            **self.settings,
        }

    def _wait_until_it_answers(self) -> None:
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Orthanc ended while it started:\n{self.log[-2000:]}")
            try:
                self.get("/system")
                socket.create_connection(("127.0.0.1", self.dicom_port), timeout=1).close()
            except (httpx.TransportError, OSError):
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"Orthanc did not answer for {_START_S:g} s:\n{self.log[-2000:]}")


def push(folder: Path, port: int, *, called: str, calling: str = "MODALITY", limit_s: float = 120.0) -> None:
    """Send every file in a folder by dcmtk's storescu; raises AssertionError with what it said where it failed."""
    ended = storescu(folder, port, called=called, calling=calling, limit_s=limit_s)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def storescu(
    folder: Path, port: int, *, called: str, calling: str = "MODALITY", limit_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """dcmtk's storescu on a folder, ended however it ended."""
    require_storescu()
    command = [str(_STORESCU), "-q", "-aet", calling, "-aec", called, "+sd", "+r", "127.0.0.1", str(port), str(folder)]
    at_once = {**os.environ, "TCP_NODELAY": "1"}  # dcmtk's own switch: without it each image waits for an answer 40 ms
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=at_once, check=False)


def made_ct(
    folder: Path, seed: int = 0, *, patient: str = "PHANTOM", shape: tuple[int, int, int] = (32, 32, 16)
) -> Path:
    """A CT series of the made anatomy (task phantom_ct), a file a slice; its UIDs follow from seed, patient and shape.

    The grid covers the whole anatomy whatever its shape.
    """
    spacing = (240 / shape[0], 240 / shape[1], 192 / shape[2])
    made = make_study(seed, phantom_grid(shape, spacing))
    study = Study(patient_id=patient, date="20260101", description="made by a formula")
    write_series(made.volume, folder, Series(study, "CT", description="phantom"))
    return folder


def _program() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/bin")


def _plugin() -> Path | None:
    return next((plugin for plugin in _PLUGINS if plugin.exists()), None)
