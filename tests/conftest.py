"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import torch

from medseg.core.task import load_task
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.models.bundle import Provenance, Score, Scores
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.models.weights import weights_of

if TYPE_CHECKING:
    from orthanc import Orthanc

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans with expert labels; skips where it is not on this machine."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("MEDSEG_TEST_DATA", repository.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real scans are not at {folder}: set MEDSEG_TEST_DATA to the folder that holds them")
    return folder


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """An empty archive that runs; skips where Orthanc is not installed."""
    from orthanc import Orthanc

    with Orthanc(tmp_path / "orthanc") as archive:
        yield archive


@pytest.fixture
def spec() -> ModelSpec:
    """A U-Net for the hippocampus, small enough for a test."""
    return ModelSpec(
        task=load_task("hippocampus_mr"),
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), normalization=(ZScore(),)),
        network=UNet3DConfig(
            channels=(4, 8, 8), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=(16, 16, 16)),
    )


@pytest.fixture
def weights(spec: ModelSpec) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return weights_of(spec.network.build(1, spec.class_count))


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        created=datetime(2026, 1, 2, tzinfo=UTC),
        medseg_version="0.1.0",
        torch_version="2",
        machine="a test",
        dataset="made",
        plan_toml="",
        seed=0,
        epochs=1,
        training_s=1.0,
        case_sha256={"a": "0" * 64},
    )


@pytest.fixture
def scores() -> Scores:
    score = Score(metric="dice", label="mean", unit="1", mean=0.5, interval=(0.4, 0.6), cases=3)
    return Scores(dataset="made", split="fold 0", scores=(score,))
