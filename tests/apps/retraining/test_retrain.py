"""The program says in one line what it lacks."""

from pathlib import Path

import pytest

from apps.retraining.retrain import USAGE, main


def test_wrong_arguments_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == USAGE
    assert main([str(tmp_path / name) for name in ("results", "models", "data", "run")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
