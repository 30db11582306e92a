"""Requests are worked off by a process of their own, told of while they run, and can be taken back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti
from medseg.workflows.segmenting.segment_on_request import (
    Requests,
    SegmentRequests,
    WithdrawnError,
    result_folder,
    result_name,
)
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture
def scan(
    tmp_path: Path, ball_image: Callable[[Geometry, int], tuple[np.ndarray, np.ndarray]], upright: Geometry
) -> Path:
    write_nifti(ball_image(upright, 7)[0], upright, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_a_request_becomes_a_result(tmp_path: Path, scan: Path, trained: TrainedModel) -> None:
    requests = Requests(tmp_path / "requests")
    assert requests.records() == ()
    asked = requests.submit(scan, trained.folder, trained.bundle.sha256, tmp_path / "out")
    assert requests.submit(scan, trained.folder, trained.bundle.sha256, tmp_path / "out") == asked
    assert requests.are_open()
    engine = requests.engine()
    engine.run()
    engine.close()
    (record,) = requests.records()
    assert (record.job.id, record.state, record.reason) == (asked, "done", None)
    assert (tmp_path / "out" / "report.json").is_file()
    assert requests.progress(asked) is None
    # Settled and asked for again: it waits again.
    requests.submit(scan, trained.folder, trained.bundle.sha256, tmp_path / "out")
    assert requests.are_open()


def test_a_request_that_fails_keeps_its_reason_and_is_tried_again(tmp_path: Path, trained: TrainedModel) -> None:
    requests = Requests(tmp_path / "requests")
    asked = requests.submit(tmp_path / "none.nii.gz", trained.folder, "another", tmp_path / "out")
    engine = requests.engine()
    engine.run()
    engine.close()
    (record,) = requests.records()
    assert record.state == "quarantined"
    assert "was changed since it was chosen" in str(record.reason)
    assert requests.retry(asked)
    assert not requests.retry("unknown")
    assert requests.are_open()


def test_a_running_request_tells_how_far_it_is_and_stops_when_taken_back(
    tmp_path: Path, scan: Path, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.workflows.segmenting.segment_on_request._SECONDS_BETWEEN_NOTES", 0.0)
    requests = Requests(tmp_path / "requests")
    asked = requests.submit(scan, trained.folder, trained.bundle.sha256, tmp_path / "out")
    told = []

    def segment(
        sources: object, bundle: object, output: Path, *, progress: Callable[[str, float, float], None]
    ) -> None:
        progress("Segmenting", 3, 8)
        told.append(requests.progress(asked))
        requests.withdraw(asked)
        progress("Segmenting", 4, 8)

    monkeypatch.setattr("medseg.workflows.segmenting.segment_study.segment_study", segment)
    run = SegmentRequests(requests.folder)(1)
    with requests._queue() as queue:
        claim = queue.claim("worker")
        assert claim is not None
    with pytest.raises(WithdrawnError):
        run(claim.job)
    assert [(note.stage, note.done, note.total) for note in told if note] == [("Segmenting", 3, 8)]
    assert requests.records()[0].state == "cancelled"
    assert requests.progress(asked) is None


def test_requests_that_nobody_can_work_off_fail_with_the_reason(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    for name in ("a", "b"):
        requests.submit(tmp_path / name, tmp_path / "model", "0" * 64, tmp_path / "out")
    requests.set_aside("no worker can be started")
    assert [(one.state, one.reason) for one in requests.records()] == [("quarantined", "no worker can be started")] * 2
    assert not requests.are_open()


def test_result_names_are_folder_names() -> None:
    assert result_name("sub/../CT 1.nii.gz", "liver") == "sub_.._CT_1.nii.gz__liver"


def test_each_scan_has_a_result_folder_of_its_own(tmp_path: Path) -> None:
    results = tmp_path / "segmented"
    scans = [tmp_path / "uploads" / patient / "2_thin" for patient in ("A", "B")]
    one, other = (result_folder(results, scan, "liver") for scan in scans)
    assert one != other
    assert one.name.startswith("2_thin__liver-")
    assert result_folder(results, tmp_path / "uploads" / "B" / ".." / "A" / "2_thin", "liver") == one
    assert result_folder(results, scans[0], "spleen") != one
    moved = tmp_path / "moved"
    assert result_folder(moved / "segmented", moved / "uploads" / "A" / "2_thin", "liver").name == one.name
    # Names so long that they are cut still tell the scans apart.
    long = "model" * 30
    assert result_folder(results, scans[0], long) != result_folder(results, scans[1], long)
