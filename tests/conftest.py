"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans with expert labels; skips where it is not on this machine."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("MEDSEG_TEST_DATA", repository.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real scans are not at {folder}: set MEDSEG_TEST_DATA to the folder that holds them")
    return folder
