"""Children of the service: started anew when they die or hang, with pauses; the viewer among them."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import httpx
import pytest
from free_port import free_port
from made_service import write_settings

from medseg.settings.model import Settings
from medseg.settings.sources import read_settings
from medseg.workflows.service import supervise
from medseg.workflows.service.answer_health import HANGS_S, Health
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.measure import Measures
from medseg.workflows.service.places import Places
from medseg.workflows.service.serve import _Service
from medseg.workflows.service.show_viewer import show
from medseg.workflows.service.supervise import BodyChild, Child, Kept


class MadeChild(Child):
    """A child that is as a test says."""

    name = "made"

    def __init__(self) -> None:
        self.told = ""
        self.starts = 0

    @property
    def problem(self) -> str:
        return self.told

    def start(self) -> None:
        self.starts += 1

    def stop(self) -> None:
        pass

    def kill(self) -> None:
        pass


def test_pauses_double_while_a_child_does_not_live_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("medseg.workflows.service.supervise.time.monotonic", lambda: now)
    child = MadeChild()
    kept = Kept(child)
    kept.look()
    child.told = "it does not run"
    starts = []
    for second in range(1, 200):
        now = float(second)
        before = child.starts
        kept.look()
        if child.starts > before:
            starts.append(second)
    assert starts == [1, 3, 7, 15, 31, 63, 123, 183]
    now = 400.0  # it lived long
    kept.look()
    assert kept.pause_s == 1.0


def silent(settings: Settings, beat: Callable[[], None]) -> None:
    time.sleep(60)


def parental(settings: Settings, beat: Callable[[], None]) -> None:
    child = get_context("spawn").Process(target=time.sleep, args=(0,), daemon=True)
    child.start()
    child.join()
    (settings.folders.state / "had_a_child").touch()
    time.sleep(60)


def test_a_child_may_have_processes_of_its_own(tmp_path: Path) -> None:
    """The viewer segments in one."""
    child = BodyChild("parental", parental, Settings.model_validate({"folders": {"state": tmp_path}}))
    child.start()
    try:
        ends = time.monotonic() + 60
        while not (tmp_path / "had_a_child").exists():
            assert time.monotonic() < ends
            assert child.problem == ""
            time.sleep(0.05)
    finally:
        child.kill()


def test_a_child_that_does_not_move_has_a_problem_and_one_that_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    child = BodyChild("silent", silent, Settings())
    child.start()
    try:
        assert child.problem == ""
        monkeypatch.setattr(supervise, "HANGS_S", -1.0)
        assert child.problem == "it has not moved for -1 s"
        assert child._process is not None
        os.kill(child._process.pid or 0, signal.SIGKILL)
        child._process.join()
        assert child.problem == "it does not run"
    finally:
        child.kill()


def test_a_main_loop_that_hangs_is_told() -> None:
    health = Health()
    assert health.told() == (False, {"status": "failing", "problems": {"start": "it is being started"}})
    health.problems.clear()
    assert health.told()[0]
    health.beat_s -= HANGS_S + 1
    assert not health.is_alive
    assert "main loop has not moved" in health.told()[1]["problems"]["service"]


def test_a_service_is_not_well_before_each_of_its_parts_was_looked_at(tmp_path: Path) -> None:
    settings = read_settings(write_settings(tmp_path, "http://127.0.0.1:9/dicom-web")).settings
    places = Places.of(settings)
    places.make()
    health = Health()
    seen = []

    class SlowChild(MadeChild):
        def start(self) -> None:
            seen.append(health.told()[0])

    with places.queue() as queue:
        measures = Measures(places, Ledger(places.ledger_file), health)
        service = _Service(settings, places, queue, health, measures, [Kept(SlowChild()), Kept(SlowChild())])
        service._look({})
    assert seen == [False, False]
    assert health.told()[0]


def test_the_viewer_runs_as_a_child_and_ends_with_it(tmp_path: Path) -> None:
    port = free_port()
    settings = read_settings(write_settings(tmp_path, "http://127.0.0.1:9/dicom-web", viewer={"port": port})).settings
    settings.folders.work.mkdir(parents=True)
    child = BodyChild("viewer", show, settings)
    child.start()
    try:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and not child.problem:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False).status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert child.problem == ""
    finally:
        child.kill()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=5, trust_env=False)
