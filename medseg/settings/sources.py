"""read_settings: medseg.toml, environment and flags as one Settings, and where each value came from.

The later wins: default, medseg.toml, environment (MEDSEG_ARCHIVE_URL is archive.url), flag (--set archive.url=...).
Secrets do not belong into the file: it names files that hold them, or the environment hands them in.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from medseg.core.errors import InputError
from medseg.settings.model import Settings
from medseg.settings.routes import Route

FILE = "medseg.toml"
ENVIRONMENT = "MEDSEG_"
HIDDEN = "***"

Key = tuple[str, str]
"""Section and name of a value."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for each value that is no default where it came from."""

    settings: Settings
    sources: Mapping[Key, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """Each value by name, as text without secrets, and its source."""
        rows = []
        for section in Settings.model_fields:
            value = getattr(self.settings, section)
            for name, shown in _shown(section, value):
                key = (section, name.rpartition(".")[2])
                rows.append((name, shown, self.sources.get(key) or self.sources.get((section, ""), "default")))
        return rows


def read_settings(
    file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Iterable[str] = ()
) -> Loaded:
    """The settings of a file, laid over by the environment and by flags SECTION.NAME=VALUE.

    Paths in the file are relative to it. Raises InputError where a value cannot be, or a name is unknown.
    """
    values: dict[str, Any] = {}
    sources: dict[Key, str] = {}
    if file is not None:
        _lay_file(values, sources, file)
    for (section, name), text, source in (*_of_environment(environment or {}), *_of_flags(flags)):
        values.setdefault(section, {})[name] = _parsed(text)
        sources[section, name] = source
    try:
        return Loaded(Settings.model_validate(values), sources)
    except ValidationError as error:
        raise InputError(_mending(error, sources, file)) from None  # its text would show secrets


def _lay_file(values: dict[str, Any], sources: dict[Key, str], file: Path) -> None:
    try:
        read = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file} does not exist. Name the file with --config; docs/service.md shows one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is not TOML: {error}") from error
    for section, table in read.items():
        kind = _model_of(Settings.model_fields[section].annotation) if section in Settings.model_fields else None
        values[section] = _placed(table, kind, file.absolute().parent, section)
        for name in table if isinstance(table, dict) else ("",):
            sources[section, name] = file.name


def _placed(table: Any, kind: type[BaseModel] | None, folder: Path, where: str) -> Any:
    """The table with its relative paths below the folder of the file. Raises InputError for a secret in it."""
    if isinstance(table, list):
        return [_placed(item, kind, folder, where) for item in table]
    if not isinstance(table, dict) or kind is None:
        return table
    placed = {}
    for name, value in table.items():
        field = kind.model_fields.get(name)
        parts = _parts(field.annotation) if field is not None else ()
        if SecretStr in parts:
            raise InputError(
                f"{where}.{name}: a secret does not belong into {FILE}. Put it into a file of its own and name that as "
                f"{name}_file, or set {ENVIRONMENT}{where.upper()}_{name.upper()}."
            )
        is_path = Path in parts and isinstance(value, str)
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
        placed[name] = str(folder / value) if is_path else _placed(value, inner, folder, f"{where}.{name}")
    if kind is Route and isinstance(table.get("model"), str):
        placed["model"] = _placed_model(table["model"], folder)
    return placed


def _placed_model(model: str, folder: Path) -> str:
    """A model's path or registry relative to the folder, where there is one; else its name as it was given."""
    alias, at, place = model.rpartition("@")
    return f"{alias}{at}{folder / place}" if (folder / place).exists() else model


def _of_environment(environment: Mapping[str, str]) -> Iterable[tuple[Key, str, str]]:
    """What variables say that are called as a section is."""
    for variable in sorted(environment):
        section, _, name = variable.removeprefix(ENVIRONMENT).lower().partition("_")
        if variable.startswith(ENVIRONMENT) and name and section in Settings.model_fields:
            yield (section, name), environment[variable], variable


def _of_flags(flags: Iterable[str]) -> Iterable[tuple[Key, str, str]]:
    for flag in flags:
        key, equals, text = flag.partition("=")
        section, dot, name = key.strip().partition(".")
        if not equals or not dot:
            raise InputError(f"--set takes SECTION.NAME=VALUE, such as archive.poll_s=5; got {key!r}")
        yield (section, name), text, f"--set {key.strip()}"


def _parsed(text: str) -> Any:
    """A list or table as TOML writes it; anything else stays text, and the field makes of it what it is."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{text!r} is no list or table of TOML: {error}") from error


def _mending(error: ValidationError, sources: Mapping[Key, str], file: Path | None) -> str:
    """The first thing that is wrong: where it stands, what it is, and the nearest known name for an unknown one."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = [part for part in problem["loc"] if isinstance(part, str)]
    section, name = (*place, "", "")[:2]
    source = sources.get((section, name)) or sources.get((section, "")) or (file.name if file else "the settings")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        known = _known(place[:-1])
        near = difflib.get_close_matches(place[-1], known, 1, 0.5)
        meant = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}."
        return f"{source}: {where} is not known. {meant}{more}"
    return f"{source}: {where + ': ' if where else ''}{problem['msg'].removeprefix('Value error, ')}{more}"


def _known(place: list[str]) -> list[str]:
    """The names that a table may have."""
    kind: type[BaseModel] | None = Settings
    for part in place:
        field = kind.model_fields.get(part) if kind is not None else None
        kind = _model_of(field.annotation) if field is not None else None
    return list(kind.model_fields) if kind is not None else []


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation is made of, through unions, tuples and Annotated."""
    if get_origin(annotation) in (Union, UnionType, tuple) or hasattr(annotation, "__metadata__"):
        return tuple(part for inner in get_args(annotation) for part in _parts(inner))
    return (annotation,)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is of, or of which it is a list."""
    found = (part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel))
    return next(found, None)


def _shown(name: str, value: Any) -> Iterable[tuple[str, str]]:
    """A value as lines of name and text; tables line by line, lists of tables numbered."""
    if isinstance(value, BaseModel):
        for inner in type(value).model_fields:
            yield from _shown(f"{name}.{inner}", getattr(value, inner))
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for number, item in enumerate(value, start=1):
            yield from _shown(f"{name}[{number}]", item)
    elif isinstance(value, SecretStr):
        yield name, HIDDEN
    elif isinstance(value, tuple):
        yield name, f"[{', '.join(map(str, value))}]"
    else:
        yield name, "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
