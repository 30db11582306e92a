"""A listener in its own process, what it says, and a made series small enough to be sent in a moment."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dicom_oracle import Grid, made_series, save_all
from dicom_peers import RunningListener

from medseg.exchange.dicom.network.dimse.config import AllowedSender, ListenerConfig


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[..., RunningListener]]:
    """Starts a listener that hears MODALITY and ORTHANC on loopback, with what is said of its configuration."""
    with ExitStack() as stack:

        def start(**said: Any) -> RunningListener:
            senders = tuple(
                AllowedSender(ae_title=title, addresses=("127.0.0.1",)) for title in ("MODALITY", "ORTHANC")
            )
            config = ListenerConfig(**{"spool": tmp_path / "spool", "senders": senders, "port": 0, **said})
            return stack.enter_context(RunningListener(config))

        yield start


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder with a CT series of six small images."""
    return save_all(made_series(Grid()), tmp_path / "series")
