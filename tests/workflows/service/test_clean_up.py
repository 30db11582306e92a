"""What stays of a job, and for how long: what the viewer shows, what readers use, what goes for time or space."""

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from made_service import SHAPE, MakeParts, ServiceParts, write_settings
from orthanc import Orthanc, made_ct

from medseg.core.atomic import is_unfinished
from medseg.core.label_map import LabelMap
from medseg.jobs.job import JobRecord
from medseg.review.audit import AuditLog
from medseg.review.corrections import REVIEW_FOLDER, CorrectionStore, Signature
from medseg.settings.model import Retention
from medseg.settings.sources import read_settings
from medseg.workflows.results.open_study import list_studies, open_study
from medseg.workflows.service.check import check_settings
from medseg.workflows.service.clean_up import clean_up


def worked(parts: ServiceParts) -> JobRecord:
    """The next job, done."""
    before = {record.job.id for record in parts.queue.records("done")}
    parts.work()
    (record,) = (record for record in parts.queue.records("done") if record.job.id not in before)
    return record


def corrected_by_a_reader(result: Path, store: CorrectionStore) -> None:
    opened = open_study(list_studies(result)[0])
    assert opened.label_map is not None
    assert opened.report is not None
    labels = opened.label_map.array.copy()
    labels[0, 0, 0] = 0
    drawn = LabelMap(labels, opened.label_map.geometry, opened.label_map.schema)
    by = Signature("jane", model_sha256=opened.report.model.sha256)
    store.correct(drawn, opened.label_map, opened.source_sha256, opened.report.task.name, by=by)


class TestForTheViewer:
    def test_where_it_is_enabled_each_result_opens_and_nothing_else_is_listed(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts(viewer={"enabled": True})
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        folder = parts.places.work_of(worked(parts).job.id)
        (entry,) = list_studies(parts.places.work)
        assert (entry.name, entry.kind) == (f"{folder.name}/result", "result")
        opened = open_study(entry)
        assert opened.label_map is not None
        assert opened.volume.geometry.shape == SHAPE

    def test_settings_under_which_it_could_open_none_are_an_error(self, tmp_path: Path) -> None:
        said = {}
        for images in (None, True, False):
            retention = {} if images is None else {"images": images}
            file = write_settings(
                tmp_path, "http://127.0.0.1:9/dicom-web", viewer={"enabled": True}, retention=retention
            )
            said[images] = [str(remark) for remark in check_settings(read_settings(file).settings)]
        assert said[None] == said[True] == []
        assert ["retention.images is false" in text for text in said[False]] == [True]


class TestCleaningUp:
    def test_what_is_done_goes_when_its_time_is_over_and_early_for_space(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts()
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        assert clean_up(parts.places, Retention(days=0), parts.queue) == 0, "what waits stays"
        parts.work()
        (folder,) = parts.places.work.iterdir()
        assert not (folder / "images").exists()
        assert clean_up(parts.places, Retention(), parts.queue) == 0
        assert clean_up(parts.places, Retention(least_free_gb=1e9), parts.queue) == 1
        assert not list(parts.places.work.iterdir())
        assert parts.queue.counts()["done"] == 1, "it is remembered that it was done"

    def test_what_readers_use_stays_and_what_they_corrected_goes_last(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = make_parts(viewer={"enabled": True})
        for number in range(3):
            orthanc.push(made_ct(tmp_path / str(number), number, shape=SHAPE))
        assert parts.watch() == 3
        oldest_first = [parts.places.work_of(worked(parts).job.id) for _ in range(3)]
        corrected, seen, _ = oldest_first
        reviews = parts.places.work / REVIEW_FOLDER
        corrected_by_a_reader(corrected / "result", CorrectionStore(reviews))
        AuditLog(reviews).add("jane", "view", f"{seen.name}/result")
        with closing(sqlite3.connect(parts.places.queue_file)) as books:
            books.execute("UPDATE jobs SET settled_s = settled_s - 2 * 86400")
            books.commit()
        assert clean_up(parts.places, Retention(days=3), parts.queue) == 0
        assert clean_up(parts.places, Retention(days=1), parts.queue) == 1
        assert [folder.exists() for folder in oldest_first] == [True, True, False], "seen today"
        with monkeypatch.context() as patch:  # a disk that has space for one of them
            there = "medseg.workflows.service.clean_up._has_space"
            patch.setattr(there, lambda places, _: len(list(places.work.glob("[0-9a-f]*"))) <= 1)
            assert clean_up(parts.places, Retention(days=3), parts.queue) == 1
        assert not seen.exists(), "it is younger than the corrected one"
        assert clean_up(parts.places, Retention(days=0), parts.queue) == 0
        assert clean_up(parts.places, Retention(least_free_gb=1e9), parts.queue) == 1
        assert not corrected.exists()

    def test_what_is_tried_again_meanwhile_stays_and_what_goes_goes_whole(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = make_parts()
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        (waiting,) = parts.queue.records("waiting")
        parts.work()
        done = parts.queue.records("done")
        (folder,) = parts.places.work.iterdir()
        with monkeypatch.context() as patch:  # what was settled when it was listed
            patch.setattr(parts.queue, "records", lambda *_: done)
            patch.setattr(parts.queue, "record", lambda _: waiting)
            assert clean_up(parts.places, Retention(days=0), parts.queue) == 0
        assert folder.is_dir()
        with monkeypatch.context() as patch:  # a kill before anything was removed
            patch.setattr("medseg.core.atomic.shutil.rmtree", lambda *_, **__: None)
            clean_up(parts.places, Retention(days=0), parts.queue)
        assert not folder.exists()
        assert all(is_unfinished(path) for path in parts.places.work.iterdir())

    def test_a_job_at_which_another_worker_is_still_at_work_waits(
        self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path
    ) -> None:
        parts = make_parts()
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        (record,) = parts.queue.records("waiting")
        folder = parts.places.work_of(record.job.id)
        folder.mkdir()
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        outcome = parts.work()
        assert outcome is not None
        assert (outcome.then, "still at work on it" in str(outcome.reason)) == ("wait", True)
        assert list(folder.iterdir()) == []
        os.close(handle)

    def test_without_space_nothing_is_fetched(self, make_parts: MakeParts, orthanc: Orthanc, tmp_path: Path) -> None:
        parts = make_parts(retention={"least_free_gb": 1e9})
        orthanc.push(made_ct(tmp_path / "ct", shape=SHAPE))
        parts.watch()
        outcome = parts.work()
        assert outcome is not None
        assert outcome.then == "wait"
        assert "below retention.least_free_gb" in str(outcome.reason)
        assert not list(parts.places.work.iterdir())
