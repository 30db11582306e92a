"""The service, started by the commands of the unit and the container, without root, on disks that cannot be written.

The sandbox is bubblewrap's: all is read-only but /var/lib/medseg and a /tmp of its own, no capability, no new
privilege, as ProtectSystem=strict, PrivateTmp, NoNewPrivileges and CapabilityBoundingSet= of the unit and --read-only
of the container say. The filter of system calls is systemd's own, and is not tried.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from dockerfile_parse import DockerfileParser
from free_port import free_port
from orthanc import Orthanc

from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series

DEPLOY = Path(__file__).parents[2] / "deploy"
NOBODY = 65534
SHAPE = (36, 50, 20)
LIMIT_S = 180.0
SHOWN = ("fonts", "hosts", "passwd", "group", "nsswitch.conf", "ld.so.cache", "ssl", "localtime")
"""What of /etc is there in the sandbox."""


@dataclass
class Sandbox:
    """A machine on which medseg is installed in /opt/medseg: its medseg.toml, its password, its state."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """The command as user nobody within the sandbox."""
        bound = [word for name in SHOWN if (Path("/etc") / name).exists() for word in bind(f"/etc/{name}")]
        python = (
            [*passage(Path(sys.base_prefix)), *bind(sys.base_prefix)] if sys.base_prefix.startswith("/root") else []
        )
        source = str(Path(__file__).parents[2])
        return [
            *("bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/"),
            *(
                "--dev",
                "/dev",
                "--perms",
                "1777",
                "--tmpfs",
                "/dev/shm",
                "--proc",
                "/proc",
                "--perms",
                "1777",
                "--tmpfs",
                "/tmp",
                "--tmpfs",
                "/root",
                *python,
            ),
            *("--tmpfs", "/etc", *bound, "--ro-bind", str(self.folder / "etc"), "/etc/medseg"),
            *(
                "--tmpfs",
                "/run",
                "--perms",
                "0755",
                "--dir",
                "/run/credentials",
                "--ro-bind",
                str(self.folder / "run"),
                "/run/credentials/medseg.service",
            ),
            *("--tmpfs", "/var/lib", "--bind", str(self.folder / "state"), "/var/lib/medseg"),
            *("--tmpfs", "/opt", "--ro-bind", sys.prefix, "/opt/medseg", "--ro-bind", source, "/opt/source"),
            *("--chdir", "/var/lib/medseg", "--clearenv", "--setenv", "PYTHONPATH", "/opt/source"),
            *("--setenv", "PATH", "/opt/medseg/bin:/usr/bin:/bin", "--setenv", "HOME", "/var/lib/medseg"),
            *("--setenv", "MEDSEG_CONFIG", "/etc/medseg/medseg.toml", "--setenv", "PYTHONDONTWRITEBYTECODE", "1"),
            *("--setenv", "OMP_NUM_THREADS", "1"),
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
            *("--bounding-set=-all", "--inh-caps=-all", *as_module(words)),
        ]

    def runs(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command, ended."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=LIMIT_S)

    def starts(self, *words: str) -> subprocess.Popen[bytes]:
        """The command, going on; killed with the test."""
        with (self.folder / "stderr").open("wb") as errors:
            self.running.append(subprocess.Popen(self.command(*words), stderr=errors, start_new_session=True))
        return self.running[-1]

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until it is so; fails with the service's log where it never is."""
        ends = time.monotonic() + LIMIT_S
        while not what():
            if time.monotonic() > ends or self.running[-1].poll() is not None:
                raise AssertionError((self.folder / "stderr").read_text()[-3000:])
            time.sleep(0.2)


def as_module(words: tuple[str, ...]) -> tuple[str, ...]:
    """The script as the module that it starts: its first line names a Python that has another place in the sandbox."""
    program, *others = words
    if program in ("medseg", "/opt/medseg/bin/medseg"):
        return ("/opt/medseg/bin/python", "-m", "medseg.cli", *others)
    return words


def bind(path: str) -> list[str]:
    return ["--ro-bind", path, path]


def passage(path: Path) -> list[str]:
    """The folders above a path, open to all: bubblewrap would keep them to root."""
    above = [str(parent) for parent in reversed(path.parents) if len(parent.parts) > 2]
    return [word for parent in above for word in ("--perms", "0755", "--dir", parent)]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    for program in ("bwrap", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install bubblewrap util-linux")
    if os.getuid() != 0:
        pytest.skip("only root can become another user: run it as root, or in a container")
    for name in ("etc", "run", "state"):
        (tmp_path / name).mkdir()
    os.chown(tmp_path / "state", NOBODY, NOBODY)
    (tmp_path / "state").chmod(0o700)
    made = Sandbox(tmp_path)
    if made.runs("true").returncode != 0:
        pytest.skip(f"no sandbox can be made here: {made.runs('true').stderr.strip()}")
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.wait()


def unit_command(name: str) -> list[str]:
    """ExecStart and the like of the unit, in words; a leading - says that it may fail."""
    (line,) = re.findall(rf"^{name}=(.*)$", (DEPLOY / "medseg.service").read_text(), re.MULTILINE)
    return str(line).removeprefix("-").split()


def image(tmp_path: Path) -> dict[str, str]:
    """The instructions of the container's last stage."""
    parser = DockerfileParser(path=str(tmp_path))
    parser.content = (DEPLOY / "Containerfile").read_text()
    last = max(number for number, one in enumerate(parser.structure) if one["instruction"] == "FROM")
    return {one["instruction"]: one["value"] for one in parser.structure[last:]}


def test_the_unit_and_the_container_run_without_root_on_read_only_disks(sandbox: Sandbox, tmp_path: Path) -> None:
    port, viewer_port = free_port(), free_port()
    final = image(sandbox.folder)
    health = [word.replace("9464", str(port)) for word in json.loads(final["HEALTHCHECK"].partition("CMD")[2])]
    with Orthanc(tmp_path / "orthanc", user="medseg", password="right") as archive:
        text = (DEPLOY / "medseg.toml").read_text()
        for old, new in (
            ("http://orthanc:8042/dicom-web", archive.dicomweb_url),
            ("/run/secrets/archive_password", "/run/credentials/medseg.service/archive_password"),
            ('address = "0.0.0.0"', 'address = "127.0.0.1"'),
            ("port = 9464", f"port = {port}\n[retention]\nleast_free_gb = 0.01\n[jobs]\nworkers = 1\nthreads = 1"),
            ("[metrics]", f"[viewer]\nenabled = true\nport = {viewer_port}\n[metrics]"),
            ("user =", "look_back_days = 0\nsettle_s = 0\npoll_s = 0.5\nuser ="),
        ):
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "etc" / "medseg.toml").write_text(text)
        (tmp_path / "run" / "archive_password").write_text("right\n")
        checked = sandbox.runs(*unit_command("ExecStartPre"), "--ask")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        shown = sandbox.runs(*json.loads(final["ENTRYPOINT"]), "config", "show")
        assert "medseg.toml" in shown.stdout, shown.stdout + shown.stderr
        assert sandbox.runs("touch", "/opt/source/there", "/etc/medseg/there").returncode != 0
        archive.push(made_mr(tmp_path / "mr"))
        service = sandbox.starts(*unit_command("ExecStart"))
        sandbox.until(lambda: sandbox.runs(*health).returncode == 0)
        sandbox.until(lambda: archive.objects("SR") != [])
        sandbox.until(lambda: answers(f"http://127.0.0.1:{viewer_port}/"))
        pid = served_by(service.pid)
        status = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert set(status["Uid"].split()) == {str(NOBODY)}
        assert (int(status["CapBnd"], 16), int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, 0, "1")
        os.kill(pid, signal.SIGTERM)
        assert service.wait(LIMIT_S) == 0
    assert {path.owner() for path in (tmp_path / "state").iterdir()} == {"nobody"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def served_by(ancestor: int) -> int:
    """The process of `medseg serve` below another."""
    for child in Path(f"/proc/{ancestor}/task/{ancestor}/children").read_text().split():
        if b"serve" in (command := Path(f"/proc/{child}/cmdline").read_bytes()) and not command.startswith(b"bwrap"):
            return int(child)
        if found := served_by(int(child)):
            return found
    return 0


def made_mr(folder: Path) -> Path:
    """An MR series of noise that the route of deploy/medseg.toml is for."""
    noise = np.random.default_rng(0).normal(300, 60, SHAPE).astype(np.int16)
    volume = Volume(noise, Geometry.from_spacing(SHAPE, (1.0, 1.0, 1.0)), "arbitrary")
    write_series(volume, folder, Series(Study(patient_id="P", date="20260101"), "MR", description="t1"))
    return folder
