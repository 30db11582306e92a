"""Every subcommand, found by walking the application, with arguments that are missing, wrong and extreme.

Whatever is given, a person gets a sentence and exit code 2; never a traceback, never silence.
"""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import typer.main

from medseg.cli import app, main

NUMBERS = ("-1", "1e308", "nan", "inf", "99999999999999999999", "0x10", "", "much")
"""What is no number of anything here, or one out of all bounds."""

TEXTS = (" ", "-", "x" * 5000, "\u202egnp.exe", "\udcff\udcfe", "../" * 20 + "none", "scan\nsecond line", "%s%n{0}")
"""Names of nothing: a space, too long, backwards, not UTF-8, upwards, of two lines, with places to fill in."""


def commands() -> dict[str, Any]:
    """Every subcommand that does something, by its words."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield " ".join(words), command
            return
        for name, inner in command.commands.items():
            yield from below(inner, (*words, name))

    return dict(below(typer.main.get_command(app), ()))


COMMANDS = commands()
WITH_INPUT = [name for name, command in COMMANDS.items() if any(p.required for p in command.params)]
MAKERS = ("data phantoms", "data vessels")
"""They need no input, and write to any new folder."""

ANSWERS = ("inspect", "models shadow", "review worklist")
"""Whatever they are given, that nothing is there is an answer."""


def outcome(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `medseg WORDS`; any exception but the end of the process goes through."""
    monkeypatch.setattr(sys, "argv", ["medseg", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def first_kind(parameter: Any) -> Any:
    """The type of one value of a parameter."""
    kind = parameter.type_descriptor.annotation
    return get_args(kind)[0] if get_origin(kind) in (list, tuple) else kind


def required(command: Any, value: str) -> list[str]:
    """Each argument and option that a command insists on, all with one value, or its first choice."""
    words: list[str] = []
    for parameter in command.params:
        if not parameter.required:
            continue
        kind = first_kind(parameter)
        filled = next(iter(kind)).value if isinstance(kind, type) and issubclass(kind, Enum) else value
        words += [parameter.opts[0], filled] if parameter.param_type_name == "option" else [filled]
    return words


def numbers(command: Any) -> list[str]:
    """The options of a command that take a number."""
    return [
        parameter.opts[0]
        for parameter in command.params
        if parameter.param_type_name == "option" and first_kind(parameter) in (int, float)
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_it_has_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome([*name.split(), "--help"], monkeypatch) == 0
    assert f"medseg {name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", WITH_INPUT)
def test_nothing_at_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(name.split(), monkeypatch) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_it_has_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome([*name.split(), "--no-such-option"], monkeypatch) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_one_argument_too_many(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = [*name.split(), *required(COMMANDS[name], str(tmp_path / "none")), *["surplus"] * 4]
    if any(parameter.nargs == -1 for parameter in COMMANDS[name].params):
        pytest.skip("it takes any number of arguments")
    assert outcome(words, monkeypatch) == 2


@pytest.mark.parametrize("what", ["missing", "text", "empty file", "empty folder"])
@pytest.mark.parametrize("name", [name for name in WITH_INPUT if name not in MAKERS])
def test_an_input_that_is_none(
    name: str, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input"
    if what == "empty folder" and name == "view":
        pytest.skip("the viewer opens on an empty folder: scans are brought in there")
    if what in ("text", "empty file"):
        path.write_text("this is not an image" if what == "text" else "", encoding="utf-8")
    elif what == "empty folder":
        path.mkdir()
    monkeypatch.chdir(tmp_path)
    code = outcome([*name.split(), *required(COMMANDS[name], str(path))], monkeypatch)
    assert code == 2 or (code == 0 and name in ANSWERS)
    said = capsys.readouterr()
    assert len((said.out + said.err).strip()) > 20


@pytest.mark.parametrize("name", WITH_INPUT)
def test_names_that_are_none(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for text in TEXTS if name not in MAKERS else ("x" * 5000,):
        code = outcome([*name.split(), *required(COMMANDS[name], text)], monkeypatch)
        assert code == 2 or (code == 0 and name in ANSWERS), text[:20]


@pytest.mark.parametrize("name", [name for name in COMMANDS if numbers(COMMANDS[name])])
def test_numbers_that_are_none(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    inside_a_file = str(tmp_path / "input" / "nothing can lie here")
    monkeypatch.chdir(tmp_path)
    for option in numbers(COMMANDS[name]):
        for number in NUMBERS:
            given = required(COMMANDS[name], inside_a_file) or [inside_a_file]
            words = [*name.split(), *given, option, number]
            assert outcome(words, monkeypatch) == 2, f"{option} {number}"


def test_the_walk_finds_the_commands() -> None:
    assert {"segment", "batch", "data check", "models promote", "review verify", "doctor"} <= set(COMMANDS)
