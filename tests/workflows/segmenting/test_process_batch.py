"""A batch from files to results, with real worker processes; each start of one loads torch, so there are few."""

import errno
import gzip
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError, StoreError
from medseg.core.geometry import Geometry
from medseg.core.presence import present
from medseg.core.report import Report
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series
from medseg.exchange.nifti import write_nifti
from medseg.jobs.job import Job
from medseg.jobs.local_engine import LocalEngineConfig
from medseg.jobs.queue import Limits, Queue
from medseg.jobs.worker import outcome_of
from medseg.models.bundle import Provenance, load_bundle, save_bundle
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of
from medseg.workflows.scans.find_scans import FoundScans
from medseg.workflows.segmenting import process_batch as processing
from medseg.workflows.segmenting.process_batch import BatchOptions, SegmentScans, _discard_left, process_batch

GRID = Geometry.from_spacing((16, 14, 12), (1.0, 1.0, 1.0))
OPTIONS = BatchOptions(limits=Limits(pause_s=0.01))


@pytest.fixture
def model(tmp_path: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance) -> Path:
    save_bundle(tmp_path / "model", spec, weights, provenance, None)
    return tmp_path / "model"


def write_scan(path: Path, seed: int) -> None:
    voxels = np.random.default_rng(seed).normal(size=GRID.shape).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(voxels, GRID, path)


def manifest(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_mixed_folder_is_segmented_and_every_file_accounted_for(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_scan(source / "a.nii.gz", 1)
    write_scan(source / "sub" / "b.nii.gz", 2)
    (source / "broken.nii.gz").write_bytes((source / "a.nii.gz").read_bytes()[:500])
    (source / "notes.txt").write_text("not a scan")
    voxels = np.arange(GRID.shape[0] * GRID.shape[1] * GRID.shape[2], dtype=np.int16).reshape(GRID.shape)
    write_series(Volume(voxels, GRID), source / "dicom", Series(Study("P1"), "MR", description="T1"))
    write_series(Volume(voxels, GRID), source / "ct", Series(Study("P2"), "CT"))

    summary = process_batch(source, model, output, OPTIONS)
    assert (summary.states["done"], summary.states["quarantined"], summary.submitted) == (3, 1, 4)
    assert summary.has_failures
    lines = manifest(output)
    by_name = {line["name"]: line for line in lines if "name" in line}
    assert by_name["broken"]["state"] == "quarantined"
    assert "broken.nii.gz" in by_name["broken"]["reason"]
    passed = {Path(line["path"]).name for line in lines if line["state"] == "passed over"}
    assert passed == {"notes.txt", "ct"}
    for name, line in by_name.items():
        if name != "broken":
            report = Report.model_validate_json((output / line["output"] / "report.json").read_text())
            assert report.source_sha256 == line["scan_sha256"]
            assert (output / line["output"] / "segmentation.nii.gz").is_file()
            assert line["seconds"] > 0
            assert line["peak_memory_mb"] is None or line["peak_memory_mb"] > 10

    # mended, and begun again: only the mended one is done, and nothing is left of its failure
    write_scan(source / "broken.nii.gz", 3)
    before = {name: (output / "results" / name / "report.json").stat().st_mtime_ns for name in ("a", "sub_b")}
    summary = process_batch(source, model, output, OPTIONS)
    assert (summary.states["done"], summary.states["quarantined"], summary.submitted) == (4, 0, 1)
    assert before == {name: (output / "results" / name / "report.json").stat().st_mtime_ns for name in before}

    # a third time there is nothing to do, and the command says so with exit code 0
    said = CliRunner().invoke(app, ["batch", str(source), str(output), "--model", str(model)])
    assert said.exit_code == 0, said.output
    assert "manifest.jsonl" in said.output


def test_what_was_set_aside_is_tried_again_when_asked_for(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    (source).mkdir()
    (source / "a.nii.gz").write_bytes(b"no scan yet")
    assert process_batch(source, model, output, OPTIONS).has_failures
    write_scan(source / "a.nii.gz", 1)
    retried = process_batch(source, model, output, BatchOptions(only_failed=True, limits=Limits(pause_s=0.01)))
    assert (retried.states["done"], retried.submitted, retried.has_failures) == (1, 1, False)


def test_probabilities_are_kept_on_request(tmp_path: Path, model: Path) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 1)
    options = BatchOptions(keeps_probabilities=True, limits=Limits(pause_s=0.01))
    assert process_batch(tmp_path / "in", model, tmp_path / "out", options).states["done"] == 1
    kept = sorted(path.name for path in (tmp_path / "out" / "results" / "a").glob("probability_*"))
    assert kept == ["probability_anterior_hippocampus.nii.gz", "probability_posterior_hippocampus.nii.gz"]


def test_a_batch_that_was_killed_goes_on(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number in range(12):
        write_scan(source / f"s{number}.nii.gz", number)
    command = [sys.executable, "-m", "apps.batch.process_folder", str(source), str(output), str(model)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    batch = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(output.glob("results/[!.]*/report.json")) and time.monotonic() < deadline and batch.poll() is None:
        time.sleep(0.01)
    batch.send_signal(signal.SIGKILL)
    batch.wait()
    finished = (path for path in output.glob("results/*/report.json") if not is_unfinished(path.parent))
    first = {path: path.stat().st_mtime_ns for path in finished}
    assert first
    assert subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    lines = manifest(output)
    assert [line["state"] for line in lines] == ["done"] * 12
    masks = [path for path in output.glob("results/*/segmentation.nii.gz") if not is_unfinished(path.parent)]
    assert len(masks) == 12
    again = [path for path, written in first.items() if path.stat().st_mtime_ns != written]
    assert len(again) <= 1, "at most the one whose end was not recorded yet is done again"


def lying(path: Path) -> bytes:
    """The file, its header promising 32000 voxels along each axis (NIfTI-1, dim at byte 40)."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:56] = struct.pack("<8h", 3, 32000, 32000, 32000, 1, 1, 1, 1)
    return gzip.compress(bytes(raw))


def test_each_bad_file_ends_as_a_reason_and_the_rest_goes_on(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_scan(source / "a_lie.nii.gz", 1)
    (source / "a_lie.nii.gz").write_bytes(lying(source / "a_lie.nii.gz"))
    (source / "empty.nii.gz").write_bytes(b"")
    (source / "empty.dcm").write_bytes(b"")
    write_nifti(np.ones(GRID.shape, np.float32), GRID, source / "flat.nii.gz")
    slice_grid = Geometry.from_spacing((16, 14, 1), (1.0, 1.0, 1.0))
    write_nifti(np.arange(224, dtype=np.float32).reshape(16, 14, 1), slice_grid, source / "one_slice.nii.gz")
    write_scan(source / "whole.nii.gz", 2)
    assert process_batch(source, model, output, OPTIONS).has_failures
    said = CliRunner().invoke(app, ["batch", str(source), str(output), "--model", str(model)])
    assert said.exit_code == 3, said.output
    assert "set aside: one_slice:" in said.output
    reasons = {line["name"]: line["reason"] for line in manifest(output) if line["state"] == "quarantined"}
    assert "promises 32000 x 32000 x 32000 voxels" in reasons.pop("a_lie")
    assert "it is empty" in reasons.pop("empty")
    assert "every voxel is 1" in reasons.pop("flat")
    assert "one slice only (16 x 14 x 1 voxels)" in reasons.pop("one_slice")
    assert not reasons
    states = {line.get("name", Path(line.get("path", "")).name): line["state"] for line in manifest(output)}
    assert states["whole"] == "done"
    assert states["empty.dcm"] == "passed over"


def test_a_full_disk_is_the_scans_reason_and_leaves_nothing_behind(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "a.nii.gz", 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medseg.workflows.segmenting.segment_study.write_label_map", full)
    run = SegmentScans(model, load_bundle(model).sha256, tmp_path / "results", "cpu")(torch.get_num_threads())
    arguments: dict[str, JsonValue] = {"name": "a", "sources": {"MR": str(tmp_path / "a.nii.gz")}, "series": {}}
    outcome = outcome_of(run, Job(workflow="segment_scan", arguments=arguments))
    assert (outcome.reason or "").startswith("the disk is full:")
    assert not list((tmp_path / "results").iterdir())


def test_an_output_folder_that_is_removed_ends_the_batch_with_a_sentence(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_scan(source / "a.nii.gz", 1)

    def remove(stage: str, done: float, total: float, note: str = "") -> None:
        if stage == "Segmenting scans" and done < total:
            shutil.rmtree(output, ignore_errors=True)

    with pytest.raises(InputError, match=r"was removed while its jobs ran\. Start the batch again"):
        process_batch(source, model, output, OPTIONS, progress=remove)
    assert not (output / "manifest.jsonl").exists(), "what is left there must not keep the batch from beginning again"


def test_two_batches_on_one_output_share_the_work(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number in range(6):
        write_scan(source / f"s{number}.nii.gz", number)
    command = [sys.executable, "-m", "apps.batch.process_folder", str(source), str(output), str(model)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    batches = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [batch.communicate(timeout=300)[1] for batch in batches]
    assert [batch.returncode for batch in batches] == [0, 0], said
    lines = manifest(output)
    assert [(line["state"], line["starts"]) for line in lines] == [("done", 1)] * 6


class NoWorkers:
    """An engine that leaves every job waiting."""

    def build(self, *_: object) -> Self:
        return self

    def run(self, told: object) -> dict[str, int]:
        return {}

    def close(self) -> None: ...


WAITING = BatchOptions(engine=cast("LocalEngineConfig", NoWorkers()))


def test_of_two_batches_of_two_models_that_begin_at_once_one_is_refused(
    tmp_path: Path, model: Path, spec: ModelSpec, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other begins while the one looks for scans, and is what the folder holds when the one has found them."""
    source, output = tmp_path / "in", tmp_path / "out"
    write_scan(source / "a.nii.gz", 1)
    torch.manual_seed(5)
    other = save_bundle(tmp_path / "other", spec, weights_of(spec.network.build(1, spec.class_count)), provenance, None)
    plan = processing.plan_batch

    def plan_while_another_begins(*arguments: Any, **named: Any) -> FoundScans:
        monkeypatch.setattr(processing, "plan_batch", plan)
        process_batch(source, tmp_path / "other", output, WAITING)
        return plan(*arguments, **named)

    monkeypatch.setattr(processing, "plan_batch", plan_while_another_begins)
    with pytest.raises(InputError, match=f"holds a batch of another model \\({other.sha256[:12]}\\)"):
        process_batch(source, model, output, WAITING)
    with Queue(output / "batch.sqlite") as queue:
        assert [record.job.arguments["model_sha256"] for record in queue.records()] == [other.sha256]


def test_a_scan_that_waits_for_another_model_is_not_segmented(tmp_path: Path, model: Path) -> None:
    write_scan(tmp_path / "a.nii.gz", 1)
    run = SegmentScans(model, load_bundle(model).sha256, tmp_path / "results", "cpu")(torch.get_num_threads())
    arguments: dict[str, JsonValue] = {"name": "a", "sources": {"MR": str(tmp_path / "a.nii.gz")}, "series": {}}
    outcome = outcome_of(run, Job(workflow="segment_scan", arguments=arguments | {"model_sha256": "b" * 64}))
    assert (outcome.reason or "").startswith("the scan waits for the model bbbbbbbbbbbb, and this batch has ")
    assert not (tmp_path / "results").exists()


def test_the_manifest_keeps_what_every_input_passed_over(tmp_path: Path, model: Path) -> None:
    output = tmp_path / "out"

    def passed_over() -> set[str]:
        return {Path(line["path"]).name for line in manifest(output) if line["state"] == "passed over"}

    for name in ("one", "two"):
        write_scan(tmp_path / name / f"{name}.nii.gz", 1)
        (tmp_path / name / f"{name}.txt").write_text("no scan")
        (tmp_path / name / f"{name}.csv").write_text("no scan")
        process_batch(tmp_path / name, model, output, WAITING)
    assert passed_over() == {"one.txt", "one.csv", "two.txt", "two.csv"}
    process_batch(tmp_path / "one", model, output, replace(WAITING, only_failed=True))
    assert passed_over() == {"one.txt", "one.csv", "two.txt", "two.csv"}
    (tmp_path / "one" / "one.txt").unlink()
    process_batch(tmp_path / "one", model, output, WAITING)
    assert passed_over() == {"one.csv", "two.txt", "two.csv"}
    write_scan(tmp_path / "three.nii.gz", 1)
    (tmp_path / "two" / "two.csv").unlink()
    process_batch(tmp_path, model, output, WAITING)
    assert passed_over() == {"one.csv", "two.txt", *(path.name for path in model.iterdir())}, "it holds all others"


def test_what_killed_writers_left_is_removed_once_nobody_is_at_work(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_scan(source / "a.nii.gz", 1)
    left = output / "results" / ".medseg-unfinished-abc"
    left.mkdir(parents=True)
    (left / "segmentation.nii.gz").write_bytes(b"half")
    written = output / ".medseg-unfinished-x-batch.json"
    written.write_text("{")
    with Queue(output / "batch.sqlite") as queue:
        with present(output / "batch.lock"):  # another batch has just begun here: no job of it runs yet
            process_batch(source, model, output, OPTIONS)
            assert left.exists()
            assert written.exists()
        other = Job(workflow="segment_scan", arguments={"name": "other"})
        queue.submit([other])
        claim = queue.claim("elsewhere:1:2")  # a worker on another machine outlived its batch
        assert claim is not None
        with present(output / "batch.lock") as presence:
            _discard_left(output, queue, presence)
            assert left.exists()
            queue.finish(claim)
            _discard_left(output, queue, presence)
    assert not [path for path in output.rglob("*") if is_unfinished(path)]


def test_a_cluster_that_does_not_answer_is_told_and_nothing_is_lost(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'medseg[ray]'")
    write_scan(tmp_path / "in" / "a.nii.gz", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = ["batch", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--address", address]
    with pytest.raises(InputError, match="Add --engine ray"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(InputError, match=f"no Ray cluster answers at {address}"):
        CliRunner().invoke(app, [*command, "--engine", "ray"], catch_exceptions=False)
    with Queue(tmp_path / "out" / "batch.sqlite") as queue:
        assert queue.counts()["waiting"] == 1


def test_a_dry_run_writes_nothing(tmp_path: Path, model: Path) -> None:
    write_scan(tmp_path / "in" / "a.nii.gz", 1)
    command = ["batch", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--dry-run"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert "a.nii.gz" in said.output
    assert not (tmp_path / "out").exists()


class TestRefused:
    def test_a_folder_without_scans(self, tmp_path: Path, model: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "notes.txt").write_text("x")
        with pytest.raises(InputError, match=r"no scan for this model.*notes\.txt: it is not DICOM"):
            process_batch(tmp_path / "in", model, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_results_of_another_model(self, tmp_path: Path, model: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "batch.json").write_text('{"model_sha256": "0123"}')
        with pytest.raises(InputError, match="holds a batch of another model"):
            process_batch(tmp_path, model, tmp_path / "out")

    @pytest.mark.parametrize("text", ["", "[]", "{}"])
    def test_a_note_of_the_model_that_cannot_be_read(self, text: str, tmp_path: Path, model: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "batch.json").write_text(text)
        with pytest.raises(InputError, match="cannot be read"):
            process_batch(tmp_path, model, tmp_path / "out")

    def test_a_folder_of_other_files(self, tmp_path: Path, model: Path) -> None:
        with pytest.raises(InputError, match="holds other files"):
            process_batch(tmp_path, model, tmp_path)

    def test_a_file_as_output(self, tmp_path: Path, model: Path) -> None:
        (tmp_path / "out").write_text("")
        with pytest.raises(InputError, match="is a file"):
            process_batch(tmp_path, model, tmp_path / "out")

    def test_to_try_again_what_was_never_begun(self, tmp_path: Path, model: Path) -> None:
        with pytest.raises(InputError, match="no batch in"):
            process_batch(tmp_path, model, tmp_path / "out", BatchOptions(only_failed=True))

    def test_a_model_that_changes_while_the_batch_runs(self, tmp_path: Path, model: Path) -> None:
        start = SegmentScans(model, "0" * 64, tmp_path, "cpu")
        with pytest.raises(StoreError, match="was changed while the batch ran"):
            start(1)

    def test_an_altered_model(self, tmp_path: Path, model: Path) -> None:
        (model / "spec.toml").write_text((model / "spec.toml").read_text() + "\n# altered")
        with pytest.raises(StoreError):
            process_batch(tmp_path, model, tmp_path / "out")
