"""Children of the service: started anew when they die or hang, with pauses; the viewer among them."""

import inspect
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import httpx
import pytest
from free_port import free_port
from made_service import write_settings

from medseg.core.errors import InputError
from medseg.settings.model import Settings
from medseg.settings.sources import read_settings
from medseg.workflows.service import supervise
from medseg.workflows.service.answer_health import HANGS_S, Health
from medseg.workflows.service.check import check_settings
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


def noted(settings: Settings, beat: Callable[[], None]) -> None:
    """The viewer's process, which writes down what it would be begun with."""
    launch = import_module("apps.viewer.launch")
    signature = inspect.signature(launch.launch_viewer)

    def note(*arguments: object, **named: object) -> None:
        given = signature.bind(*arguments, **named).arguments
        (settings.folders.state / "given.txt").write_text("\n".join(f"{name}={given[name]!r}" for name in given))
        raise InputError("it was only noted")

    launch.launch_viewer = note  # type: ignore[attr-defined]
    show(settings, beat)


def test_the_viewer_is_begun_with_all_that_the_settings_say_and_tells_why_it_cannot_be(tmp_path: Path) -> None:
    viewer = {"port": 8765, "address": "10.1.2.3", "access": "access.toml", "models": "."}
    archive = {"user": "medseg", "password_file": "password"}
    file = write_settings(tmp_path, "http://127.0.0.1:9/dicom-web", viewer=viewer, archive=archive)
    settings = read_settings(file).settings
    Places.of(settings).make()
    child = BodyChild("viewer", noted, settings)
    child.start()
    try:
        assert child._process is not None
        child._process.join(90)
        assert child._process.exitcode == 2
    finally:
        child.kill()
    given = dict(line.split("=", 1) for line in (settings.folders.state / "given.txt").read_text().splitlines())
    assert given == {
        "folder": repr(settings.folders.work.absolute()),
        "port": "8765",
        "address": "'10.1.2.3'",
        "models": repr(tmp_path),
        "access": repr(tmp_path / "access.toml"),
        "settings": repr(settings),
        "may_open_browser": "False",
    }
    assert "it was only noted" in (tmp_path / "service.log").read_text()


class TestChecked:
    """What `medseg config check` says of the viewer."""

    def errors(self, folder: Path, **viewer: object) -> list[str]:
        file = write_settings(folder, "http://127.0.0.1:9/dicom-web", viewer={"enabled": True, **viewer})
        return [str(remark.text) for remark in check_settings(read_settings(file).settings) if remark.where == "viewer"]

    def test_without_its_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.errors(tmp_path) == []
        monkeypatch.setattr("medseg.core.extras.find_spec", lambda _: None)
        (said,) = self.errors(tmp_path)
        assert "pip install 'medseg[viewer]'" in said

    def test_at_an_address_of_others_without_an_access_file(self, tmp_path: Path) -> None:
        (said,) = self.errors(tmp_path, address="0.0.0.0")
        assert "nobody would be asked who they are" in said

    def test_with_an_access_file_that_is_not_there(self, tmp_path: Path) -> None:
        (said,) = self.errors(tmp_path, access="access.toml")
        assert "access.toml cannot be read" in said

    def test_with_a_folder_of_models_that_is_not_there(self, tmp_path: Path) -> None:
        (said,) = self.errors(tmp_path, models="runs")
        assert said.endswith("runs. Name one below which models lie.")


def test_the_viewer_runs_as_a_child_and_ends_with_it(tmp_path: Path) -> None:
    port = free_port()
    settings = read_settings(
        write_settings(tmp_path, "http://127.0.0.1:9/dicom-web", viewer={"port": port, "models": "."})
    ).settings
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
