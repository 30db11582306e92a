"""A folder of results as `medseg segment` writes them, on a small scan whose every voxel is known."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.findings import Finding, Measurement
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import Code
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_label_map, write_volume
from medseg.workflows.segmenting.find_blockages import find_blockages

TASK = load_task("phantom_ct")
SHAPE = (24, 20, 16)
SPACING_MM = (1.0, 1.5, 3.0)
CODE = Code(value="118565006", scheme="SCT", meaning="Volume")

WriteResult = Callable[..., Path]


def ras_values() -> NDArray[np.int16]:
    """HU (i right, j front, k head): 40 i + 10 j + k - 200, so that each voxel has its own value."""
    i, j, k = np.indices(SHAPE)
    return np.asarray(40 * i + 10 * j + k - 200, dtype=np.int16)


def ras_labels() -> NDArray[np.uint8]:
    """A lesion of 3 x 3 x 3 voxels about (18, 14, 10), on the right, and one of 2 x 2 x 2 from (4, 5, 3) on."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[17:20, 13:16, 9:12] = 2
    labels[4:6, 5:7, 3:5] = 2
    return labels


@pytest.fixture
def write_result(tmp_path: Path) -> WriteResult:
    """A function that writes one result, stored along any axes, and returns its folder (in tmp_path/results)."""
    return result_writer(tmp_path)


@pytest.fixture(scope="session")
def writer_in() -> Callable[[Path], WriteResult]:
    """`result_writer`, for fixtures of a wider scope."""
    return result_writer


def result_writer(root: Path) -> WriteResult:
    """A function that writes results into root/results and their scans into root/scans."""

    def write(
        name: str = "study_1", axis_codes: str = "LPS", patient_name: str = "Doe^Jane", turned_deg: float = 0.0
    ) -> Path:
        volume, label_map = _stored(axis_codes, turned_deg)
        source = root / "scans" / f"{name}.nii.gz"
        write_volume(volume, source)
        folder = root / "results" / name
        write_label_map(label_map, folder / "segmentation.nii.gz")
        study = Study(patient_id="P-001", patient_name=patient_name, date="20260312", description="Abdomen")
        report = Report(
            series=Series(study, "CT", description="Portal venous"),
            source=source,
            source_sha256=read_scan(source).sha256,
            task=TASK,
            model=ModelIdentity(name="phantom_unet", sha256="ab" * 32, medseg_version="0.1.0"),
            findings=_findings(volume.geometry),
            created=datetime(2026, 3, 12, 10, 5, tzinfo=UTC),
            duration_s=1.0,
        )
        (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
        return folder

    return write


def _stored(axis_codes: str, turned_deg: float) -> tuple[Volume, LabelMap]:
    angle = np.deg2rad(turned_deg)
    affine = np.diag((*SPACING_MM, 1.0))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    geometry = Geometry(SHAPE, turn @ affine)
    volume = Volume(ras_values(), geometry, "HU").reoriented(axis_codes)
    label_map = LabelMap(ras_labels(), geometry, TASK.label_schema).reoriented(axis_codes)
    return volume, label_map


def _findings(geometry: Geometry) -> tuple[Finding, ...]:
    along_ras = geometry.reoriented(geometry.reorientation_to("RAS"))
    lesion = TASK.label_schema.named("lesion")
    found = []
    for instance, (index, volume_ml) in enumerate((((18, 14, 10), 0.1215), ((4, 5, 3), 0.036)), start=1):
        centre_mm = along_ras.world(index)
        own = np.round(geometry.index(centre_mm)).astype(int)
        found.append(
            Finding(
                label=lesion,
                instance=instance,
                centroid_mm=(float(centre_mm[0]), float(centre_mm[1]), float(centre_mm[2])),
                index=(int(own[0]), int(own[1]), int(own[2])),
                measurements=(Measurement(name="volume", value=volume_ml, unit="mL", code=CODE, interval=(0.03, 0.2)),),
            )
        )
    return tuple(found)


@pytest.fixture(scope="session")
def vessels_in() -> Callable[[Path, Path], None]:
    """A function that writes a vessel map into a folder, and the result of `medseg vessels` on it into another."""
    return write_vessels


def write_vessels(root: Path, output: Path) -> None:
    """A straight vessel of 4 mm along k, narrowed to 2 mm half-way, as the share of vessel in each voxel."""
    i, j, k = np.indices((30, 30, 80))
    radius = 2.0 - 1.0 * np.exp(-(((k - 40) * 0.5 / 3) ** 2))
    share = np.clip((radius - np.hypot(i - 14.5, j - 14.5) * 0.5) / 0.5 + 0.5, 0, 1).astype(np.float32)
    write_volume(Volume(share, Geometry.from_spacing(share.shape, (0.5, 0.5, 0.5))), root / "map.nii.gz")
    find_blockages(root / "map.nii.gz", output)


@pytest.fixture
def result_folder(write_result: WriteResult, tmp_path: Path) -> Path:
    """A folder with one result."""
    write_result()
    return tmp_path / "results"


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium for the whole test run; skips where none is installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


class ServedViewer:
    """The viewer as users start it, on a free port of this machine: its address, and the folder that it shows."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._options = options
        self.folder, self.url = folder, f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Start it, or start it again where it was before."""
        command = [sys.executable, "-m", "apps.viewer", str(self.folder), "--port", str(self._port), "--no-browser"]
        command += self._options
        root = Path(__file__).resolve().parents[3]
        self._server = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_until_up(self._server, self._port)

    def stop(self) -> None:
        """End it."""
        self._server.terminate()
        self._server.wait(timeout=30)


@contextmanager
def viewer_over(folder: Path, *options: str) -> Iterator[ServedViewer]:
    """A viewer that runs while the block does."""
    served = ServedViewer(folder, *options)
    try:
        yield served
    finally:
        served.stop()


def _wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the viewer stopped with exit code {server.returncode} before it was up")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail("the viewer was not up within 60 s")


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[ServedViewer]]:
    """`viewer_over`, for tests."""
    return viewer_over
