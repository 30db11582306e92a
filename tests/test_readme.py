"""What README.md tells people to type exists: commands, options, targets, files."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from medseg.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh|bash|console)\n(.*?)```", README, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]
COMMANDS = [line for line in LINES if line.startswith("medseg ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_medseg_command_parses(line: str) -> None:
    """Every word of the line is a command, an option that the command has, or an argument it takes."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(app)
    path = ["medseg"]
    while hasattr(command, "get_command"):
        path.append(words.pop(0))
        command = command.get_command(None, path[-1])
        assert command is not None, f"there is no command {' '.join(path)}"
    command.make_context(" ".join(path), words, resilient_parsing=False)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([a-z]+)", "\n".join(LINES), re.MULTILINE))))
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:|#)([^)]+)\)", README))))
def test_a_linked_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) >= 6
