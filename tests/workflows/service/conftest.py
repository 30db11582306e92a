"""A service with a real archive."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_service import MakeParts, ServiceParts, write_settings
from orthanc import Orthanc


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """The service takes over its process's log; a test's process gets it back."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, sys.excepthook = handlers, hook
    root.setLevel(level)


@pytest.fixture
def make_parts(orthanc: Orthanc, tmp_path: Path) -> Iterator[MakeParts]:
    """The parts of a service that watches the archive; sections of its settings may be given."""
    made: list[ServiceParts] = []

    def make(**sections: Any) -> ServiceParts:
        made.append(ServiceParts.of(write_settings(tmp_path, orthanc, **sections)))
        return made[-1]

    yield make
    for parts in made:
        parts.queue.close()
