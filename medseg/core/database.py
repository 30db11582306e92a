"""SQLite files as medseg opens them: autocommit, patient with other writers, their faults told as sentences."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medseg.core.errors import InputError, StoreError

BUSY_TIMEOUT_S = 30.0
_PAUSE_S = 0.01


@contextmanager
def connected(path: Path, what: str, newest_format: int) -> Iterator[sqlite3.Connection]:
    """A connection to the database of `what` ("the review store X"), for the block.

    Raises StoreError where it was written by a newer medseg or is damaged, InputError where it cannot be used.
    """
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > newest_format:
                raise StoreError(
                    f"{what} was written by a newer medseg (version {version}; this one knows {newest_format}). "
                    "Update medseg."
                )
            yield connection
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise InputError(f"{what} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{what} is damaged: {error}. Restore a backup.") from error


def make_tables(connection: sqlite3.Connection, tables: str, file_format: int) -> None:
    """Make what is missing of the tables, all in one step, so that no reader finds half of them."""
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version={file_format}; {tables} COMMIT;")


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there: a database that is being made this moment is a file without any."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0])


def use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Let readers and one writer of the database go on at once, in each process that opens it.

    SQLite does not wait where two processes switch a new database at the same moment: it refuses one of them at once
    (https://www.sqlite.org/rescode.html#busy). It is tried again, for BUSY_TIMEOUT_S at most.
    """
    ends_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def append_only(table: str, what: str) -> str:
    """The SQL after which rows of a table are only ever added: a change or a removal ends with "`what` immutable"."""
    return "".join(
        f"CREATE TRIGGER IF NOT EXISTS no_{name}_of_{table} BEFORE {act} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{what} immutable'); END;\n"
        for name, act in (("change", "UPDATE"), ("removal", "DELETE"))
    )
