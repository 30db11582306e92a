"""Fixtures of the documents' tests."""

import shutil
from pathlib import Path

import pytest
from made_workspace import make_workspace


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all documents begin with."""
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working folder."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"
