"""The whole chain, once: archive, service, reader, retraining, gate, and the next study by the next champion.

    python benchmarks/product/whole_chain.py [--folder out/chain] [--first-minutes 0.5] [--minutes 2]

Made CT studies. A young champion is trained and registered; a real Orthanc gets a study by dcmtk's storescu; `medseg
serve` fetches, segments and stores SEG and SR; in headless Chromium the study is opened from the worklist, corrected
and accepted; then `medseg retrain`, `medseg models judge`, `medseg models promote`; the archive gets the next study,
whose result must name the new champion. Seconds and peak memory of each stage; exit code 1 where the gate refuses.
Needs Orthanc and dcmtk (`make archive`) and Chromium (`make browser`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "exchange"), str(ROOT / "tests" / "jobs")]

from orthanc import Orthanc, free_port  # noqa: E402 - of the tests: a real archive
from served_viewer import launched_chromium  # noqa: E402 - of the tests: a real browser

MEDSEG = [sys.executable, "-m", "medseg.cli"]
LIMIT_S = 600.0
TEST_STUDIES, NEW_STUDIES = 12, 2


@dataclass
class Chain:
    """The folders of one run, and what each stage took."""

    folder: Path
    first_minutes: float
    minutes: float
    rows: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def new(self) -> Path:
        return self.folder / "new"

    @property
    def registry(self) -> Path:
        return self.folder / "models"

    @property
    def results(self) -> Path:
        return self.folder / "work"

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done within, and watch the memory of this process's descendants."""
        watch, begin = MemoryWatch(), time.perf_counter()
        with watch:
            yield
        self.rows.append((name, time.perf_counter() - begin, watch.peak_mb))
        print(f"{name}: {self.rows[-1][1]:.1f} s, {watch.peak_mb:.0f} MB", flush=True)

    def run(self, *words: str) -> str:
        """What a medseg command prints."""
        ended = subprocess.run([*MEDSEG, *words], capture_output=True, text=True, check=False, env=environment())
        if ended.returncode not in (0, 3):
            raise SystemExit(f"medseg {' '.join(words)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended.stdout


class MemoryWatch:
    """The most resident memory that all descendants of this process held together, sampled ten times a second."""

    def __enter__(self) -> MemoryWatch:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak_mb = max(self.peak_mb, sum(resident_mb(pid) for pid in descendants(os.getpid())))


def descendants(root: int) -> set[int]:
    """All processes below one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, grown = {root}, True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        found |= below
        grown = bool(below)
    return found - {root}


def resident_mb(pid: int) -> float:
    """Proportional share where the kernel tells it, so that what browsers share counts once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def prepare(chain: Chain) -> None:
    """Data, and a champion that has learned for a short while."""
    with chain.stage("make studies"):
        chain.run("data", "phantoms", str(chain.data), "--cases", "15", "--held-out", str(TEST_STUDIES))
        chain.run("data", "phantoms", str(chain.new), "--cases", "5", "--held-out", str(NEW_STUDIES), "--seed", "1")
    with chain.stage("train the first champion"):
        run, minutes = str(chain.folder / "first"), str(chain.first_minutes)
        chain.run("train", str(chain.data), "--output", run, "--minutes", minutes)
        chain.run("models", "import", str(chain.registry), f"{run}/model")


def write_settings(chain: Chain, orthanc: Orthanc, viewer_port: int) -> Path:
    """A medseg.toml with a route for CT to the champion, the viewer, and short waits."""
    settings: dict[str, Any] = {
        "folders": {"state": "state", "work": "work"},
        "jobs": {"workers": 1},
        "archive": {"url": orthanc.dicomweb_url, "poll_s": 1, "settle_s": 2, "look_back_days": 0},
        "metrics": {"port": 0},
        "log": {"file": "service.log"},
        "retention": {"images": True},
        "viewer": {"enabled": True, "port": viewer_port},
        "routes": [{"name": "phantom", "model": f"champion@{chain.registry}", "match": {"modality": "CT"}}],
    }
    path = chain.folder / "medseg.toml"
    path.write_text(tomli_w.dumps(settings), encoding="utf-8")
    return path


@contextmanager
def service(file: Path) -> Iterator[None]:
    """`medseg serve` until the end, ended as a service manager would."""
    with (file.parent / "serve.txt").open("ab") as said:
        process = subprocess.Popen(
            [*MEDSEG, "serve", "--config", str(file)], stdout=said, stderr=said, env=environment()
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def until(what: Callable[[], Any], told: str) -> Any:
    """What is true at last."""
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        if found := what():
            return found
        time.sleep(0.2)
    raise SystemExit(f"{told} did not happen within {LIMIT_S:g} s; see the logs in the folder")


def reports(chain: Chain) -> dict[str, str]:
    """The hash of the model of each result."""
    found = {}
    for path in chain.results.glob("*/result/report.json"):
        found[path.parent.parent.name] = str(json.loads(path.read_text(encoding="utf-8"))["model"]["sha256"])
    return found


def through(orthanc: Orthanc, study: Path, count: int) -> None:
    """Send a study to the archive and wait until SEG and SR of so many studies are in it."""
    orthanc.push(study)
    until(lambda: len(orthanc.objects("SEG")) == count and len(orthanc.objects("SR")) == count, f"result {count}")


def correct_and_accept(url: str, picture: Path) -> None:
    """Open the only study of the worklist, draw with the brush, save, accept."""
    with launched_chromium() as browser:
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.locator(".worklist tbody tr").first.dblclick()
        page.wait_for_selector(".room[data-loaded]")
        page.keyboard.press("b")
        box = page.locator(".pane-axial").bounding_box()
        x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 30, y + 5, steps=6)
        page.mouse.up()
        page.keyboard.press("Control+s")
        page.locator("[data-read=review-state]", has_text="saved").wait_for()
        page.keyboard.press("Shift+Y")
        page.wait_for_selector(".badge.accepted")
        page.screenshot(path=str(picture))


def run_chain(chain: Chain) -> bool:
    """Every stage in turn; False where the gate refused the challenger."""
    prepare(chain)
    studies = sorted((chain.new / "dicom").iterdir())
    port = free_port()
    with Orthanc(chain.folder / "orthanc") as orthanc, service(write_settings(chain, orthanc, port)):
        url = f"http://127.0.0.1:{port}"
        with chain.stage("archive -> service -> SEG and SR in the archive"):
            through(orthanc, studies[0], 1)
        first = reports(chain)
        with chain.stage("worklist, correction and acceptance in Chromium"):
            correct_and_accept(url, chain.folder / "corrected.png")
        with chain.stage("retrain"):
            told = (
                "--registry",
                str(chain.registry),
                "--data",
                str(chain.data),
                "--output",
                str(chain.folder / "second"),
            )
            print(chain.run("retrain", str(chain.results), *told, "--minutes", str(chain.minutes)), end="")
        with chain.stage("gate"):
            print(chain.run("models", "judge", str(chain.registry), "--data", str(chain.data)), end="")
        with chain.stage("promote"):
            promoted = subprocess.run(
                [*MEDSEG, "models", "promote", str(chain.registry), "challenger"], env=environment(), check=False
            )
        if promoted.returncode:
            return False
        with chain.stage("the next study, by the next champion"):
            through(orthanc, studies[1], 2)
    (model,) = set(reports(chain).values()) - set(first.values())
    print(f"the next study was segmented by {model[:12]}, the one before by {next(iter(first.values()))[:12]}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("out/chain"))
    parser.add_argument("--first-minutes", type=float, default=0.5)
    parser.add_argument("--minutes", type=float, default=2.0)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    chain = Chain(folder, arguments.first_minutes, arguments.minutes)
    is_whole = run_chain(chain)
    print("\n| stage | seconds | peak MB of all processes |\n|---|---|---|")
    for name, seconds, peak in chain.rows:
        print(f"| {name} | {seconds:.1f} | {peak:.0f} |")
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
