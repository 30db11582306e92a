"""How fast the viewer is on a large made CT: first picture, slice step, window change, brush, jump, save.

    python benchmarks/product/viewer.py [--slices 300] [--size 512] [--output viewer.json]

Needs chromium. A change is timed inside the browser from its cause until a pixel of each pane can be read back, so that
work that a canvas puts off is in it; a frame passes between two changes. `processor_ms` is what all processes of the
browser spent on one change and its frame, which other work on the machine disturbs least. With `--slices 1500` the scan
is larger than a tab holds and is shown with fewer pixels; nothing is saved then.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from medseg.analysis.quantification.measure import measure_findings
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import ModelIdentity, Report
from medseg.core.study import Series, Study
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.write import write_label_map, write_volume

TASK = load_task("phantom_ct")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
REPEATS = 60
TIMED = """
async (host) => {
  const room = host.room;
  const times = [];
  for (let n = 0; n < %d; n += 1) {
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const started = performance.now();
    %s;
    for (const { canvas } of room.panes) canvas.getContext("2d").getImageData(0, 0, 1, 1);
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return { least: times[0], median: times[times.length >> 1], p95: times[Math.floor(times.length * 0.95)] };
}
"""
DAB = (
    "room.brush.is3d = %s; if (n === 0) room.edit.begin();"
    " room.changedWithin(room.tools.brush.dab(room.panes[0], [100 + n, 200, room.cursor[2]]));"
    " room.drawNow([...room.stale]); if (n === %d) room.edit.end()"
)
CHANGES = {
    "nothing": "",
    "slice step, axial": "room.step(1, room.panes[0]); room.drawNow()",
    "slice step, sagittal": "room.step(1, room.panes[2]); room.drawNow()",
    "window change": "room.setWindow({ centre: 40 + n, width: 400 + n }); room.drawNow()",
    "brush dab, 5 mm disc": DAB % ("false", REPEATS - 1),
    "brush dab, 5 mm ball": DAB % ("true", REPEATS - 1),
    "row jump": "room.goToFinding(n % room.study.findings.length); room.drawNow()",
}


def write_study(root: Path, size: int, slices: int) -> Path:
    """A noisy elliptic body with an organ and three lesions; the folder of results."""
    generator = np.random.default_rng(0)
    geometry = Geometry.from_spacing((size, size, slices), (0.8, 0.8, 1.0)).reoriented(
        Geometry.from_spacing((size, size, slices), (0.8, 0.8, 1.0)).reorientation_to("LPS")
    )
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    body = np.where((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, 40, -1000)
    noise = generator.normal(0, 15, (size, size, 8)).astype(np.int16)
    values = np.empty((size, size, slices), np.int16)
    labels = np.zeros((size, size, slices), np.uint8)
    organ = (x / 0.4 + 0.5) ** 2 + (y / 0.35) ** 2 < 1
    for k in range(slices):
        values[:, :, k] = body + noise[:, :, k % 8]
        if abs(k - slices / 2) < slices / 4:
            labels[organ, k] = 1
        for n, radius in enumerate((0.12, 0.08, 0.05)):
            depth = (k - slices * (0.4 + 0.1 * n)) / slices * 2
            labels[(x + 0.2 - 0.1 * n) ** 2 + y**2 + depth**2 < radius**2, k] = 2
    volume, label_map = Volume(values, geometry, "HU"), LabelMap(labels, geometry, TASK.label_schema)
    source = root / "scan.nii"
    write_volume(volume, source)
    folder = root / "results" / "large"
    write_label_map(label_map, folder / "segmentation.nii.gz")
    report = Report(
        series=Series(Study(patient_name="Large^CT"), "CT"),
        source=source,
        source_sha256=read_scan(source).sha256,
        task=TASK,
        model=ModelIdentity(name="made", sha256="0" * 64, medseg_version="0.1.0"),
        findings=measure_findings(label_map, TASK, volume),
        created=datetime.now(UTC),
        duration_s=0.0,
    )
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")
    return root / "results"


def open_study(page: Page, url: str) -> dict[str, float]:
    """Seconds from the click in the worklist to the first picture and to the last voxel."""
    page.goto(url)
    page.wait_for_selector(".worklist .jump")
    started = time.perf_counter()
    page.locator(".worklist .jump").first.click()
    page.wait_for_selector(".room[data-first]", timeout=300_000)
    first = time.perf_counter() - started
    page.wait_for_selector(".room[data-loaded]", timeout=300_000)
    return {"first_picture_s": first, "all_voxels_s": time.perf_counter() - started}


def save(page: Page) -> float:
    """Seconds from the key to the page saying "saved"."""
    page.locator(".room").evaluate("async (host) => { await host.room.review.keepDraft(); }")
    started = time.perf_counter()
    page.keyboard.press("Control+s")
    page.locator("[data-read=review-state]", has_text="saved").filter(has_not_text="not").wait_for(timeout=300_000)
    return time.perf_counter() - started


def processor_s(browser: Browser) -> float:
    """Processor time that all processes of the browser have taken."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return float(sum(process["cpuTime"] for process in told["processInfo"]))


def time_change(browser: Browser, room: Locator, change: str) -> dict[str, float]:
    """Milliseconds of a change: the least, the median, the 95th percentile, and processor time a change."""
    before = processor_s(browser)
    times: dict[str, float] = room.evaluate(TIMED % (REPEATS, change))
    return {**times, "processor_ms": 1000 * (processor_s(browser) - before) / REPEATS}


def measure(url: str, program: str) -> dict[str, Any]:
    """Everything that is measured, by name."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=[*ARGUMENTS, "--enable-precise-memory-info"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.on("pageerror", lambda error: print(f"page error: {error}", file=sys.stderr))
        results: dict[str, Any] = {"cold": open_study(page, url), "prepared": open_study(page, url)}
        room = page.locator(".room")
        results["ms"] = {name: time_change(browser, room, change) for name, change in CHANGES.items()}
        results["heap_mb"] = page.evaluate("performance.memory.usedJSHeapSize / 1e6")
        results["is_thinned"] = room.evaluate("(host) => host.room.study.is_thinned")
        if not results["is_thinned"]:
            results["save_s"] = save(page)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        room.evaluate("(host) => host.room.server.fresh()")
        results["voxel_requests_of_a_rerun"] = sum("/data/studies/" in url for url in asked)
        browser.close()
    return results


def main() -> None:
    """Make the study, serve it, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary, socket.socket() as probe:
        folder = write_study(Path(temporary), arguments.size, arguments.slices)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "apps.viewer", str(folder), "--port", str(port), "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not _is_up(port):
                time.sleep(0.2)
            results = measure(f"http://127.0.0.1:{port}", program)
        finally:
            server.terminate()
            server.wait()
    results["scan"] = [arguments.size, arguments.size, arguments.slices]
    print(json.dumps(results, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1), encoding="utf-8")


def _is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
