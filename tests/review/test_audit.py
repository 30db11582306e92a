"""The log keeps every line in its order, and lets none be changed."""

import sqlite3
from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.review.audit import AuditLog


def test_lines_come_back_newest_first(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "store")
    assert log.newest() == ()
    log.add("jane", "view", "study")
    log.add("john", "export", "study", "pdf")
    assert [(one.user, one.act, one.study, one.detail) for one in log.newest()] == [
        ("john", "export", "study", "pdf"),
        ("jane", "view", "study", ""),
    ]
    assert [one.user for one in log.newest(1)] == ["john"]


def test_a_log_that_is_being_made_has_no_lines_yet(tmp_path: Path) -> None:
    (tmp_path / "audit.sqlite").touch()
    assert AuditLog(tmp_path).newest() == ()


@pytest.mark.parametrize("statement", ["DELETE FROM acts", "UPDATE acts SET user = 'nobody'"])
def test_no_line_can_be_changed(tmp_path: Path, statement: str) -> None:
    log = AuditLog(tmp_path)
    log.add("jane", "view")
    connection = sqlite3.connect(tmp_path / "audit.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        connection.execute(statement)
    connection.close()
    assert len(log.newest()) == 1


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        AuditLog(tmp_path / "file").add("jane", "view")
