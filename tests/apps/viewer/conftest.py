"""A folder of results as `medseg segment` writes them, on a small scan whose every voxel is known."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from served_viewer import ServedViewer, launched_chromium, viewer_over

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
AXE = "axe-core@4.10.3"
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium for a file of tests, whose event loop ends with it; skips where none is installed."""
    with launched_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[ServedViewer]]:
    """`viewer_over`, for tests."""
    return viewer_over


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script; skips where npm or its registry is out of reach."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine, which fetches axe-core: install Node.js")
    folder = tmp_path_factory.mktemp("axe")
    try:
        fetched = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch {AXE} within two minutes: its registry is out of reach")
    if fetched.returncode != 0:
        pytest.skip(f"npm could not fetch {AXE}: {fetched.stderr.decode()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture(scope="session")
def serious(axe: str) -> Callable[[Any], list[str]]:
    """A function that says what axe-core calls serious or critical on a page, with the elements it means."""

    def findings(page: Any) -> list[str]:
        page.evaluate(axe)
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{one['id']}: {[node['target'] for node in one['nodes']][:4]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    return findings
