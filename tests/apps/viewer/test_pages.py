"""The pages as Streamlit runs them: what the components are told, and what is said when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from apps.viewer import state
from apps.viewer.access.tokens import check, new_key
from apps.viewer.state import ViewerState

SCRIPT = Path(state.__file__).resolve().parent / "app.py"
KEY = new_key()


def run(folder: Path, study: str | None = None) -> AppTest:
    """The app over a folder, on the worklist or on the reading page of a study."""
    page = AppTest.from_file(str(SCRIPT), default_timeout=30)
    page.secrets["medseg"] = {"folder": str(folder), "signing_key": KEY, "reader": "jane", "access": ""}
    if study is not None:
        page.session_state["medseg_viewer"] = ViewerState(study=study, destination="read")
    return page.run()


def told(page: AppTest) -> dict[str, Any]:
    """The data of the page's one component."""
    (component,) = page.get("bidi_component")
    data: dict[str, Any] = json.loads(component.proto.json)
    return data


def test_the_worklist_names_the_studies(write_result: Callable[..., Path], tmp_path: Path) -> None:
    write_result()
    write_result("study_2", patient_name="<script>alert(1)</script>")
    rows = told(run(tmp_path / "results"))["rows"]
    assert [row["patient"] for row in rows] == ["Doe, Jane", "<script>alert(1)</script>"]
    assert [row["findings"] for row in rows] == ["lesion ×\N{NO-BREAK SPACE}2"] * 2
    assert rows[0]["date"] == "2026-03-12"


def test_an_unreadable_study_is_listed_with_its_reason(write_result: Callable[..., Path], tmp_path: Path) -> None:
    (write_result() / "report.json").write_text("{")
    (row,) = told(run(tmp_path / "results"))["rows"]
    assert row["status"] == "unreadable"
    assert "damaged" in row["problem"]


def test_the_reading_room_is_told_the_study(write_result: Callable[..., Path], tmp_path: Path) -> None:
    write_result(axis_codes="RAS")
    study = told(run(tmp_path / "results"))["rows"][0]["id"]
    data = told(run(tmp_path / "results", study))
    assert data["study"]["scan"]["shape"] == [24, 20, 16]
    # The lesion at (18, 14, 10) in RAS lies at (23 - 18, 19 - 14, 10) on the screen, which counts to the left and back.
    assert data["study"]["findings"][0]["index"] == [5, 5, 10]
    assert data["study"]["findings"][0]["measurements"][0]["interval"] == [0.03, 0.2]
    assert data["study"]["notice"] == "Not for diagnostic use"
    assert check(KEY, data["permits"]["study"], study, "read").user == "jane"


def test_a_missing_scan_is_a_sentence_on_the_page(write_result: Callable[..., Path], tmp_path: Path) -> None:
    write_result()
    study = told(run(tmp_path / "results"))["rows"][0]["id"]
    (tmp_path / "scans" / "study_1.nii.gz").unlink()
    page = run(tmp_path / "results", study)
    assert "no longer at" in page.error[0].value
    assert [button.label for button in page.button] == ["Back to the worklist"]


def test_an_unknown_study_is_a_sentence_on_the_page(result_folder: Path) -> None:
    assert "not, or no longer, in the folder" in run(result_folder, "0" * 16).error[0].value


@pytest.mark.parametrize("name", ["Doe^Jane^Maria", "Doe^Jane^Maria=XX", "Doe ^ Jane ^Maria^Dr"])
def test_person_names_are_for_people(name: str) -> None:
    from apps.viewer.page_data import person_name

    assert person_name(name) == "Doe, Jane Maria"
