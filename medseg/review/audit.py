"""The log of who looked at, changed, exported or ran what: lines that are added and never changed or removed."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from medseg.core.database import append_only, connected, has_tables, make_tables
from medseg.core.errors import InputError

Act = Literal[
    "view",
    "edit",
    "verdict",
    "measure",
    "export",
    "upload",
    "run",
    "cancel",
    "retry",
    "fetch",
    "store",
    "release",
]

_FORMAT = 0

_TABLES = f"""
CREATE TABLE IF NOT EXISTS acts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  made TEXT NOT NULL, user TEXT NOT NULL, act TEXT NOT NULL, study TEXT NOT NULL, detail TEXT NOT NULL
);
{append_only("acts", "the log is")}
"""


@dataclass(frozen=True, slots=True)
class LoggedAct:
    """One line: when (UTC), who, what, of which study of the folder, and a word more."""

    made: datetime
    user: str
    act: Act
    study: str
    detail: str


class AuditLog:
    """The log in one folder, made when first written to. Safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "audit.sqlite"

    def add(self, user: str, act: Act, study: str = "", detail: str = "") -> None:
        """Write a line. Raises InputError where the folder cannot be written: then the act must not be done."""
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the log {self._database} cannot be written: {error.strerror}") from error
        with self._connected() as connection:
            make_tables(connection, _TABLES, _FORMAT)
            row = (datetime.now(UTC).isoformat(), user, act, study, detail)
            connection.execute("INSERT INTO acts (made, user, act, study, detail) VALUES (?, ?, ?, ?, ?)", row)

    def newest(self, most: int = 500, study: str | None = None) -> tuple[LoggedAct, ...]:
        """The last lines, the newest first; of one study where it is named."""
        if not self._database.is_file():
            return ()
        query = (
            "SELECT made, user, act, study, detail FROM acts WHERE ?1 IS NULL OR study = ?1 "
            "ORDER BY number DESC LIMIT ?2"
        )
        with self._connected() as connection:
            rows = connection.execute(query, (study, most)).fetchall() if has_tables(connection) else []
        return tuple(LoggedAct(datetime.fromisoformat(made), *others) for made, *others in rows)

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        return connected(self._database, f"the log {self._database}", _FORMAT)
