"""What stands beside a study: the changes since a prior one, a vessel's pictures, and how reviewing goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from apps.viewer.access.tokens import Permit, issue, new_key
from apps.viewer.dashboard import dashboard_numbers
from apps.viewer.desk import Desk
from apps.viewer.page_data import worklist_row
from apps.viewer.routes import data_routes
from apps.viewer.vessel_data import vessel_data
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.report import Report
from medseg.core.volume import Volume
from medseg.exchange.write import write_volume
from medseg.review.corrections import Signature
from medseg.review.records import mask_sha256
from medseg.workflows.segmenting.find_blockages import find_blockages

KEY = new_key()


def get(desk: Desk, name: str, path: str) -> httpx.Response:
    """The answer to a reader of the study of that name."""
    study = next(entry.id for entry in desk.entries() if entry.name == name)
    headers = {"Authorization": f"Bearer {issue(KEY, Permit(study, 'jane', 'read'))}"}

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=data_routes(desk, KEY)))
        async with httpx.AsyncClient(transport=transport, base_url="http://viewer") as client:
            return await client.get(f"/data/studies/{study}/{path}", headers=headers)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, send()).result()


class TestChanges:
    @pytest.fixture
    def desk(self, write_result: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
        """Two studies of one patient that lie on each other; elastix has its own tests."""
        still = SimpleNamespace(on_current=lambda labels: labels.astype(np.uint16), moved_mm=0.0)
        monkeypatch.setattr("medseg.workflows.results.compare_studies.align", lambda *_, **__: still)
        write_result("current")
        write_result("prior")
        return Desk(tmp_path / "results")

    def prior(self, desk: Desk) -> str:
        return next(entry.id for entry in desk.entries() if entry.name == "prior")

    def test_each_lesion_is_told_with_its_sizes(self, desk: Desk) -> None:
        told = get(desk, "current", f"changes?prior={self.prior(desk)}").json()
        (change,) = told["changes"]
        # Of 27 voxels of 4.5 mm3; the smaller lesion is below what the task counts.
        assert (change["label"], change["kind"], change["prior"], change["current"]) == ("lesion", "matched", [1], [1])
        assert change["volume_change_percent"] == pytest.approx(0)

    def test_another_patients_study_is_refused(self, desk: Desk) -> None:
        file = desk.folder / "prior" / "report.json"
        report = Report.model_validate_json(file.read_bytes())
        series = replace(report.series, study=replace(report.series.study, patient_id="P-002"))
        file.write_text(report.model_copy(update={"series": series}).model_dump_json())
        answer = get(desk, "current", f"changes?prior={self.prior(desk)}")
        assert (answer.status_code, "P-002" in answer.text) == (422, True)

    def test_an_unknown_prior_is_a_sentence(self, desk: Desk) -> None:
        assert get(desk, "current", "changes?prior=none").status_code == 422


@pytest.fixture(scope="module")
def vessel_desk(tmp_path_factory: pytest.TempPathFactory, vessels_in: Callable[[Path, Path], None]) -> Desk:
    root = tmp_path_factory.mktemp("vessels")
    vessels_in(root, root / "results" / "vessels")
    return Desk(root / "results")


class TestVessels:
    def test_a_section_shows_the_vessel_in_its_middle(self, vessel_desk: Desk) -> None:
        answer = get(vessel_desk, "vessels", "section?branch=0&along=5")
        rows, columns = int(answer.headers["x-rows"]), int(answer.headers["x-columns"])
        values = np.frombuffer(answer.content, "<i2").reshape(rows, columns) / float(answer.headers["x-scale"])
        assert values[rows // 2, columns // 2] == pytest.approx(1.0, abs=0.05)
        step_mm = float(answer.headers["x-step-mm"])
        assert np.sqrt((values > 0.5).sum() * step_mm**2 / np.pi) == pytest.approx(2.0, abs=0.25)

    def test_a_curved_picture_keeps_the_bend_and_turned_a_quarter_hides_it(self, tmp_path: Path) -> None:
        i, j, k = np.indices((50, 30, 80))
        middle = 18.0 + 14.0 * np.sin(np.pi * k / 79)
        share = np.clip((2.0 - np.hypot(i - middle, j - 14.5) * 0.5) / 0.5 + 0.5, 0, 1).astype(np.float32)
        write_volume(Volume(share, Geometry.from_spacing(share.shape, (0.5, 0.5, 0.5))), tmp_path / "map.nii.gz")
        find_blockages(tmp_path / "map.nii.gz", tmp_path / "results/bent")
        swing_mm = []
        for path in ("curved?branch=0&angle=0", "curved?branch=0&angle=90", "straightened?branch=0&angle=0"):
            answer = get(Desk(tmp_path / "results"), "bent", path)
            rows, columns = int(answer.headers["x-rows"]), int(answer.headers["x-columns"])
            values = np.frombuffer(answer.content, "<i2").reshape(rows, columns) / float(answer.headers["x-scale"])
            inside = values[5:-5] > 0.5
            at = (inside * np.arange(columns)).sum(axis=1) / inside.sum(axis=1)
            swing_mm.append(np.ptp(at) * float(answer.headers["x-step-mm"]))
        assert swing_mm[0] == pytest.approx(6.5, abs=1.0)
        assert max(swing_mm[1:]) < 0.6

    def test_the_page_is_told_grades_and_counts_of_arteries_and_none_of_veins(
        self, tmp_path: Path, vessels_in: Callable[[Path, Path], None]
    ) -> None:
        vessels_in(tmp_path, tmp_path / "results/arteries")
        find_blockages(tmp_path / "map.nii.gz", tmp_path / "results/veins", kind="vein")
        desk = Desk(tmp_path / "results")
        told = {entry.name: vessel_data(entry, desk.vessels(entry.id)) for entry in desk.entries()}
        (artery,), (vein,) = (told[name]["blockages"] for name in ("arteries", "veins"))
        assert (told["arteries"]["is_artery"], artery["cad_rads"]) == (True, told["arteries"]["cad_rads"])
        assert (told["veins"]["is_artery"], told["veins"]["cad_rads"]) == (False, None)
        assert [vein[name] for name in ("cad_rads", "nascet", "nascet_percent")] == [None] * 3
        assert [branch["blockages"] for branch in told["arteries"]["branches"]] == [1]

    @pytest.mark.parametrize("path", ["section?branch=99", "straightened?branch=x", "section?branch=0&along=nan"])
    def test_what_is_not_there_is_a_sentence(self, vessel_desk: Desk, path: str) -> None:
        answer = get(vessel_desk, "vessels", path)
        assert (answer.status_code, len(answer.text) > 15) == (422, True)

    def test_a_result_without_its_scan_says_so(self, tmp_path: Path, vessels_in: Callable[[Path, Path], None]) -> None:
        vessels_in(tmp_path, tmp_path / "results" / "vessels")
        (tmp_path / "map.nii.gz").unlink()
        assert "no longer at" in get(Desk(tmp_path / "results"), "vessels", "section?branch=0").text


def test_the_worklist_says_what_could_not_be_assessed(write_result: Callable[..., Path], tmp_path: Path) -> None:
    write_result("a")
    (entry,) = Desk(tmp_path / "results").entries()
    assert entry.report is not None
    report = entry.report.model_copy(update={"findings": (), "not_assessable": {"blockage": "no contrast"}})
    assert worklist_row(replace(entry, report=report), (), "jane")["findings"] == "blockage not assessable"


def test_the_dashboard_counts_what_was_decided_and_changed(write_result: Callable[..., Path], tmp_path: Path) -> None:
    write_result("a")
    desk = Desk(tmp_path / "results")
    assert dashboard_numbers(desk)["totals"]["decided"] == 0
    opened = desk.open(desk.entries()[0].id).opened
    assert opened.label_map is not None
    assert opened.report is not None
    labels = opened.label_map.array.copy()
    before = int((labels == 2).sum())
    labels[tuple(np.argwhere(labels == 2)[0])] = 0
    corrected = LabelMap(labels, opened.label_map.geometry, opened.label_map.schema)
    subject, by = (opened.source_sha256, opened.report.task.name), Signature("jane", duration_s=30)
    desk.reviews.correct(corrected, opened.label_map, *subject, by=by)
    desk.reviews.decide(mask_sha256(corrected), "accepted", None, *subject, by=by)
    numbers = dashboard_numbers(desk)
    totals = numbers["totals"]
    assert (totals["decided"], totals["accepted"], totals["corrected"], totals["drawn_s"]) == (1, 1, 1, 30)
    assert totals["dice"] == pytest.approx(2 * (before - 1) / (2 * before - 1))
    (week,) = numbers["weeks"]
    assert (week["accepted"], week["rejected"]) == (1, 0)
