"""A challenger in shadow: how it differs is noted, and nothing that was delivered changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti
from medseg.jobs.queue import Limits
from medseg.models.bundle import ModelBundle, Provenance, save_bundle
from medseg.models.spec import ModelSpec
from medseg.review.promotion.shadow import summarise_shadow
from medseg.workflows.segmenting.process_batch import BatchOptions, process_batch
from medseg.workflows.segmenting.segment_study import segment_study
from medseg.workflows.segmenting.shadow import compare, run_shadow, shadow_results

GRID = Geometry.from_spacing((16, 14, 12), (1.0, 1.0, 1.0))
OPTIONS = BatchOptions(limits=Limits(pause_s=0.01))


@pytest.fixture
def models(
    tmp_path: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance
) -> tuple[ModelBundle, ModelBundle]:
    other = {name: torch.roll(tensor, 1) for name, tensor in weights.items()}
    champion = save_bundle(tmp_path / "champion", spec, weights, provenance, None)
    return champion, save_bundle(tmp_path / "challenger", spec, other, provenance, None)


def write_scan(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(np.random.default_rng(seed).normal(size=GRID.shape).astype(np.float32), GRID, path)
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_shadow_leaves_what_was_delivered_as_it_is(tmp_path: Path, models: tuple[ModelBundle, ModelBundle]) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    for number in (1, 2):
        write_scan(source / f"scan{number}.nii.gz", number)
    process_batch(source, tmp_path / "champion", output, OPTIONS)
    delivered = files_in(output / "results")
    write_scan(source / "scan2.nii.gz", 3)  # not what was delivered any more: the challenger has nothing to say of it
    found = {one.study: one for one in run_shadow(output, tmp_path / "challenger", OPTIONS)}
    assert files_in(output / "results") == delivered
    assert set(found) == {"scan1", "scan2"}
    assert "changed since it was delivered" in str(found["scan2"].failure)
    assert (found["scan1"].champion_sha256, found["scan1"].challenger_sha256) == tuple(one.sha256 for one in models)
    summary = summarise_shadow(shadow_results([output]))
    assert summary is not None
    assert (summary.studies, summary.failures) == (2, 1)
    assert shadow_results([output], champion_sha256="another") == ()


def test_two_results_are_compared_label_by_label(tmp_path: Path, models: tuple[ModelBundle, ModelBundle]) -> None:
    scan = write_scan(tmp_path / "scan.nii.gz", 1)
    for model, name in zip((*models, models[0]), ("one", "other", "same"), strict=True):
        segment_study({"image": scan}, model, tmp_path / name)
    same = compare("scan", tmp_path / "one", tmp_path / "same")
    assert same.mean_dice == 1.0
    assert all(first == second for first, second in same.volume_ml.values())
    apart = compare("scan", tmp_path / "one", tmp_path / "other")
    assert apart.mean_dice is not None
    assert apart.mean_dice < 1.0


def test_a_shadow_takes_a_batch_and_a_model_of_its_task(
    tmp_path: Path, models: tuple[ModelBundle, ModelBundle]
) -> None:
    with pytest.raises(InputError, match="holds no batch"):
        run_shadow(tmp_path, tmp_path / "challenger", OPTIONS)
