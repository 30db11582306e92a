"""Each page against axe-core's rules: no serious finding. axe-core is fetched by npm for the test only."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

AXE = "axe-core@4.10.3"


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


def serious(page: Any, axe: str) -> list[str]:
    """What axe-core calls serious or critical, with the elements it means."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes']][:4]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    writer_in: Callable[[Path], Callable[..., Path]],
    vessels_in: Callable[[Path, Path], None],
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> Iterator[Any]:
    """Two studies, one that is broken, and a vessel with its map."""
    root = tmp_path_factory.mktemp("accessible")
    writer_in(root)("a")
    writer_in(root)("b")
    (root / "results" / "broken").mkdir()
    (root / "results" / "broken" / "report.json").write_text("{")
    vessels_in(root, root / "results" / "vessels")
    with serve(root / "results") as viewer:
        yield viewer


@pytest.fixture(params=["dark", "light"])
def page(chromium: Any, served: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(f"localStorage.setItem('medseg-theme', '{request.param}')")
    opened = context.new_page()
    opened.set_default_timeout(90_000)
    opened.goto(served.url)
    opened.wait_for_selector(".worklist tbody tr")
    yield opened
    context.close()


def test_no_page_has_a_serious_finding(page: Any, axe: str) -> None:
    found = {"worklist": serious(page, axe)}
    page.keyboard.press("u")
    page.wait_for_selector("dialog[open]")
    found["upload"] = serious(page, axe)
    page.keyboard.press("Escape")
    for name, ready in (
        ("Jobs", "h1"),
        ("Models", ".model"),
        ("Dashboard", ".tiles"),
        ("Log", ".list table"),
        ("Worklist", ".worklist tbody tr"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("[aria-current=page]", has_text=name).wait_for()
        page.wait_for_selector(ready)
        found[name] = serious(page, axe)
    page.locator("tr", has=page.locator("td.col-name").get_by_text("vessels", exact=True)).dblclick()
    page.wait_for_selector(".list-page[data-loaded] [data-section=tightest]")
    found["vessels"] = serious(page, axe)
    page.keyboard.press("q")
    for name in ("a", "b"):
        page.locator("tr", has=page.locator("td.col-name").get_by_text(name, exact=True)).click()
        page.keyboard.press("x")
    page.keyboard.press("p")
    page.wait_for_selector("[data-loaded][data-compared]")
    found["compare"] = serious(page, axe)
    page.keyboard.press("Enter")
    page.wait_for_selector(".room[data-loaded]:not(.list-page)")
    found["reading room"] = serious(page, axe)
    page.keyboard.press("?")
    found["keys"] = serious(page, axe)
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+E")
    page.wait_for_selector("dialog[open]")
    found["export"] = serious(page, axe)
    assert {name: problems for name, problems in found.items() if problems} == {}
