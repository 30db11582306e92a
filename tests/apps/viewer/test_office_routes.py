"""What comes in, goes out and is worked on around the reading: uploads, exports, jobs, models, the log; and who may."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from viewer_arrivals import arrived

from apps.viewer.access.tokens import FOLDER, Permit, Right, issue, new_key
from apps.viewer.desk import Desk
from apps.viewer.routes import data_routes
from medseg.core.atomic import UNFINISHED_PREFIX, unfinished_path
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.imaging.pictures.slices import mask_for_screen, mask_from_screen
from medseg.review.corrections import Signature
from medseg.workflows.results.open_study import measured, open_study

KEY = new_key()
SCAN = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), Geometry.from_spacing((3, 4, 5), (1, 1, 2)))


class Visitor:
    """Someone with a right, at the routes of a desk; jobs are queued and not worked off."""

    def __init__(self, folder: Path, right: Right = "administer") -> None:
        self.desk = Desk(folder)
        self.desk.work.wake = lambda: None  # type: ignore[method-assign]
        self.app = Starlette(routes=data_routes(self.desk, KEY))
        self.right = right

    def send(
        self, method: str, path: str, body: bytes = b"", study: str = FOLDER, token: str | None = None
    ) -> httpx.Response:
        token = issue(KEY, Permit(study, "jane", self.right)) if token is None else token

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://viewer") as client:
                return await client.request(
                    method, f"/data/{path}", content=body, headers={"Authorization": f"Bearer {token}"}
                )

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, send()).result()

    def upload(self, name: str, content: bytes) -> httpx.Response:
        upload = self.send("POST", "uploads").json()["upload"]
        sent = self.send("PUT", f"uploads/{upload}/files?name={name}", content)
        if sent.status_code != 204:
            return sent
        return arrived(partial(self.send, "GET"), self.send("POST", f"uploads/{upload}/done?name={name}"))


@pytest.fixture
def visitor(result_folder: Path) -> Iterator[Visitor]:
    made = Visitor(result_folder)
    yield made
    made.desk.end()


@pytest.fixture
def scan_bytes(tmp_path: Path) -> bytes:
    write_volume(SCAN, tmp_path / "made.nii.gz")
    return (tmp_path / "made.nii.gz").read_bytes()


class TestUpload:
    def test_a_scan_comes_in_and_is_listed(self, visitor: Visitor, scan_bytes: bytes) -> None:
        answer = visitor.upload("../new scan.nii.gz", scan_bytes)
        assert answer.json() == {"folder": "new_scan", "scans": ["new_scan.nii.gz"], "refused": []}
        (entry,) = [entry for entry in visitor.desk.entries() if entry.kind == "scan"]
        assert np.array_equal(visitor.desk.open(entry.id).opened.volume.array, SCAN.array)
        assert list(visitor.desk.arrivals.iterdir()) == []
        assert visitor.desk.log.newest()[0].act == "upload"

    def test_what_an_earlier_server_left_half_is_removed(self, visitor: Visitor, scan_bytes: bytes) -> None:
        assert visitor.upload("scan.nii.gz", scan_bytes).status_code == 200
        unfinished_path(visitor.desk.uploads / "half").mkdir()
        (visitor.desk.uploads / "half").mkdir()  # its place was taken for it already
        arriving = visitor.desk.arrivals / "begun"
        arriving.mkdir(parents=True)
        visitor.desk.begin()
        assert [path.name for path in visitor.desk.uploads.iterdir()] == ["scan"]
        assert not arriving.exists()

    @pytest.mark.parametrize("kind", ["drafts", "marks", "masks"])
    def test_what_a_kill_left_of_a_review_goes_after_a_day(self, visitor: Visitor, kind: str) -> None:
        old, new = (
            visitor.desk.reviews.folder / kind / f"{UNFINISHED_PREFIX}{number}-1.json" for number in ("old", "new")
        )
        old.parent.mkdir(parents=True)
        for path in (old, new):
            path.touch()
        os.utime(old, (0, 0))
        visitor.desk.begin()
        assert [path.name for path in old.parent.iterdir()] == [new.name]

    def test_what_another_server_of_the_folder_takes_in_is_left(self, visitor: Visitor) -> None:
        visitor.desk.begin()
        arriving = visitor.desk.arrivals / "begun"
        arriving.mkdir(parents=True)
        second = Desk(visitor.desk.folder)
        second.begin()
        assert arriving.exists()
        second.end()
        visitor.desk.end()
        visitor.desk.begin()
        assert not arriving.exists()

    def test_what_is_too_large_is_refused_before_it_is_read(
        self, visitor: Visitor, scan_bytes: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.viewer.routes.uploads.MOST_UPLOAD_BYTES", len(scan_bytes) - 1)
        answer = visitor.upload("scan.nii.gz", scan_bytes)
        assert (answer.status_code, "larger than" in answer.text) == (422, True)

    def test_too_many_files_are_refused(self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.viewer.routes.uploads.MOST_UPLOAD_FILES", 1)
        upload = visitor.send("POST", "uploads").json()["upload"]
        assert visitor.send("PUT", f"uploads/{upload}/files?name=a", b"a").status_code == 204
        assert "at most 1 files" in visitor.send("PUT", f"uploads/{upload}/files?name=b", b"b").text
        assert visitor.send("DELETE", f"uploads/{upload}").status_code == 204
        assert "not known" in visitor.send("POST", f"uploads/{upload}/done").text

    @pytest.mark.parametrize("name", ["notes.txt", "bomb.zip", "cut.nii.gz"])
    def test_what_is_no_scan_is_a_sentence_and_leaves_nothing(
        self, visitor: Visitor, scan_bytes: bytes, name: str
    ) -> None:
        content = {"notes.txt": b"hello", "cut.nii.gz": scan_bytes[:-20]}.get(name)
        if content is None:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("zeros.nii", b"\0" * 200_000_000)
            content = packed.getvalue()
        answer = visitor.upload(name, content)
        assert answer.status_code == 422
        assert len(answer.text) > 30
        assert len(visitor.desk.entries()) == 1
        assert list(visitor.desk.arrivals.iterdir()) == []

    def test_one_open_result_takes_no_more(self, result_folder: Path) -> None:
        answer = Visitor(next(result_folder.iterdir())).send("POST", "uploads")
        assert (answer.status_code, "opened on one result" in answer.text) == (422, True)


class TestExport:
    def test_one_format_is_its_file_of_the_mask_that_was_accepted(self, visitor: Visitor) -> None:
        (entry,) = visitor.desk.entries()
        study = entry.id
        report = measured(open_study(entry)).report
        assert report is not None
        (entry.path / "report.json").write_text(report.model_dump_json())
        opened = visitor.desk.open(study).opened
        assert opened.label_map is not None
        labels = mask_for_screen(opened.label_map).copy()
        labels[labels == 2] = 0
        corrected = mask_from_screen(labels, opened.label_map.geometry, opened.label_map.schema)
        by = Signature("jane", "none")
        subject = (opened.source_sha256, report.task.name)
        record = visitor.desk.reviews.correct(corrected, opened.label_map, *subject, by=by)
        answer = visitor.send("GET", f"studies/{study}/export?format=csv", study=study)
        assert 'filename="findings.csv"' in answer.headers["content-disposition"]
        assert {row["label"] for row in csv.DictReader(io.StringIO(answer.text))} == {"lesion"}
        visitor.desk.reviews.decide(record.mask_sha256, "accepted", None, *subject, by=by)
        answer = visitor.send("GET", f"studies/{study}/export?format=csv", study=study)
        assert list(csv.DictReader(io.StringIO(answer.text))) == []
        told = json.loads(visitor.send("GET", f"studies/{study}/export?format=json", study=study).text)
        assert told["review"]["corrected_by"] == "jane"
        assert [line.detail for line in visitor.desk.log.newest()] == ["json", "csv", "csv"]

    def test_several_formats_are_one_zip(self, visitor: Visitor) -> None:
        (entry,) = visitor.desk.entries()
        study = entry.id
        report = measured(open_study(entry)).report
        assert report is not None
        (entry.path / "report.json").write_text(report.model_dump_json())
        answer = visitor.send("GET", f"studies/{study}/export?format=pdf&format=nifti", study=study)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.namelist() == ["segmentation.nii.gz", "report.pdf"]
        assert "Doe" not in answer.headers["content-disposition"]

    def test_what_cannot_be_had_says_why(self, visitor: Visitor) -> None:
        study = visitor.desk.entries()[0].id
        told = {
            one["name"]: one["why_not"] for one in visitor.send("GET", f"studies/{study}/formats", study=study).json()
        }
        assert (told["pdf"], told["dicom-seg"]) == ("", "the scan is no DICOM")
        assert told["dicom-map"] == "the result holds no probabilities"
        answer = visitor.send("GET", f"studies/{study}/export?format=dicom-seg", study=study)
        assert (answer.status_code, "DICOM" in answer.text) == (422, True)
        assert visitor.send("GET", f"studies/{study}/export", study=study).status_code == 422


class TestJobs:
    def test_a_study_is_queued_taken_back_and_tried_again(self, visitor: Visitor) -> None:
        study = visitor.desk.entries()[0].id
        body = json.dumps({"study": study, "model": "hippocampus_mr"}).encode()
        job = visitor.send("POST", "jobs", body).json()["job"]
        (told,) = visitor.send("GET", "jobs").json()
        assert (told["id"], told["state"], told["model"]) == (job, "waiting", "hippocampus_mr")
        assert "/" not in told["source"] + told["output"]
        assert visitor.send("POST", f"jobs/{job}/cancel").status_code == 204
        assert visitor.send("POST", f"jobs/{job}/cancel").status_code == 422
        assert visitor.send("POST", f"jobs/{job}/retry").status_code == 204
        assert visitor.send("POST", f"jobs/{job}/retry").status_code == 422
        assert [line.act for line in visitor.desk.log.newest()] == ["retry", "cancel", "run"]

    def test_two_patients_scans_of_one_name_have_results_of_their_own(self, visitor: Visitor) -> None:
        for patient in ("a", "b"):
            write_volume(SCAN, visitor.desk.folder / "uploads" / patient / "scan.nii.gz")
        for study in [entry.id for entry in visitor.desk.entries() if entry.name.startswith("uploads/")]:
            for _ in range(2):  # the same scan, asked for again, goes to the same place
                body = json.dumps({"study": study, "model": "hippocampus_mr"}).encode()
                assert visitor.send("POST", "jobs", body).status_code == 200
        told = visitor.send("GET", "jobs").json()
        assert [one["source"] for one in told] == ["scan.nii.gz"] * 2
        assert len({one["output"] for one in told}) == 2

    @pytest.mark.parametrize(
        "body", [b"{", b'{"study": "none", "model": "hippocampus_mr"}', b'{"study": "STUDY", "model": "x"}']
    )
    def test_what_cannot_be_run_is_a_sentence(self, visitor: Visitor, body: bytes) -> None:
        answer = visitor.send("POST", "jobs", body.replace(b"STUDY", visitor.desk.entries()[0].id.encode()))
        assert (answer.status_code, len(answer.text) > 20) == (422, True)
        assert visitor.send("GET", "jobs").json() == []

    def test_models_are_told_with_what_they_reached(self, visitor: Visitor) -> None:
        told = {model["name"]: model for model in visitor.send("GET", "models").json()}
        model = told["hippocampus_mr"]
        assert (model["is_shipped"], model["training_cases"], model["path"]) == (True, 160, "")
        assert {score["metric"] for score in model["scores"]} >= {"dice", "nsd"}


FOLDER_ROUTES = {
    "read": [("GET", "jobs"), ("GET", "models"), ("GET", "archives"), ("GET", "reading-order")],
    "correct": [
        ("POST", "jobs"),
        ("POST", "jobs/1/cancel"),
        ("POST", "jobs/1/retry"),
        ("POST", "archives/find"),
        ("POST", "archives/fetch"),
        ("POST", "uploads"),
        ("PUT", "uploads/1/files"),
        ("POST", "uploads/1/done"),
        ("GET", "arrivals/1"),
        ("DELETE", "arrivals/1"),
        ("DELETE", "uploads/1"),
    ],
    "administer": [("GET", "log")],
}


@pytest.mark.parametrize("right", FOLDER_ROUTES)
def test_each_role_opens_its_own_routes_and_no_others(result_folder: Path, right: Right) -> None:
    visitor = Visitor(result_folder, right)
    may = True
    for needed, routes in FOLDER_ROUTES.items():
        for method, path in routes:
            assert (visitor.send(method, path).status_code != 403) == may, (right, method, path)
        may = may and needed != right


def test_a_permit_for_a_study_is_none_for_the_folder(visitor: Visitor) -> None:
    study = visitor.desk.entries()[0].id
    assert visitor.send("GET", "jobs", study=study).status_code == 403
    assert visitor.send("GET", f"studies/{study}/export?format=csv").status_code == 403


STUDY_ROUTES = {
    "read": [
        ("GET", "scan"),
        ("GET", "mask"),
        ("GET", "uncertainty"),
        ("GET", "formats"),
        ("GET", "export"),
        ("GET", "changes"),
        ("GET", "straightened"),
        ("GET", "curved"),
        ("GET", "section"),
        ("GET", "readings"),
        ("PUT", "marks"),
    ],
    "correct": [
        ("PUT", "mask"),
        ("PUT", "draft"),
        ("GET", "draft"),
        ("DELETE", "draft"),
        ("GET", "drafts"),
        ("POST", "verdict"),
        ("POST", "send"),
        ("POST", "adjudication"),
    ],
}


@pytest.mark.parametrize("right", STUDY_ROUTES)
def test_nothing_about_a_study_opens_without_a_permit_for_it_and_the_right(visitor: Visitor, right: Right) -> None:
    study = visitor.desk.entries()[0].id
    for method, path in STUDY_ROUTES[right]:
        address = f"studies/{study}/{path}"
        assert visitor.send(method, address, study=study).status_code != 403, address
        for other in (FOLDER, "another"):
            assert visitor.send(method, address, study=other).status_code == 403, (address, other)
        assert visitor.send(method, address, token="").status_code == 403, address


def test_who_may_read_a_study_writes_nothing_about_it(result_folder: Path) -> None:
    visitor = Visitor(result_folder, "read")
    study = visitor.desk.entries()[0].id
    for method, path in STUDY_ROUTES["correct"]:
        assert visitor.send(method, f"studies/{study}/{path}", study=study).status_code == 403, path


def test_every_route_is_named_above(visitor: Visitor) -> None:
    """A route that is added must be added to the tables of rights, or it is not tested."""
    named = {(method, path.replace("/1", "/{}")) for routes in FOLDER_ROUTES.values() for method, path in routes}
    named |= {(method, f"studies/{{}}/{path}") for routes in STUDY_ROUTES.values() for method, path in routes}
    there = set()
    for route in visitor.app.routes:
        path = re.sub(r"{\w+}", "{}", route.path.removeprefix("/data/"))  # type: ignore[attr-defined]
        if not path.startswith("assets/"):
            there |= {(method, path) for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert there == named
