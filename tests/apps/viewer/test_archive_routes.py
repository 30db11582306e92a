"""Archives from the page: looked up, a series brought in, a result sent; to a real Orthanc, and to none."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from dicom_oracle import Grid, save_all
from dicom_results import images, result_folder
from orthanc import Orthanc, made_ct
from starlette.applications import Starlette
from viewer_arrivals import arrived
from viewer_window import window_on

from apps.viewer.access.tokens import FOLDER, Permit, Right, issue, new_key
from apps.viewer.desk import Desk, desk_of
from apps.viewer.launch import viewer_app
from apps.viewer.routes import data_routes
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.settings.model import Settings
from medseg.settings.sources import read_settings

KEY = new_key()
ROOT = Path(__file__).resolve().parents[3]
NOBODY = "http://127.0.0.1:9/dicom-web"


def settings_file(folder: Path, url: str) -> Path:
    (folder / "medseg.toml").write_text(f'[archive]\nurl = "{url}"\npause_s = 0.05\ntries = 1\n')
    return folder / "medseg.toml"


def settings_of(folder: Path, url: str) -> Settings:
    return read_settings(settings_file(folder, url)).settings


def results_in(folder: Path) -> Path:
    """A folder with one result on a DICOM series."""
    (folder / "results").mkdir()
    result_folder(save_all(images(Grid()), folder / "image"), folder / "results" / "ct")
    return folder / "results"


def ask(desk: Desk, path: str, content: dict[str, Any] | None, right: Right = "correct") -> httpx.Response:
    """What a route says to someone with a right; `content` is posted, None asks only."""
    app = Starlette(routes=data_routes(desk, KEY))
    study = path.split("/")[1] if path.startswith("studies/") else FOLDER
    headers = {"Authorization": f"Bearer {issue(KEY, Permit(study, 'jane', right))}"}

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://viewer") as client:
            method = "GET" if content is None else "POST"
            return await client.request(method, f"/data/{path}", content=json.dumps(content), headers=headers)

    with ThreadPoolExecutor(1) as thread:  # a loop may run in this one
        return thread.submit(asyncio.run, send()).result()


def brought_in(desk: Desk, begun: httpx.Response) -> httpx.Response:
    """How a fetch that was begun ended."""
    return arrived(lambda path: ask(desk, path, None), begun)


def test_a_series_is_found_and_fetched_and_a_result_is_stored(tmp_path: Path, orthanc: Orthanc) -> None:
    orthanc.push(made_ct(tmp_path / "made", patient="P1", shape=(16, 16, 8)))
    desk = Desk(results_in(tmp_path), settings=settings_of(tmp_path, orthanc.dicomweb_url))
    assert ask(desk, "archives", None).json()["archives"] == ["archive"]
    found = ask(desk, "archives/find", {"archive": "archive", "patient_id": "P1"}).json()
    ((study,), cut_at) = found["studies"], found["cut_at"]
    assert cut_at is None
    (series,) = study["series"]
    assert (study["patient_id"], series["modality"], series["instance_count"]) == ("P1", "CT", 8)
    assert ask(desk, "archives/find", {"archive": "archive", "patient_id": "P2"}).json()["studies"] == []
    wanted = {"study_uid": study["study_uid"], "series_uid": series["series_uid"], "name": "P1 chest"}
    taken = brought_in(desk, ask(desk, "archives/fetch", {"archive": "archive", **wanted})).json()
    assert (taken["folder"], len(taken["scans"]), taken["refused"]) == ("P1_chest", 1, [])
    (entry,) = [entry for entry in desk.entries() if entry.kind == "scan"]
    assert desk.open(entry.id).opened.volume.geometry.shape[2] == 8
    assert [path.name for path in desk.uploads.iterdir()] == ["P1_chest"]

    (result,) = [entry for entry in desk.entries() if entry.kind == "result"]
    sent = {"archive": "archive", "formats": ["dicom-sr"]}
    assert ask(desk, f"studies/{result.id}/send", sent).json() == {"stored": 2, "had": 0}
    assert ask(desk, f"studies/{result.id}/send", sent).json() == {"stored": 0, "had": 2}
    with WebArchive(WebArchiveConfig(url=orthanc.dicomweb_url)) as archive:
        modalities = {modality for one in archive.studies() for modality in one.modalities}
    assert {"SEG", "SR"} <= modalities
    acts = [line.act for line in desk.log.newest()]
    assert (acts.count("store"), acts.count("fetch")) == (2, 3)


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("archives/find", {"archive": "archive", "patient_id": "*"}, "name the patient"),
        ("archives/find", {"archive": "archive", "patient_id": "P?"}, "would match other patients"),
        ("archives/find", {"archive": "archive", "patient_id": "P1", "date": "March"}, "cannot be understood"),
        ("archives/find", {"archive": "other", "patient_id": "P1"}, "there is no archive 'other'"),
        ("archives/find", {"archive": "archive", "patient_id": "P1"}, "archive"),
        ("archives/fetch", {"archive": "archive", "study_uid": "../x", "series_uid": "1.2"}, "cannot be understood"),
        ("archives/fetch", {"archive": "archive", "study_uid": "1.2", "series_uid": "1.3"}, "archive"),
        ("send", {"archive": "archive", "formats": ["csv"]}, "an archive takes DICOM objects"),
        ("send", {"archive": "archive", "formats": []}, "cannot be understood"),
    ],
    ids=["everybody", "several", "no date", "unknown", "away", "no UID", "away while fetching", "no DICOM", "nothing"],
)
def test_what_cannot_be_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, path: str, content: dict[str, Any], sentence: str
) -> None:
    desk = Desk(results_in(tmp_path), settings=settings_of(tmp_path, NOBODY))
    where = f"studies/{desk.entries()[0].id}/send" if path == "send" else path
    answer = ask(desk, where, content)
    answer = brought_in(desk, answer) if path == "archives/fetch" else answer
    assert answer.status_code == 422
    assert sentence in answer.text
    assert not desk.uploads.exists() or list(desk.uploads.iterdir()) == []


def test_who_only_reads_sends_and_fetches_nothing(tmp_path: Path) -> None:
    desk = Desk(results_in(tmp_path), settings=settings_of(tmp_path, NOBODY))
    for path in ("archives/find", "archives/fetch", f"studies/{desk.entries()[0].id}/send"):
        assert ask(desk, path, {}, "read").status_code == 403


def test_damaged_settings_are_refused_at_the_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apps.viewer", str(results_in(tmp_path)), "--no-browser", "--port", "1"]
    command += ["--config", str(settings_file(tmp_path, "no address"))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert (ended.returncode, "medseg.toml: archive.url: give the address" in ended.stderr) == (2, True)
    assert Desk(tmp_path / "results").archives == {}


def test_the_pages_have_the_desk_that_the_viewer_was_started_with(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, NOBODY)
    folder = results_in(tmp_path)
    viewer_app(folder, tmp_path, settings, None, ())
    desk = desk_of(folder)
    assert desk.archive("archive") == settings.archive
    assert desk.work.models == tmp_path


@pytest.fixture
def served(tmp_path: Path, orthanc: Orthanc, serve: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    orthanc.push(made_ct(tmp_path / "made", patient="P1", shape=(16, 16, 8)))
    with serve(results_in(tmp_path), "--config", str(settings_file(tmp_path, orthanc.dicomweb_url))) as viewer:
        yield viewer


@pytest.mark.browser
def test_fetched_and_sent_from_the_page(chromium: Any, served: Any) -> None:
    with window_on(chromium, served) as window:
        page = window.worklist()
        page.keyboard.press("f")
        page.get_by_label("Patient ID").fill("P1")
        page.locator("[data-action=find]").click()
        page.locator("[data-series]").click()
        page.get_by_text("One scan was taken in.").wait_for()
        page.keyboard.press("Escape")
        page.locator("tr", has_text="uploads/").wait_for()
        room = window.read("ct")
        room.page.keyboard.press("Shift+E")
        room.page.get_by_label("DICOM SEG", exact=True).check()
        room.page.locator("[data-action=send]").click()
        room.page.get_by_text("One object is now in archive.").wait_for()
