"""Each page against axe-core's rules: no serious finding. axe-core is fetched by npm for the test only."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
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
    fetched = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, timeout=120)
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


def test_no_page_has_a_serious_finding(
    chromium: Any,
    axe: str,
    write_result: Callable[..., Path],
    tmp_path: Path,
    serve: Callable[[Path], AbstractContextManager[Any]],
) -> None:
    write_result()
    (tmp_path / "results" / "broken").mkdir()
    (tmp_path / "results" / "broken" / "report.json").write_text("{")
    with serve(tmp_path / "results") as viewer:
        page = chromium.new_page()
        page.set_default_timeout(20_000)
        page.goto(viewer.url)
        page.wait_for_selector(".worklist tbody tr")
        assert serious(page, axe) == []
        page.get_by_role("button", name="Doe, Jane").click()
        page.wait_for_selector(".room[data-loaded]")
        assert serious(page, axe) == []
        page.keyboard.press("l")
        assert serious(page, axe) == []
        page.keyboard.press("?")
        assert serious(page, axe) == []
        page.close()
