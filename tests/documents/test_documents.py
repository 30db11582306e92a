"""Every code block and every command of README and docs is run, or parsed where the block says why it is not run."""

import json
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from blocks import ROOT, Block, blocks_of, documents
from made_workspace import make_workspace

from medseg.cli import app, main
from medseg.core.task import Task

WITH_BLOCKS = [path.relative_to(ROOT).as_posix() for path in documents() if blocks_of(path)]
SHORTER = (
    (re.compile(r"--minutes \S+"), "--minutes 0.1"),
    (re.compile(r"(medseg data phantoms \S+).*"), r"\1 --cases 5 --held-out 0"),
)
"""What is made smaller before a line is run; nothing else is changed."""

MADE_BY = {"README.md": ("manifests", "runs"), "docs/learning_from_corrections.md": ("models", "results")}
"""What a page's own commands make, and the workspace therefore must not hold."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all documents begin with."""
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working folder."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("document", WITH_BLOCKS)
def test_every_block_of(document: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in MADE_BY.get(document, ()):
        shutil.rmtree(workspace / folder)
    for block in blocks_of(ROOT / document):
        try:
            _check(block, monkeypatch)
        except Exception as error:
            raise AssertionError(f"{block.document}:{block.line}: {error}") from error


def _check(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.language in ("sh", "bash", "console"):
        for line in block.lines():
            _command(line, is_run=not block.is_parsed_only(line), monkeypatch=monkeypatch)
    elif block.language == "python":
        code = compile(block.text, block.document, "exec")
        if not block.excuse:
            exec(code, {"__name__": "__main__"})
    elif block.language == "toml":
        told = tomllib.loads(block.text)
        if "labels" in told:
            Task.model_validate(told)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language in ("yaml", "yml"):
        list(yaml.safe_load_all(block.text))
    else:
        assert block.language in ("text", "ini", "dockerfile", "csv"), f"a block in {block.language!r} is not checked"
        commands = [line for line in block.lines() if re.match(r"(medseg|make|python|pip|curl) ", line)]
        assert not commands, f"commands belong into a block of sh: {commands}"


def _command(line: str, *, is_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "medseg" and is_run:
        for pattern, replacement in SHORTER:
            line = pattern.sub(replacement, line)
        _run(shlex.split(line, comments=True), monkeypatch)
    elif words[0] == "medseg":
        parse(words[1:])
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in words[1:] if re.fullmatch("[a-z-]+", word)]
        assert targets, line
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), line
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        wanted = [name for word in words for name in re.findall(r"medseg\[([^]]+)\]", word)]
        assert {one for names in wanted for one in names.split(",")} <= set(extras), line
    elif words[0] in ("python", "pytest"):
        files = [word.partition("::")[0] for word in words[1:] if word.endswith(".py") or ".py::" in word]
        assert all((ROOT / file).is_file() for file in files), line
    else:
        assert not is_run, f"the tests do not know how to run {words[0]}: say why it is parsed only"


def _run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words)
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    assert code in (0, None), f"exit code {code}: {shlex.join(words)}"


def parse(words: list[str]) -> None:
    """Every word is a command, an option that the command has, or an argument it takes."""
    command: Any = typer.main.get_command(app)
    path = ["medseg"]
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        path.append(words.pop(0))
        command = command.get_command(None, path[-1])
        assert command is not None, f"there is no command {' '.join(path)}"
    if not (words and words[0] in ("--version", "--help", "--show-completion", "--install-completion")):
        command.make_context(" ".join(path), words, resilient_parsing=False)


@pytest.mark.parametrize("document", [path.relative_to(ROOT).as_posix() for path in documents()])
def test_every_file_linked_from(document: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text):
        assert ((ROOT / document).parent / link).exists(), link


def test_few_blocks_are_not_run() -> None:
    blocks = [block for path in documents() for block in blocks_of(path)]
    commands = [(block, line) for block in blocks for line in block.lines() if line.startswith("medseg ")]
    parsed = [line for block, line in commands if block.is_parsed_only(line) and not block.is_run_elsewhere]
    assert len(commands) >= 60
    assert len(parsed) <= 0.4 * len(commands), parsed
