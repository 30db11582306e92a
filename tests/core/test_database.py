"""What several processes meet in one SQLite file."""

import sqlite3
import threading
from pathlib import Path

from medseg.core.database import connected, has_tables, make_tables, use_write_ahead_log
from medseg.core.errors import MedsegError

TABLES = "CREATE TABLE IF NOT EXISTS things (name TEXT);"


def test_many_that_switch_a_new_database_at_once_all_come_through(tmp_path: Path) -> None:
    refused: list[MedsegError] = []
    barrier = threading.Barrier(4)

    def open_all() -> None:
        for number in range(60):
            barrier.wait(timeout=60)
            try:
                with connected(tmp_path / f"{number}.sqlite", "the test", 1) as database:
                    use_write_ahead_log(database)
                    make_tables(database, TABLES, 1)
            except MedsegError as error:
                refused.append(error)

    threads = [threading.Thread(target=open_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused


def test_a_reader_finds_all_tables_or_none(tmp_path: Path) -> None:
    with connected(tmp_path / "x.sqlite", "the test", 1) as writer, connected(tmp_path / "x.sqlite", "it", 1) as reader:
        assert not has_tables(reader)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(TABLES)
        assert not has_tables(reader), "it is not committed yet"
        writer.execute("ROLLBACK")
        make_tables(writer, TABLES, 1)
        assert has_tables(reader)
        make_tables(writer, TABLES, 1)
        assert reader.execute("PRAGMA user_version").fetchone() == (1,)


def test_tables_that_fail_leave_nothing(tmp_path: Path) -> None:
    with connected(tmp_path / "x.sqlite", "the test", 1) as database:
        try:
            make_tables(database, f"{TABLES} CREATE NONSENSE;", 1)
        except sqlite3.OperationalError:
            database.rollback()
        assert not has_tables(database)
