"""The voxel routes: exact bytes to those who may, a sentence to those who may not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from apps.viewer.access import tokens
from apps.viewer.access.tokens import Permit, issue, new_key
from apps.viewer.assets import MODULES, asset_version
from apps.viewer.desk import Desk
from apps.viewer.routes import data_routes
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.core.task import load_task
from medseg.core.volume import Volume
from medseg.exchange.write import write_label_map, write_volume
from medseg.imaging.pictures.slices import for_screen, mask_for_screen
from medseg.review.records import mask_sha256

KEY = new_key()


class Client:
    """Requests to an ASGI application without a server."""

    def __init__(self, app: Starlette) -> None:
        self.transport = httpx.ASGITransport(app=app)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://viewer") as client:
                return await client.get(path, headers=headers)

        with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop running in the main thread
            return thread.submit(asyncio.run, send()).result()


class Office:
    """A desk over one result, and a client of its routes."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk(folder)
        self.client = Client(Starlette(routes=data_routes(self.desk, KEY)))
        self.study = self.desk.entries()[0].id

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes, dict[str, str]]:
        token = issue(KEY, Permit(self.study, "local", "read")) if token is None else token
        answer = self.client.get(f"/data/studies/{self.study}/{path}", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.content, dict(answer.headers)


@pytest.fixture
def office(result_folder: Path) -> Office:
    return Office(result_folder)


def test_the_scan_arrives_in_display_order(office: Office) -> None:
    status, body, headers = office.get("scan?from=0&to=16")
    i, j, k = np.indices((24, 20, 16))
    ras = Volume((40 * i + 10 * j + k - 200).astype(np.int16), Geometry.from_spacing((24, 20, 16), (1, 1, 1)))
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert body == for_screen(ras).array.tobytes()


def test_parts_of_the_scan_make_the_whole(office: Office) -> None:
    whole = office.get("scan")[1]
    parts = [office.get(f"scan?from={first}&to={first + 4}")[1] for first in range(0, 16, 4)]
    assert b"".join(parts) == whole


def test_the_mask_arrives_with_its_hash(office: Office) -> None:
    status, body, headers = office.get("mask")
    label_map = office.desk.open(office.study).opened.label_map
    assert label_map is not None
    expected = mask_for_screen(label_map)
    assert status == 200
    assert body == expected.tobytes()
    assert headers["x-mask-sha256"] == mask_sha256(label_map)


@pytest.mark.parametrize("part", ["from=a&to=3", "from=3&to=3", "from=-1&to=2", "from=0&to=17"])
def test_slices_that_are_not_there_are_a_sentence(office: Office, part: str) -> None:
    status, body, _ = office.get(f"scan?{part}")
    assert status == 400
    assert b"slices 0 to 15" in body or b"whole numbers" in body


@pytest.mark.parametrize("path", ["scan", "mask"])
@pytest.mark.parametrize(
    "token",
    [
        "",
        "forged",
        issue(new_key(), Permit("any", "local", "read")),
        issue(KEY, Permit("another study", "local", "read")),
    ],
    ids=["none", "forged", "another server's", "another study's"],
)
def test_forged_and_foreign_permits_are_refused(office: Office, path: str, token: str) -> None:
    status, body, _ = office.get(path, token)
    assert status == 403
    assert len(body) < 200


def test_an_expired_permit_is_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(KEY, Permit(office.study, "local", "read"))
    monkeypatch.setattr(tokens.check, "__defaults__", (-1,))
    status, body, _ = office.get("scan", token)
    assert (status, body) == (403, b"the page's permit has expired; it renews itself, or reload the page")


def test_an_unknown_study_is_a_sentence(office: Office) -> None:
    office.study = "0" * 16
    assert office.get("scan")[0] == 422


def test_no_mask_is_a_sentence(write_result: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_result()
    label_map = LabelMap(np.zeros((3, 3, 3), np.uint8), Geometry.from_spacing((3, 3, 3), (1, 1, 1)), _schema())
    write_label_map(label_map, folder / "segmentation.nii.gz")
    status, body, _ = Office(tmp_path / "results").get("mask")
    assert (status, body) == (404, b"this study has no mask that can be shown")


def test_a_plain_scan_is_served(tmp_path: Path) -> None:
    write_volume(Volume(np.ones((4, 4, 4), np.int16), Geometry.from_spacing((4, 4, 4), (1, 1, 1))), tmp_path / "a.nii")
    office = Office(tmp_path)
    assert office.get("scan")[1] == np.ones(64, "<i2").tobytes()
    assert office.get("mask")[0] == 404


def test_the_component_is_served_and_cached_by_its_content(office: Office) -> None:
    answer = office.client.get(f"/data/assets/{asset_version()}/main.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert office.client.get("/data/assets/old/main.js").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["..%2fassets.py", "%2e%2e%2f%2e%2e%2fassets.py", "missing.js", "routes.py"])
def test_only_the_component_is_served(office: Office, name: str) -> None:
    assert office.client.get(f"/data/assets/{asset_version()}/{name}").status_code == 404


def test_modules_fetch_nothing_from_elsewhere() -> None:
    for file in MODULES.rglob("*.js"):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file.name
        assert "https://" not in text, file.name
        assert "innerHTML" not in text, file.name


def test_json_told_to_the_page_holds_no_voxels(office: Office) -> None:
    from apps.viewer.page_data import study_data

    assert len(json.dumps(study_data(office.desk.open(office.study)))) < 10_000


def _schema() -> LabelSchema:
    return load_task("phantom_ct").label_schema
