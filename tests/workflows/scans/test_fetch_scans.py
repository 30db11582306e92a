"""What an archive lists of a patient: of nobody else, and told where the list was cut."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_archive import FakeArchive, Request, running

from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError, UnreachableError
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.workflows.scans.fetch_scans import MOST_STUDIES, fetch_from_archive, find_in_archive


@pytest.fixture
def archive() -> Iterator[FakeArchive]:
    with running(FakeArchive()) as fake:
        yield fake


def lists(archive: FakeArchive, *patients: str) -> WebArchiveConfig:
    """The archive, which lists one study of each of these, whoever is asked for."""
    studies = [
        {"0020000D": {"vr": "UI", "Value": [f"1.2.{n}"]}, "00100020": {"vr": "LO", "Value": [patient]}}
        for n, patient in enumerate(patients)
    ]

    def answer(request: Request) -> bool:
        path, _, query = request.path.partition("?")
        if not path.endswith("/studies"):
            return False
        keys = dict(part.split("=") for part in query.split("&"))
        page = studies[int(keys.get("offset", 0)) :][: int(keys["limit"])]
        request.answer(200, json.dumps(page).encode())
        return True

    archive.misdeed = answer
    return WebArchiveConfig(url=archive.url)


def test_an_archive_that_matches_more_than_it_is_asked_for(archive: FakeArchive) -> None:
    found = find_in_archive(lists(archive, "P1", "p1", "P12", "P1 "), " P1 ")
    assert [one.study.study_uid for one in found.studies] == ["1.2.0", "1.2.3"]
    assert not found.is_cut
    assert sum("/series" in path for path in archive.asked) == 2


@pytest.mark.parametrize("number", ["", "  ", "*", "P*", "P?", "P1\\P2"])
def test_a_number_that_would_match_others_is_not_asked_for(archive: FakeArchive, number: str) -> None:
    with pytest.raises(InputError, match="would match other patients"):
        find_in_archive(lists(archive, "P1"), number)
    assert archive.asked == []


@pytest.mark.parametrize(("count", "is_cut"), [(MOST_STUDIES, False), (MOST_STUDIES + 1, True)])
def test_a_list_that_was_cut_says_so(archive: FakeArchive, count: int, *, is_cut: bool) -> None:
    found = find_in_archive(lists(archive, *["P1"] * count), "P1")
    assert (len(found.studies), found.is_cut) == (MOST_STUDIES, is_cut)


def test_what_is_being_fetched_is_known_as_unfinished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def cut_off(_archive: WebArchive, _study: str, _series: str, folder: Path, _told: Any) -> None:
        seen.append([is_unfinished(path) for path in tmp_path.iterdir()])
        folder.mkdir()
        raise UnreachableError("the archive went away")

    monkeypatch.setattr(WebArchive, "fetch_series", cut_off)
    with pytest.raises(UnreachableError, match="went away"):
        fetch_from_archive(WebArchiveConfig(url="http://127.0.0.1:9/dicom-web"), "1.2", "1.3", tmp_path, "scan")
    assert seen == [[True]]
    assert list(tmp_path.iterdir()) == []
