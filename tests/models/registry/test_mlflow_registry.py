"""A version goes into an MLflow registry and comes back the same; a SQLite store stands for any server."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from medseg.core.errors import InputError, StoreError
from medseg.models.bundle import Provenance, save_bundle
from medseg.models.mlflow_client import PACKAGES, open_client
from medseg.models.registry.mlflow_registry import pull_version, push_version
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.models.spec import ModelSpec

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in PACKAGES), reason="needs MLflow: pip install 'medseg[mlflow]'"
)


@pytest.fixture
def registry(tmp_path: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance) -> Registry:
    registry = Registry(tmp_path / "models")
    for number in range(2):
        other = {name: torch.roll(tensor, number) for name, tensor in weights.items()}
        save_bundle(tmp_path / f"model{number}", spec, other, provenance, None)
        registry.add(tmp_path / f"model{number}")
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return registry


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_there_and_back(registry: Registry, spec: ModelSpec, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(InputError, match="has no version at all of nothing; it has none"):
        pull_version(registry, uri, "nothing")
    assert push_version(registry, CHAMPION, uri) == (spec.task.name, "1")
    assert push_version(registry, "2", uri) == (spec.task.name, "2")
    assert push_version(registry, "1", uri) == (spec.task.name, "1")
    other = Registry(tmp_path / "other")
    newest = pull_version(other, uri, spec.task.name)
    assert newest.sha256 == registry.version("2").sha256
    assert pull_version(other, uri, spec.task.name, "1").sha256 == registry.version("1").sha256
    assert other.aliases() == {}
    with pytest.raises(InputError, match=r"has no version 7 of .*; its versions are 1, 2"):
        pull_version(other, uri, spec.task.name, "7")
    for weights in (tmp_path / "mlflow_artifacts").rglob("weights.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError):
        pull_version(Registry(tmp_path / "third"), uri, spec.task.name)
    client = open_client(uri, "a test", "")
    client.create_registered_model("theirs")
    run = client.create_run("0")
    client.create_model_version("theirs", run.info.artifact_uri, run.info.run_id)
    with pytest.raises(InputError, match="is not a model of medseg"):
        pull_version(other, uri, "theirs")
