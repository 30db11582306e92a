"""Fixtures of the retraining."""

from pathlib import Path

import pytest
from made_site import Site

from medseg.core.geometry import Geometry
from medseg.datasets.manifest import Manifest
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture
def site(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ball_data: Manifest, trained: TrainedModel, upright: Geometry
) -> Site:
    monkeypatch.setattr("secrets.token_hex", lambda count: "salt")  # who is for training is then no chance
    registry = Registry(tmp_path / "models")
    registry.add(trained.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return Site(tmp_path, ball_data, trained, registry, upright)
