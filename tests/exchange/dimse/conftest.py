"""A listener in its own process, what it says, and a made series small enough to be sent in a moment."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dicom_oracle import Grid, made_series, save_all
from dicom_peers import RunningListener

from medseg.exchange.dicom.network.dimse.config import AllowedSender, ListenerConfig
from medseg.exchange.dicom.network.dimse.receiving.process import Hear


@pytest.fixture(scope="module")
def shared_listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningListener]:
    with RunningListener(_config(tmp_path_factory.mktemp("shared") / "spool")) as listener:
        yield listener


@pytest.fixture
def listener(shared_listener: RunningListener) -> RunningListener:
    """A listener with an empty spool that has said nothing yet; its process is shared by the tests of a module."""
    shutil.rmtree(shared_listener.config.spool / "series")
    (shared_listener.config.spool / "series").mkdir()
    shared_listener.said.clear()
    return shared_listener


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Callable[..., RunningListener]]:
    """Starts a listener that hears MODALITY and ORTHANC on loopback, with what is said of its configuration."""
    with ExitStack() as stack:

        def start(hear: Hear = lambda _: None, **said: Any) -> RunningListener:
            return stack.enter_context(RunningListener(_config(tmp_path / "spool", **said), hear))

        yield start


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder with a CT series of six small images."""
    return save_all(made_series(Grid()), tmp_path / "series")


def _config(spool: Path, **said: Any) -> ListenerConfig:
    titles = ("MODALITY", "ORTHANC")
    senders = tuple(AllowedSender(ae_title=title, addresses=("127.0.0.1",)) for title in titles)
    return ListenerConfig(**{"spool": spool, "senders": senders, "port": 0, "first_word_s": 3.0, **said})
