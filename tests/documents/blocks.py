"""The code blocks of README and docs, and which of their lines the tests only parse.

A comment right above a block says why it is not run:

    <!-- parsed, not run: it needs a cluster -->                            the whole block
    <!-- parsed, not run: "medseg view", "--engine ray": why -->            the lines that hold one of these texts
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXCUSE = r"(?:<!-- parsed, not run: (?P<excuse>[^>]+?) -->\n)?"
FENCE = re.compile(
    EXCUSE + r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its language, its text; `excuse` is why some of it is not run, if so."""

    document: str
    line: int
    language: str
    text: str
    excuse: str

    def is_parsed_only(self, line: str) -> bool:
        """Whether this line of the block is parsed and not run."""
        words = re.findall(r'"([^"]+)"', self.excuse)
        return any(word in line for word in words) if words else bool(self.excuse)

    @property
    def is_run_elsewhere(self) -> bool:
        """Whether the excuse names the test that runs it."""
        return any((ROOT / name).is_file() for name in re.findall(r"tests/[\w/]+\.py", self.excuse))

    def lines(self) -> list[str]:
        """Its command lines: continued ones joined, comments and empty ones left out."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in joined if line.strip() and not line.strip().startswith("#")]


def documents() -> list[Path]:
    """README and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(document: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    text = document.read_text(encoding="utf-8")
    name = document.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, found.start()) + 1, found["language"], found["text"], found["excuse"] or "")
        for found in FENCE.finditer(text)
    ]
