"""The index of a registry: which versions there are and where each alias pointed when, in one SQLite file.

A version is added and an alias is moved by one transaction, and nothing is ever changed or removed: where an alias
points is what its moves come to. A kill at any moment leaves the old state or the new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from medseg.core.database import append_only, connected, has_tables, make_tables
from medseg.core.errors import InputError, StoreError

INDEX = "registry.sqlite"
FORMAT = 1
"""Version of the tables, kept in SQLite's user_version."""

MoveKind = Literal["set", "back"]

_TABLES = f"""
CREATE TABLE IF NOT EXISTS versions (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL UNIQUE, name TEXT NOT NULL, added TEXT NOT NULL, origin TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS moves (
  step INTEGER PRIMARY KEY AUTOINCREMENT,
  alias TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL REFERENCES versions (number),
  made TEXT NOT NULL, person TEXT NOT NULL, reason TEXT NOT NULL
);
{append_only("versions", "versions are")}
{append_only("moves", "moves are")}
"""


@dataclass(frozen=True, slots=True)
class Version:
    """One model of a registry: its number, its identity, the name it came with, and where it came from."""

    number: int
    sha256: str
    name: str
    added: datetime
    origin: str


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias: set to a version, or back to the one before; by whom and why."""

    alias: str
    kind: MoveKind
    number: int
    made: datetime
    person: str
    reason: str


class Index:
    """The index in a registry's folder, made when first written to. Safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / INDEX

    def versions(self) -> tuple[Version, ...]:
        """Every version, in order of its number."""
        query = "SELECT number, sha256, name, added, origin FROM versions ORDER BY number"
        with self._reading() as connection:
            rows = connection.execute(query).fetchall()
        return tuple(
            Version(n, sha, name, datetime.fromisoformat(added), origin) for n, sha, name, added, origin in rows
        )

    def moves(self, alias: str | None = None) -> tuple[Move, ...]:
        """The moves of one alias or of all, oldest first."""
        query = "SELECT alias, kind, number, made, person, reason FROM moves ORDER BY step"
        with self._reading() as connection:
            rows = connection.execute(query).fetchall()
        moves = (Move(name, kind, n, datetime.fromisoformat(made), *others) for name, kind, n, made, *others in rows)
        return tuple(move for move in moves if alias in (None, move.alias))

    def add(self, sha256: str, name: str, origin: str) -> None:
        """List a model; one that is listed already stays as it is."""
        row = (sha256, name, datetime.now(UTC).isoformat(), origin)
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO versions (sha256, name, added, origin) VALUES (?, ?, ?, ?)", row)

    def move(self, alias: str, number: int, person: str, reason: str, *, expects: int | None = None) -> None:
        """Point an alias at a version.

        Raises StoreError where it does not point at the version that it `expects`, where one is named.
        """
        with self._writing() as connection:
            now = _standing_now(connection, alias)
            if expects is not None and now[-1:] != [expects]:
                raise StoreError(f"{_changed(alias, expects, now)}. Judge version {number} again, against that one.")
            _append(connection, Move(alias, "set", number, datetime.now(UTC), person, reason))

    def move_back(self, alias: str, person: str, reason: str, *, expects: list[int]) -> int:
        """Point an alias at the version that it pointed at before; its number.

        Raises StoreError where none was, or the versions that it can go back to are not those that it `expects`.
        """
        if len(expects) < 2:
            raise StoreError(f"there is no {alias} to go back to: it has pointed at {len(expects)} version so far")
        with self._writing() as connection:
            now = _standing_now(connection, alias)
            if now != expects:
                raise StoreError(f"{_changed(alias, expects[-1], now)}. Look at `medseg models list`, and ask again.")
            _append(connection, Move(alias, "back", expects[-2], datetime.now(UTC), person, reason))
        return expects[-2]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the registry {self._database.parent} cannot be written: {error.strerror}") from error
        with self._connected() as connection:
            connection.execute("PRAGMA synchronous=FULL")
            make_tables(connection, _TABLES, FORMAT)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself ends it where the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        none = StoreError(
            f"{self._database.parent} is no registry of models: it has no {INDEX}. `medseg models import` begins one."
        )
        if not self._database.is_file():
            raise none
        with self._connected() as connection:
            if not has_tables(connection):
                raise none
            yield connection

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        return connected(self._database, f"the registry {self._database.parent}", FORMAT)


def standing(moves: list[tuple[MoveKind, int]]) -> list[int]:
    """The versions that an alias can go back to, the one it points at last; empty where it was never set."""
    pointed: list[int] = []
    for kind, number in moves:
        if kind == "back":
            pointed.pop()
        else:
            pointed.append(number)
    return pointed


def _standing_now(connection: sqlite3.Connection, alias: str) -> list[int]:
    rows = connection.execute("SELECT kind, number FROM moves WHERE alias = ? ORDER BY step", (alias,))
    return standing(list(rows))


def _changed(alias: str, expected: int, now: list[int]) -> str:
    points = f"points at version {now[-1]}" if now else "points at none"
    return f"the {alias} changed meanwhile: it was version {expected}, and now {points}"


def _append(connection: sqlite3.Connection, move: Move) -> None:
    row = (move.alias, move.kind, move.number, move.made.isoformat(), move.person, move.reason)
    connection.execute("INSERT INTO moves (alias, kind, number, made, person, reason) VALUES (?, ?, ?, ?, ?, ?)", row)
