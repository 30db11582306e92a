"""A bundle comes back as it was saved, or says what was done to it."""

import json
from pathlib import Path

import pytest
import torch

from medseg.core.errors import PlanError, StoreError
from medseg.models.bundle import Provenance, Scores, load_bundle, save_bundle
from medseg.models.spec import ModelSpec, from_toml, to_toml


@pytest.fixture
def folder(
    tmp_path: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance, scores: Scores
) -> Path:
    save_bundle(tmp_path / "model", spec, weights, provenance, scores)
    return tmp_path / "model"


def test_round_trip(
    folder: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance, scores: Scores
) -> None:
    loaded = load_bundle(folder)
    assert (loaded.name, loaded.spec, loaded.provenance, loaded.scores) == ("model", spec, provenance, scores)
    assert loaded.weights.keys() == weights.keys()
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in weights.items())


def test_the_same_content_has_the_same_identity_and_other_content_another(
    folder: Path, spec: ModelSpec, weights: dict[str, torch.Tensor], provenance: Provenance, scores: Scores
) -> None:
    first = load_bundle(folder).sha256
    assert save_bundle(folder.parent / "twin", spec, weights, provenance, scores).sha256 == first
    assert save_bundle(folder.parent / "bare", spec, weights, provenance, None).sha256 != first
    changed = {name: tensor + 1e-3 for name, tensor in weights.items()}
    assert save_bundle(folder, spec, changed, provenance, scores).sha256 != first


@pytest.mark.parametrize("name", ["weights.safetensors", "spec.toml", "provenance.json", "scores.json"])
def test_one_altered_byte_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(StoreError, match=f"altered: {name}"):
        load_bundle(folder)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a model bundle: it has no bundle\.json"):
        load_bundle(tmp_path / "nowhere")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(StoreError, match=r"lacks its file weights\.safetensors"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("not json", "not a bundle listing"),
        ('{"format": 2, "name": "x", "sha256": {}}', "format"),
        ('{"format": 1, "name": "x", "sha256": {"../evil": "0"}}', "unknown file"),
        ('{"format": 1, "name": "x", "sha256": {}}', r"does not list its file spec\.toml"),
    ],
)
def test_a_strange_listing_is_refused(folder: Path, listing: str, message: str) -> None:
    (folder / "bundle.json").write_text(listing)
    with pytest.raises(StoreError, match=message):
        load_bundle(folder)


def test_a_link_out_of_the_bundle_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "weights.safetensors").rename(tmp_path / "elsewhere")
    (folder / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="lacks its file"):
        load_bundle(folder)


def test_saving_keeps_the_old_bundle_when_the_new_one_cannot_be_written(
    folder: Path, spec: ModelSpec, provenance: Provenance, scores: Scores
) -> None:
    before = load_bundle(folder).sha256
    with pytest.raises(AttributeError):
        save_bundle(folder, spec, {"x": None}, provenance, scores)  # type: ignore[dict-item]
    assert load_bundle(folder).sha256 == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_bundle_holds_no_pickle(folder: Path) -> None:
    assert json.loads((folder / "bundle.json").read_text())["format"] == 1
    for path in folder.iterdir():
        assert b"\x80\x02" not in path.read_bytes()[:2]
        assert path.suffix in {".json", ".toml", ".safetensors"}


def test_spec_round_trips_through_toml_and_typos_are_named(spec: ModelSpec) -> None:
    text = to_toml(spec)
    assert from_toml(ModelSpec, text, "spec") == spec
    with pytest.raises(PlanError, match=r"my\.toml is not valid: network\.unet3d\.channels: Field required"):
        from_toml(ModelSpec, text.replace("channels = [\n    4", "chanels = [\n    4"), "my.toml")
    with pytest.raises(PlanError, match="is not TOML"):
        from_toml(ModelSpec, "= 3", "my.toml")


def test_a_patch_that_cannot_pass_the_network_is_refused_with_one_that_can(spec: ModelSpec) -> None:
    text = to_toml(spec).replace("patch = [\n    16,", "patch = [\n    17,")
    with pytest.raises(PlanError, match=r"divides by \(4, 4, 4\); the nearest patch that can is \(16, 16, 16\)"):
        from_toml(ModelSpec, text, "spec")
