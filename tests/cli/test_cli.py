"""The command line as a person meets it: help, exit codes, one sentence for what can be mended, no half results."""

import gzip
import os
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.cli import main
from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti
from medseg.models.bundle import Provenance, save_bundle
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `medseg ARGUMENTS` in this process; gives exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medseg", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def bundle(tmp_path: Path, spec: ModelSpec, provenance: Provenance) -> Path:
    torch.manual_seed(0)
    save_bundle(tmp_path / "model", spec, weights_of(spec.network.build(1, 3)), provenance, None)
    return tmp_path / "model"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    grid = Geometry.from_spacing((18, 18, 18), (1.0, 1.0, 1.0))
    write_nifti(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("arguments", [["segmnt"], ["segment"], ["plan", "x", "--fold", "-1"], ["train", "x", "--no"]])
def test_wrong_usage_is_code_2(run: Run, arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_a_plan_and_minutes_do_not_go_together_over_folds(run: Run, tmp_path: Path) -> None:
    code, _, err = run("cross-validate", tmp_path, "-o", tmp_path / "run", "--plan", "plan.toml", "--minutes", 5)
    assert (code, "leave out --network, --loss and --minutes" in err) == (2, True)


def test_segment_prints_findings_on_stdout_and_progress_on_stderr(run: Run, scan: Path, bundle: Path) -> None:
    code, out, err = run("segment", scan, "--model", bundle, "--output", scan.parent / "out")
    assert code == 0
    assert "hippocampus" in out
    assert "volume ml" in out
    assert "Not for diagnostic use" in out
    assert "Segmenting" in err
    assert "Segmenting" not in out


def test_a_forecast_is_said_and_nothing_is_written(run: Run, scan: Path, bundle: Path) -> None:
    before = sorted(scan.parent.iterdir())
    code, out, _ = run("segment", scan, "--model", bundle, "--forecast")
    assert code == 0
    # 18 voxels along each axis are two windows of 16
    assert re.fullmatch(r"8 windows, about \d+ s to read and segment, at most about \d+\.\d\d GB of memory\n", out)
    assert sorted(scan.parent.iterdir()) == before
    code, _, err = run("segment", scan, "--model", bundle)
    assert (code, "Name one with --output" in err) == (2, True)
    code, _, err = run("segment", scan.parent / "none.nii.gz", "--model", bundle, "--forecast")
    assert (code, "does not exist" in err) == (2, True)


def test_evaluate_compares_two_masks(run: Run, tmp_path: Path) -> None:
    grid = Geometry.from_spacing((8, 8, 8), (1.0, 1.0, 1.0))
    one, two = np.zeros((2, 8, 8, 8), np.uint8)
    one[2:6, 2:6, 2:6] = 1
    two[3:7, 2:6, 2:6] = 1
    for name, mask in (("one", one), ("two", two)):
        write_nifti(mask, grid, tmp_path / f"{name}.nii.gz")
    masks = (tmp_path / "one.nii.gz", tmp_path / "two.nii.gz")
    code, out, _ = run("evaluate", *masks, "--task", "hippocampus_mr", "--output", tmp_path / "scores.csv")
    assert code == 0
    assert "0.7500" in out  # 2 x 48 / 128
    assert "anterior_hippocampus,0.75," in (tmp_path / "scores.csv").read_text()


def damaged(scan: Path, how: str) -> Path:
    """The scan, spoilt in one way."""
    image = nib.load(scan)
    data, affine = np.asarray(image.dataobj), image.affine
    path = scan.parent / "damaged.nii.gz"
    if how == "missing":
        return path
    if how == "text":
        path.write_text("this is not an image")
    elif how == "truncated":
        path.write_bytes(scan.read_bytes()[:2000])
    elif how == "4-D":
        nib.save(nib.Nifti1Image(np.stack([data, data], axis=-1), affine), path)
    elif how in ("nan affine", "singular affine"):
        raw = bytearray(gzip.decompress(scan.read_bytes()))
        value = float("nan") if how == "nan affine" else 0.0
        raw[280:292] = struct.pack("<3f", value, value, value)  # srow_x
        raw[252:254] = struct.pack("<h", 0)  # no qform to fall back on
        path.write_bytes(gzip.compress(bytes(raw)))
    elif how in ("zero spacing", "negative spacing"):
        raw = bytearray(gzip.decompress(scan.read_bytes()))
        raw[80:84] = struct.pack("<f", 0.0 if how == "zero spacing" else -1.0)
        path.write_bytes(gzip.compress(bytes(raw)))
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "does not exist"),
        ("text", "damaged.nii.gz"),
        ("truncated", "damaged.nii.gz"),
        ("4-D", "4"),
        ("nan affine", "finite"),
        ("singular affine", "singular|affine"),
        ("zero spacing", "spacing"),
        ("negative spacing", "spacing"),
    ],
)
def test_a_bad_scan_is_one_sentence_and_writes_nothing(run: Run, scan: Path, bundle: Path, how: str, said: str) -> None:
    output = scan.parent / "out"
    code, out, err = run("segment", damaged(scan, how), "--model", bundle, "--output", output)
    assert code == 2
    assert out == ""
    assert re.search(said, err)
    assert "Traceback" not in err
    assert not output.exists()


def test_a_model_that_is_none_or_altered_or_of_another_task_is_refused(run: Run, scan: Path, bundle: Path) -> None:
    code, _, err = run("segment", scan, "--model", scan.parent / "none", "--output", scan.parent / "out")
    assert (code, "is not a model bundle" in err) == (2, True)
    (bundle / "spec.toml").write_text((bundle / "spec.toml").read_text().replace("overlap = 0.5", "overlap = 0.1"))
    code, _, err = run("segment", scan, "--model", bundle, "--output", scan.parent / "out")
    assert (code, "has been altered" in err) == (2, True)
    assert not (scan.parent / "out").exists()


def test_a_full_disk_is_a_sentence(run: Run, scan: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.core.atomic.os.fsync", full)
    code, _, err = run("segment", scan, "--model", bundle, "--output", scan.parent / "out")
    assert (code, "the disk is full" in err) == (2, True)
    assert sorted(path.name for path in scan.parent.iterdir()) == ["model", "scan.nii.gz"]


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; run the tests as another user to see this one"
)
def test_a_folder_that_may_not_be_written_is_a_sentence(run: Run, scan: Path, bundle: Path) -> None:
    locked = scan.parent / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, _, err = run("segment", scan, "--model", bundle, "--output", locked / "out")
    assert (code, "may not be written" in err) == (2, True)


def test_an_output_below_a_file_is_a_sentence(run: Run, scan: Path, bundle: Path) -> None:
    code, _, err = run("segment", scan, "--model", bundle, "--output", scan / "out")
    assert (code, "a file stands where its folder should be" in err) == (2, True)


def test_masks_with_strange_labels_or_on_another_grid_are_refused(run: Run, tmp_path: Path) -> None:
    grid = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    moved = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 1.5))
    write_nifti(np.full((4, 4, 4), 1, np.uint8), grid, tmp_path / "one.nii.gz")
    write_nifti(np.full((4, 4, 4), 9, np.uint8), grid, tmp_path / "nine.nii.gz")
    write_nifti(np.full((4, 4, 4), 1, np.uint8), moved, tmp_path / "moved.nii.gz")
    code, _, err = run("evaluate", tmp_path / "one.nii.gz", tmp_path / "nine.nii.gz", "--task", "hippocampus_mr")
    assert (code, "label 9, which the schema does not name" in err) == (2, True)
    code, _, err = run("evaluate", tmp_path / "one.nii.gz", tmp_path / "moved.nii.gz", "--task", "hippocampus_mr")
    assert (code, "1.500 mm apart" in err) == (2, True)
    code, _, err = run("evaluate", tmp_path / "one.nii.gz", tmp_path / "one.nii.gz", "--task", "hippocampos")
    assert (code, "there is no task 'hippocampos'" in err) == (2, True)


def test_data_check_names_each_problem_and_fails(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("data", "phantoms", tmp_path / "made", "--cases", 5, "--held-out", 0)
    assert code == 0
    code, out, _ = run("data", "check", tmp_path / "made")
    assert (code, "no problems in 5 cases" in out) == (0, True)
    images = sorted((tmp_path / "made/images").iterdir())
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes() + b"x")
    code, out, err = run("data", "check", tmp_path / "made")
    assert code == 2
    assert "3 problems" in err  # a file that is gone; one with another checksum and bytes after its end
    assert images[0].name in out
    assert "checksum" in out or "sha256" in out


def test_a_bug_is_code_1_with_a_traceback() -> None:
    program = (
        "import sys, medseg.cli, medseg.workflows.scans.data_sets as d\n"
        "def broken(*a): raise RuntimeError('a bug')\n"
        "d.open_data_set = broken\n"
        "sys.argv = ['medseg', 'data', 'check', '.']\n"
        "medseg.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr


def test_plan_tells_targets_and_a_plan_that_was_edited_wrongly_is_a_sentence(run: Run, tmp_path: Path) -> None:
    run("data", "phantoms", tmp_path / "made", "--cases", 5, "--held-out", 0)
    plan = tmp_path / "plan.toml"
    code, out, _ = run("plan", tmp_path / "made", "--output", plan, "--device", "cpu", "--no-forecast")
    assert code == 0
    assert re.search(r"vessel\W+(tube|blob)\W", out)
    assert re.search(r"organ\W+blob\W", out)
    assert "forecast" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "plan.toml"]
    plan.write_text(re.sub(r"batch_size = \d+", "batch_size = 5000", plan.read_text()))
    code, out, err = run("train", tmp_path / "made", "--output", tmp_path / "run", "--plan", plan, "--device", "cpu")
    assert (code, "5000 patches of" in err, "lower patch or batch_size" in err.lower()) == (2, True, True)
    assert not (tmp_path / "run").exists()  # the plan, once mended, may come to the same folder


def test_a_bundle_to_start_from_brings_its_network(run: Run, tmp_path: Path) -> None:
    code, out, error = run("train", tmp_path, "-o", tmp_path / "run", "--from", tmp_path, "--network", "fcn")
    assert (code, out) == (2, "")
    assert "--from brings the bundle's network; leave out --network" in error
