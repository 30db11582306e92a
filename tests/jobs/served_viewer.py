"""The viewer as users start it, and a real Chromium to look at it with."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from free_port import free_port

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


@contextmanager
def launched_chromium(*arguments: str) -> Iterator[Any]:
    """A headless Chromium, with more arguments; the test is skipped where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=[*CHROMIUM_ARGUMENTS, *arguments])
        yield browser
        browser.close()


class ServedViewer:
    """The viewer as users start it, on a free port of this machine: its address, and the folder that it shows.

    `reader` is who sits at it, the user of this process where nobody is named.
    """

    def __init__(self, folder: Path, *options: str, reader: str | None = None) -> None:
        self._port = free_port()
        self._options = options
        self._surroundings = {**os.environ, "LOGNAME": reader} if reader else None
        self.folder, self.url = folder, f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Start it, or start it again where it was before."""
        command = [sys.executable, "-m", "apps.viewer", str(self.folder), "--port", str(self._port), "--no-browser"]
        command += self._options
        root = Path(__file__).resolve().parents[2]
        silent = subprocess.DEVNULL
        self._server = subprocess.Popen(command, cwd=root, env=self._surroundings, stdout=silent, stderr=silent)
        try:
            _wait_until_up(self._server, self._port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it."""
        self._server.terminate()
        self._server.wait(timeout=90)


@contextmanager
def viewer_over(folder: Path, *options: str, reader: str | None = None) -> Iterator[ServedViewer]:
    """A viewer that runs while the block does."""
    served = ServedViewer(folder, *options, reader=reader)
    try:
        yield served
    finally:
        served.stop()


def _wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the viewer stopped with exit code {server.returncode} before it was up")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail("the viewer was not up within 90 s")
