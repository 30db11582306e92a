"""Pages of the site that stand elsewhere in the repository, and links that lead to the right place in both.

MkDocs calls `on_files` and `on_page_markdown` (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
MODELS = "medseg/shipped_models"
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)]*)?(?=\))")


def pages() -> dict[str, str]:
    """Places in the site of files that lie outside docs/, by their path in the repository."""
    moved = {"README.md": "index.md", "benchmarks/RESULTS.md": "results.md", "CHANGELOG.md": "changelog.md"}
    moved["LICENSE"] = "licence.md"
    for card in sorted((ROOT / MODELS).glob("*/card.md")):
        moved[card.relative_to(ROOT).as_posix()] = f"models/{card.parent.name}.md"
    return moved


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside docs/."""
    for source, place in pages().items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text if source.endswith(".md") else f"```\n{text}```\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links, which are right in the repository, turned to where the files are in the site."""
    del config, files
    home = {place: source for source, place in pages().items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return LINK.sub(lambda found: _link(found[1], home, page.file.src_uri) + (found[2] or ""), markdown)


def _link(target: str, home: str, place: str) -> str:
    """The link of a page at `place` in the site to a file that the text at `home` in the repository names."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
    there = pages().get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
    if there is None:
        return target
    return posixpath.relpath(there, posixpath.dirname(place) or ".")
