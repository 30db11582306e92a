"""Take the pictures of the viewer that README and docs show.

    python docs/make_screenshots.py [RESULTS] [--output docs/images]

RESULTS is a folder of results, such as the one that `make demo` leaves; without it, results are made. Needs chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_results import write_made_results
from PIL import Image
from playwright.sync_api import Page, Playwright, sync_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
SIZE = {"width": 1280, "height": 800}
START_TIMEOUT_S = 120.0
LONG_MS = 240_000
COLOURS = 255


@contextmanager
def viewer(folder: Path) -> Iterator[str]:
    """The address of a viewer over a folder, while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "apps.viewer", str(folder), "--port", str(port), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def shoot(page: Page, path: Path) -> None:
    """Write what the page shows, in few colours, so that it is small."""
    picture = Image.open(io.BytesIO(page.screenshot(timeout=LONG_MS))).convert("RGB")
    # The method that keeps a colour that few pixels have, as that of a label.
    few = picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def take(page: Page, url: str, output: Path) -> None:
    """Write a picture of each page; of the vessels and of two studies beside each other where RESULTS holds such."""
    page.goto(url, timeout=LONG_MS)
    page.wait_for_selector(".worklist .jump", timeout=LONG_MS)
    shoot(page, output / "worklist.png")
    page.keyboard.press("Enter")
    page.wait_for_selector(".room[data-loaded]", timeout=LONG_MS)
    page.locator(".room").evaluate("(host) => host.room.drawNow()")
    page.mouse.move(2, 2)
    shoot(page, output / "viewer.png")
    page.keyboard.press("v")
    page.locator(".room").evaluate("(host) => { host.room.drawNow(); host.room.pane3d.show(true); }")
    shoot(page, output / "viewer_3d.png")
    page.keyboard.press("?")
    page.wait_for_selector(".help[open]")
    shoot(page, output / "viewer_keys.png")
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    for name in ("Jobs", "Models", "Dashboard", "Log"):
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("[aria-current=page]", has_text=name).wait_for()
        page.wait_for_selector(
            {"Jobs": ".list table", "Models": ".model", "Dashboard": ".tiles", "Log": ".list table"}[name],
            timeout=LONG_MS,
        )
        if name == "Jobs":
            page.locator(".badge.waiting, .badge.running").first.wait_for(state="detached", timeout=LONG_MS)
        shoot(page, output / f"viewer_{name.lower()}.png")
    take_readings(page, output)
    take_compared(page, output)
    take_vessels(page, output)


def take_readings(page: Page, output: Path) -> None:
    """Write viewer_readings.png of the first study that waits for an adjudication, if there is one."""
    to_worklist(page)
    found = page.locator(".worklist tr", has_text="to adjudicate")
    if found.count() > 0:
        found.first.dblclick()
        page.wait_for_selector(".room[data-loaded]:not(.list-page)", timeout=LONG_MS)
        page.locator("[data-read=readers]").get_by_text("Cohen's kappa").wait_for(timeout=LONG_MS)
        page.get_by_role("button", name="Lay over").click()
        page.locator("[data-read=agreement] .number").first.wait_for(timeout=LONG_MS)
        page.get_by_label("Difference").check()
        page.locator(".readings").scroll_into_view_if_needed()
        page.mouse.move(2, 2)
        page.locator(".room").evaluate("(host) => host.room.drawNow()")
        shoot(page, output / "viewer_readings.png")
        page.keyboard.press("q")


def take_compared(page: Page, output: Path) -> None:
    """Write viewer_compare.png of the newest study that has a prior, if one has."""
    to_worklist(page)
    rows = page.locator(".worklist tbody tr")
    dates = rows.locator("td.col-date").all_inner_texts()
    if not any(dates):
        return
    rows.nth(dates.index(max(dates))).click()
    page.keyboard.press("p")
    if page.locator(".message:visible").count() == 0:
        page.wait_for_selector("[data-loaded][data-compared]", timeout=LONG_MS)
        page.locator(".changes .jump").first.click()
        shoot(page, output / "viewer_compare.png")


def take_vessels(page: Page, output: Path) -> None:
    """Write viewer_vessels.png of the first result of `medseg vessels`, if there is one."""
    to_worklist(page)
    found = page.locator(".worklist tr", has=page.locator(".badge.vessels"))
    if found.count() > 0:
        found.first.dblclick()
        page.wait_for_selector("[data-section=behind]", timeout=LONG_MS)
        shoot(page, output / "viewer_vessels.png")


def to_worklist(page: Page) -> None:
    """Go to the worklist from any of the pages with a bar."""
    page.get_by_role("button", name="Worklist", exact=True).click()
    page.wait_for_selector("[data-study] .jump", timeout=LONG_MS)


def main() -> None:
    """Serve the folder, open it in chromium, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parent / "images")
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as started:
        results = arguments.results or write_made_results(Path(temporary))
        with viewer(results) as url:
            take_all(started, program, url, arguments.output)


def take_all(started: Playwright, program: str, url: str, output: Path) -> None:
    """Open a browser, take the pictures, close it."""
    with started.chromium.launch(executable_path=program, args=list(ARGUMENTS)) as browser:
        take(browser.new_page(viewport=SIZE), url, output)


if __name__ == "__main__":
    main()
