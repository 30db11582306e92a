"""The site is built without a warning and fetches nothing; the tables name tests and formats that are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import ROOT

from medseg.cli.commands.reports import Format

DOCS = ROOT / "docs"
PROVED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
FETCHED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?(https?:)?//[^"'> ]+""")


@pytest.mark.parametrize("page", ["features.md", "security.md"])
def test_every_row_names_a_test_that_is_there(page: str) -> None:
    rows = [
        line
        for line in (DOCS / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| feature", "| threat"))
    ]
    assert len(rows) > 20
    for row in rows:
        named = PROVED.findall(row)
        assert named, f"no test proves {row}"
        for path, test in named:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {test}(" in source if test else "def test_" in source, (path, test)


def test_the_page_on_exports_lists_every_format() -> None:
    rows = [line for line in (DOCS / "how_to" / "export.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert named == {one.value for one in Format}


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page
    assert not [path for path in tmp_path.rglob("*.css") if "fonts.googleapis" in path.read_text(encoding="utf-8")]


def test_a_fetched_font_would_be_seen() -> None:
    assert FETCHED.search('<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto">')
    assert FETCHED.search("<script src=//cdn.example/a.js></script>")
    assert not FETCHED.search('<script src="assets/a.js"></script>')
