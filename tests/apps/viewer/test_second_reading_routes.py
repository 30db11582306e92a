"""A permit for a second reading opens what may be seen of it, and nothing that others drew."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.applications import Starlette

from apps.viewer.access.tokens import Permit, issue, new_key
from apps.viewer.desk import Desk
from apps.viewer.page_data import study_data, worklist_row
from apps.viewer.readings_data import blindness, other_masks, readings_told
from apps.viewer.routes import data_routes
from apps.viewer.second_reading import second_reading_of
from medseg.core.errors import InputError
from medseg.core.findings import Mark
from medseg.imaging.pictures.slices import mask_for_screen
from medseg.review.marks import MarkList

KEY = new_key()
Ask = Callable[..., httpx.Response]


@pytest.fixture
def desk(result_folder: Path) -> Desk:
    return Desk(result_folder)


@pytest.fixture
def study(desk: Desk) -> str:
    return desk.entries()[0].id


@pytest.fixture
def ask(desk: Desk) -> Ask:
    """A request by someone about a study; headers in words with underscores."""
    transport = httpx.ASGITransport(app=Starlette(routes=data_routes(desk, KEY)))

    def send(user: str, study: str, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        told = {"Authorization": f"Bearer {issue(KEY, Permit(study, user, 'correct'))}"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}

        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://viewer") as client:
                return await client.request(method, f"/data/studies/{study}/{path}", content=body, headers=told)

        with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop running in the main thread
            return thread.submit(asyncio.run, run()).result()

    return send


def model_labels(desk: Desk, study: str) -> NDArray[np.unsignedinteger]:
    label_map = desk.open(study).as_segmented.label_map
    assert label_map is not None
    return mask_for_screen(label_map).copy()


def saved(ask: Ask, desk: Desk, user: str, study: str, value: int) -> NDArray[np.unsignedinteger]:
    """The labels that a reader drew over what they may see, once they are kept."""
    shown = desk.open(study, user)
    labels = np.frombuffer(gzip.decompress(shown.mask_gzip or b""), np.uint8).reshape(shown.screen.array.shape).copy()
    labels[0, 0, :5] = value
    answer = ask(user, study, "PUT", "mask", gzip.compress(labels.tobytes()), If_Match=shown.mask_sha256 or "")
    assert answer.status_code == 200, answer.text
    return labels


def seen(answer: httpx.Response) -> list[int]:
    return list(answer.content)


def test_a_second_reader_sees_the_models_mask_and_no_other(ask: Ask, desk: Desk, study: str) -> None:
    before = model_labels(desk, study)
    first = saved(ask, desk, "jane", study, 1)
    blind = second_reading_of(study)
    assert seen(ask("john", blind, "GET", "mask")) == before.ravel().tolist()
    told = study_data(desk.open(blind, "john"))
    assert (told["status"], told["is_second_reading"], "jane" in json.dumps(told)) == ("new", True, False)
    assert other_masks(desk.open(blind, "john"), ()) == []
    length = Mark(kind="length", plane="axial", points_mm=((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)))
    desk.marks.keep(MarkList(marks=(length,)), desk.open(study).opened.source_sha256, "jane")
    assert desk.others_marks(desk.open(blind, "john"), "john") == ()
    assert desk.others_marks(desk.open(study), "john") == (("jane", length),)
    assert desk.others_marks(desk.open(study), "jane") == ()
    refused = ("mask?of=model", "mask?of=reading:0", "readings", "export?format=csv", f"changes?prior={study}")
    for path in refused:
        assert ask("john", blind, "GET", path).status_code in (404, 422), path
    drawn = saved(ask, desk, "john", blind, 2)
    assert seen(ask("john", blind, "GET", "mask")) == drawn.ravel().tolist()
    assert seen(ask("jane", study, "GET", "mask")) == first.ravel().tolist()


def test_a_second_reading_is_not_decided_on(ask: Ask, desk: Desk, study: str) -> None:
    saved(ask, desk, "jane", study, 1)
    shown = desk.open(second_reading_of(study), "john")
    body = json.dumps({"decision": "accepted", "mask_sha256": shown.mask_sha256}).encode()
    answer = ask("john", second_reading_of(study), "POST", "verdict", body)
    assert (answer.status_code, "whoever adjudicates" in answer.text) == (422, True)


def test_who_may_not_read_blind_is_told_why(ask: Ask, desk: Desk, study: str) -> None:
    with pytest.raises(InputError, match="no first reading"):
        desk.open(second_reading_of(study), "john")
    saved(ask, desk, "jane", study, 1)
    with pytest.raises(InputError, match="jane corrected this study"):
        desk.open(second_reading_of(study), "jane")
    assert ask("jane", second_reading_of(study), "GET", "mask").status_code == 422
    (entry,) = desk.entries()
    row = {user: worklist_row(entry, desk.records(entry), user)["why_not_second"] for user in ("jane", "john")}
    assert (row["jane"] != "", row["john"]) == (True, "")


def test_a_reader_who_has_looked_is_not_blind(ask: Ask, desk: Desk, study: str) -> None:
    desk.log.add("john", "view", "study_1")
    saved(ask, desk, "jane", study, 1)
    shown = desk.open(second_reading_of(study), "john")
    assert blindness(desk, shown, "john") == []
    desk.log.add("john", "view", "study_1")
    assert blindness(desk, shown, "john") != []
    assert blindness(desk, shown, "mary") == []


def test_a_third_person_says_whose_mask_stands(ask: Ask, desk: Desk, study: str) -> None:
    saved(ask, desk, "jane", study, 1)
    assert readings_told(desk.open(study), "ann") is None
    drawn = saved(ask, desk, "john", second_reading_of(study), 2)
    told = readings_told(desk.open(study), "ann")
    assert told is not None
    assert [(one["reader"], one["is_shown"], one["is_second"]) for one in told["readers"]] == [
        ("jane", True, False),
        ("john", False, True),
    ]
    assert (told["is_open"], told["may_decide"]) == (True, True)
    assert (readings_told(desk.open(study), "jane") or {})["may_decide"] is False
    assert seen(ask("ann", study, "GET", f"mask?of={told['readers'][1]['mask']}")) == drawn.ravel().tolist()
    assert ask("ann", study, "GET", "mask?of=reading:0").status_code == 422
    (pair,) = ask("ann", study, "GET", "readings").json()
    assert pair["readers"] == ["jane", "john"]
    assert 0 < pair["kappa"] < 1

    chosen = {"reader": "john", "mask": told["readers"][1]["mask"].rpartition(":")[2], "reason": "seen on both planes"}
    word = json.dumps(chosen).encode()
    answer = ask("jane", study, "POST", "adjudication", word)
    assert (answer.status_code, "cannot be the judge" in answer.text) == (422, True)
    assert ask("ann", study, "POST", "adjudication", b"{}").status_code == 422
    unseen = json.dumps({**chosen, "mask": "0" * 64}).encode()
    assert ask("ann", study, "POST", "adjudication", unseen).status_code == 409
    open_page = desk.open(second_reading_of(study), "john")
    assert ask("ann", study, "POST", "adjudication", word).status_code == 204
    labels = gzip.decompress(open_page.mask_gzip or b"")
    late = ask("john", open_page.key[0], "PUT", "mask", gzip.compress(labels), If_Match=open_page.mask_sha256 or "")
    assert (late.status_code, "adjudicated already" in late.text) == (422, True)
    assert gzip.decompress(desk.open(study).mask_gzip or b"") == drawn.tobytes()
    told = readings_told(desk.open(study), "ann")
    assert told is not None
    assert (told["by"], told["is_open"]) == ("ann", False)
    assert study_data(desk.open(study))["status"] == "accepted"
