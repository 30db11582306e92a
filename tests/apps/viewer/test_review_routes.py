"""What readers send back: kept exactly, refused with a sentence, never over someone else's work."""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.applications import Starlette

from apps.viewer.access.tokens import Permit, Right, issue, new_key
from apps.viewer.desk import Desk
from apps.viewer.page_data import study_data
from apps.viewer.routes import data_routes
from apps.viewer.study_on_screen import thinning
from medseg.core.errors import InputError
from medseg.imaging.pictures.slices import mask_for_screen
from medseg.review.records import Verdict
from medseg.workflows.results.open_study import list_studies

KEY = new_key()


class Reader:
    """A reader at a desk over one result."""

    def __init__(self, folder: Path, name: str = "jane", right: Right = "correct") -> None:
        self.desk = Desk(folder)
        self.transport = httpx.ASGITransport(app=Starlette(routes=data_routes(self.desk, KEY)))
        self.study = self.desk.entries()[0].id
        self.token = issue(KEY, Permit(self.study, name, right))

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://viewer") as client:
                return await client.request(
                    method,
                    f"/data/studies/{self.study}/{path}",
                    content=body,
                    headers={"Authorization": f"Bearer {self.token}", **named},
                )

        with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop running in the main thread
            return thread.submit(asyncio.run, run()).result()

    @property
    def base(self) -> str:
        """The hash of the mask that the reader sees."""
        return self.desk.open(self.study).mask_sha256 or ""

    def labels(self) -> NDArray[np.unsignedinteger]:
        """The labels in display order, to draw on."""
        label_map = self.desk.open(self.study).opened.label_map
        assert label_map is not None
        return mask_for_screen(label_map).copy()


@pytest.fixture
def reader(result_folder: Path) -> Reader:
    return Reader(result_folder)


def test_a_saved_mask_has_exactly_the_drawn_voxels(reader: Reader) -> None:
    labels = reader.labels()
    labels[2, 3, 4] = 3
    answer = reader.send(
        "PUT", "mask", gzip.compress(labels.tobytes()), If_Match=reader.base, X_Reason="missed%20vessel"
    )
    assert answer.status_code == 200
    assert answer.json()["changed_voxels"] == 1
    again = Desk(reader.desk.folder).open(reader.study)
    assert again.opened.label_map is not None
    # Display order counts to the left and back as the scan's own LPS grid does.
    assert np.argwhere(again.opened.label_map.array == 3).tolist() == [[4, 3, 2]]
    assert again.opened.correction is not None
    assert (again.opened.correction.reader, again.opened.correction.reason) == ("jane", "missed vessel")
    assert again.opened.report is not None
    assert "vessel" in [finding.label.name for finding in again.opened.report.findings]
    assert again.mask_sha256 == answer.json()["mask_sha256"]


def test_the_first_mask_stays_as_it_was(reader: Reader) -> None:
    file = next(reader.desk.folder.rglob("segmentation.nii.gz"))
    before = file.read_bytes()
    labels = reader.labels()
    labels[0, 0, 0] = 1
    reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=reader.base)
    assert file.read_bytes() == before


def test_the_second_to_save_gets_a_conflict(reader: Reader) -> None:
    base, labels = reader.base, reader.labels()
    labels[0, 0, 0] = 1
    reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=base)
    labels[0, 0, 1] = 1
    answer = reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=base)
    assert answer.status_code == 409
    assert "kept as a draft" in answer.text


def test_a_conflict_with_another_process_is_found_too(result_folder: Path) -> None:
    one, other = Reader(result_folder, "jane"), Reader(result_folder, "john")
    base, labels = one.base, one.labels()
    other.labels()
    labels[0, 0, 0] = 1
    assert one.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=base).status_code == 200
    answer = other.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=base)
    assert answer.status_code == 409
    assert "jane saved another correction" in answer.text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"not gzip", "damaged"),
        (gzip.compress(b"\0" * 10), "another size"),
        (gzip.compress(b"\0" * 24 * 20 * 16)[:-9], "another size"),
        (gzip.compress(b"\0" * 50_000_000), "another size"),
        (b"\0" * 200_000, "larger than"),
        (gzip.compress(b"\x09" * 24 * 20 * 16), "does not name"),
    ],
    ids=["no gzip", "short", "cut off", "bomb", "large", "unknown label"],
)
@pytest.mark.parametrize("path", ["mask", "draft"])
def test_what_is_not_a_mask_is_refused(reader: Reader, path: str, body: bytes, sentence: str) -> None:
    answer = reader.send("PUT", path, body, If_Match=reader.base)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert reader.desk.reviews.verify() is None


def test_a_reading_permit_writes_nothing(result_folder: Path) -> None:
    reader = Reader(result_folder, right="read")
    for method, path in (("PUT", "mask"), ("PUT", "draft"), ("GET", "draft"), ("DELETE", "draft"), ("POST", "verdict")):
        assert reader.send(method, path, b"{}").status_code == 403


def test_a_draft_waits_for_its_reader(result_folder: Path) -> None:
    reader = Reader(result_folder)
    assert reader.send("GET", "draft").status_code == 204
    body = gzip.compress(reader.labels().tobytes())
    assert reader.send("PUT", "draft", body, If_Match=reader.base, X_Seconds="42").status_code == 204
    again = Reader(result_folder).send("GET", "draft")
    assert again.content == reader.labels().tobytes()
    assert (again.headers["x-mask-sha256"], again.headers["x-seconds"]) == (reader.base, "42")
    assert Reader(result_folder, "john").send("GET", "draft").status_code == 204
    assert reader.send("DELETE", "draft").status_code == 204
    assert reader.send("GET", "draft").status_code == 204


def test_saving_ends_the_draft(reader: Reader) -> None:
    labels = reader.labels()
    labels[0, 0, 0] = 1
    body = gzip.compress(labels.tobytes())
    reader.send("PUT", "draft", body, If_Match=reader.base)
    reader.send("PUT", "mask", body, If_Match=reader.base)
    assert reader.send("GET", "draft").status_code == 204


@pytest.mark.parametrize("is_other_process", [False, True])
def test_the_draft_of_a_conflict_is_put_on_the_newest_mask(result_folder: Path, is_other_process: bool) -> None:
    jane = Reader(result_folder)
    base, first = jane.base, jane.labels()
    theirs, mine = first.copy(), first.copy()
    theirs[0, 0, :2] = 1
    mine[0, 0, 1:4] = 3
    john = Reader(result_folder, "john") if is_other_process else jane
    newest = john.send("PUT", "mask", gzip.compress(theirs.tobytes()), If_Match=base).json()["mask_sha256"]
    drawn = gzip.compress(mine.tobytes())
    assert jane.send("PUT", "mask", drawn, If_Match=base).status_code == 409
    assert jane.send("PUT", "draft", drawn, If_Match=base, X_Seconds="42").status_code == 204
    # What is drawn on the newest mask is kept beside it.
    assert jane.send("GET", "mask").headers["x-mask-sha256"] == newest
    assert jane.send("PUT", "draft", gzip.compress(theirs.tobytes()), If_Match=newest).status_code == 204
    assert {one["over"] for one in jane.send("GET", "drafts").json()} == {newest, base}
    assert jane.send("GET", f"draft?over={base}").content == mine.tobytes()
    put = jane.send("GET", f"draft?over={base}&onto={newest}")
    both = theirs.copy()
    both[0, 0, 1:4] = 3
    assert put.content == both.tobytes()
    told = [put.headers[name] for name in ("x-mask-sha256", "x-seconds", "x-also-changed", "x-base-known")]
    assert told == [newest, "42", "1", "1"]
    assert jane.send("GET", f"draft?over={base}&onto={base}").status_code == 409
    assert jane.send("DELETE", f"draft?over={base}").status_code == 204
    assert [one["over"] for one in jane.send("GET", "drafts").json()] == [newest]


def test_a_draft_over_a_mask_that_is_gone_is_taken_as_a_whole(reader: Reader) -> None:
    labels = reader.labels()
    labels[0, 0, 0] = 1
    reader.send("PUT", "draft", gzip.compress(labels.tobytes()), If_Match="gone")
    put = reader.send("GET", f"draft?over=gone&onto={reader.base}")
    assert (put.content, put.headers["x-base-known"]) == (labels.tobytes(), "0")


def test_what_cannot_be_logged_is_not_done(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise InputError("the log cannot be used: database or disk is full")

    labels = reader.labels()
    labels[0, 0, 0] = 1
    verdict = f'{{"decision": "accepted", "mask_sha256": "{reader.base}"}}'.encode()
    with monkeypatch.context() as patched:
        patched.setattr(reader.desk.log, "add", full)
        answer = reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=reader.base)
        assert (answer.status_code, "disk is full" in answer.text) == (422, True)
        assert reader.send("POST", "verdict", verdict).status_code == 422
    assert reader.desk.reviews.scans() == ()
    assert reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=reader.base).status_code == 200


def test_what_is_saved_is_told_so_where_the_head_and_the_draft_cannot_be_written(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.review.corrections.write_head", full)
    monkeypatch.setattr(reader.desk.drafts, "drop", full)
    labels = reader.labels()
    for label in (1, 2):
        labels[0, 0, 0] = label
        assert reader.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=reader.base).status_code == 200
    assert [line.detail for line in reader.desk.log.newest()] == ["1 voxels", "1 voxels"]


def test_a_verdict_on_a_mask_that_another_process_replaced_is_refused(result_folder: Path) -> None:
    jane, john = Reader(result_folder), Reader(result_folder, "john")
    base, labels = jane.base, jane.labels()
    labels[0, 0, 0] = 1
    assert john.send("PUT", "mask", gzip.compress(labels.tobytes()), If_Match=base).status_code == 200
    body = '{{"decision": "accepted", "mask_sha256": "{}"}}'
    answer = jane.send("POST", "verdict", body.format(base).encode())
    assert (answer.status_code, "john saved another correction" in answer.text) == (409, True)
    assert jane.desk.log.newest()[0].detail == "study accepted: refused"
    # The newest mask is on the screen now, and may be decided on.
    newest = jane.send("GET", "mask").headers["x-mask-sha256"]
    assert newest != base
    assert jane.send("POST", "verdict", body.format(newest).encode()).status_code == 204


def test_verdicts_are_recorded(reader: Reader) -> None:
    body = f'{{"decision": "rejected", "finding": ["lesion", 2], "mask_sha256": "{reader.base}", "reason": "vessel"}}'
    assert reader.send("POST", "verdict", body.encode()).status_code == 204
    body = f'{{"decision": "accepted", "mask_sha256": "{reader.base}"}}'
    assert reader.send("POST", "verdict", body.encode()).status_code == 204
    (entry,) = list_studies(reader.desk.folder)
    records = [record for record in reader.desk.records(entry) if isinstance(record, Verdict)]
    assert [(one.decision, one.finding) for one in records] == [("rejected", ("lesion", 2)), ("accepted", None)]
    assert reader.desk.next_undecided(reader.study) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 422),
        ('{"decision": "maybe", "mask_sha256": ""}', 422),
        ('{"decision": "accepted", "mask_sha256": "old"}', 409),
    ],
)
def test_what_is_not_a_verdict_is_refused(reader: Reader, body: str, status: int) -> None:
    assert reader.send("POST", "verdict", body.encode()).status_code == status


def test_measurements_are_kept(reader: Reader) -> None:
    body = b'{"marks": [{"kind": "length", "plane": "axial", "points_mm": [[0, 0, 0], [3, 4, 0]]}]}'
    assert reader.send("PUT", "marks", body).status_code == 204
    source = reader.desk.open(reader.study).opened.source_sha256
    assert [mark.kind for mark in reader.desk.marks.find(source, "jane")] == ["length"]
    answer = reader.send("PUT", "marks", b'{"marks": [{"kind": "length", "plane": "axial", "points_mm": []}]}')
    assert answer.status_code == 422
    assert "not measurements" in answer.text


def test_a_large_scan_is_thinned(result_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.viewer.study_on_screen.MOST_VOXELS", 24 * 20 * 16 // 3)
    reader = Reader(result_folder)
    study = reader.desk.open(reader.study)
    assert study.screen.array.shape == (16, 10, 12)
    data = study_data(study)
    assert data["is_thinned"]
    assert "one in 2 pixels" in data["warnings"][0]
    assert data["findings"][0]["index"] == [5 // 2, 5 // 2, 10]
    assert reader.send("GET", "mask").content == reader.labels()[:, ::2, ::2].tobytes()
    assert reader.send("PUT", "mask", gzip.compress(reader.labels()[:, ::2, ::2].tobytes())).status_code == 422


def test_a_scan_is_thinned_within_its_slices_alone() -> None:
    assert thinning((512, 512, 800)) == 1
    assert thinning((1000, 1000, 1000)) == 3, "every third voxel along two axes: a ninth of them"
