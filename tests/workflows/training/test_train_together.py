"""`torchrun --nproc-per-node 2 -m medseg.cli train`: the same model as one process, and one run folder."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from medseg.datasets.manifest import Manifest, write_manifest
from medseg.models.bundle import load_bundle
from medseg.training.planning.plan import Plan, write_plan
from medseg.workflows.training.train_model import train_model


def test_two_processes_of_torchrun_leave_the_run_folder_of_one(
    ball_data: Manifest, ball_plan: Plan, tmp_path: Path
) -> None:
    spec = ball_plan.training.model_copy(update={"epochs": 2, "steps_per_epoch": 3, "mixed_precision": False})
    plan = ball_plan.model_copy(update={"training": spec})
    write_manifest(ball_data, tmp_path / "data")
    write_plan(plan, tmp_path / "plan.toml")
    together, alone = tmp_path / "together", tmp_path / "alone"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "medseg.cli", "train", str(tmp_path / "data"), "--root", str(ball_data.data_folder)]
    command += ["--plan", str(tmp_path / "plan.toml"), "--output", str(together)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("trained and scored in") == 1

    trained = train_model(ball_data, 0, alone, plan=plan)
    shared = load_bundle(together / "model")
    for name, tensor in trained.bundle.weights.items():
        torch.testing.assert_close(shared.weights[name], tensor, rtol=0, atol=1e-4)
    assert shared.provenance.case_sha256 == trained.bundle.provenance.case_sha256
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    assert len(list((together / "tensorboard").iterdir())) == 1
    facts = [json.loads((folder / "environment.json").read_text()) for folder in (together, alone)]
    assert [fact["processes"] for fact in facts] == [2, 1]
