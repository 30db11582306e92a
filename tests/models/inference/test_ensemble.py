"""Several models as one: the mean of what each says, kept in one folder that comes back as it was saved."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.core.errors import StoreError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.imaging.regions.islands import KeepLargest
from medseg.models.bundle import ModelBundle, Provenance, Scores, load_bundle, save_bundle
from medseg.models.inference.ensemble import MeanNetwork, load_ensemble, make_ensemble, save_ensemble
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.inference.sliding_window import sweep
from medseg.models.spec import ModelSpec, SlidingWindow, from_toml, to_toml
from medseg.models.store import find_model, load_model

CPU = torch.device("cpu")
MakeBundle = Callable[[Sequence[float]], ModelBundle]


class Saying(nn.Module):
    """The same probabilities at every voxel, whatever the image."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        super().__init__()
        self._logits = torch.tensor(probabilities).log()

    def forward(self, images: Tensor) -> list[Tensor]:
        shape = (len(images), len(self._logits), *images.shape[2:])
        return [self._logits.view(1, -1, 1, 1, 1).expand(shape), torch.full(shape, torch.nan)]


@pytest.fixture
def bundle_saying(spec: ModelSpec, weights: dict[str, Tensor], provenance: Provenance) -> MakeBundle:
    """A bundle whose network says these probabilities of background and two labels at every voxel."""

    def make(probabilities: Sequence[float]) -> ModelBundle:
        silent = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        (head,) = [name for name, tensor in weights.items() if name.endswith("bias") and tensor.shape == (3,)][:1]
        silent[head] = torch.tensor(probabilities).log()
        return ModelBundle("said", f"{probabilities}", spec, silent, provenance, None)

    return make


@pytest.fixture
def scan() -> dict[str, Volume]:
    geometry = Geometry.from_spacing((20, 18, 17), (1.0, 1.0, 1.0))
    return {"MR": Volume(np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32), geometry)}


@pytest.mark.parametrize("mirror_axes", [(), (0, 2)])
def test_the_mean_of_two_known_answers(mirror_axes: tuple[int, ...]) -> None:
    network = MeanNetwork([Saying([0.9, 0.1, 0.0]), Saying([0.3, 0.2, 0.5])])
    window = SlidingWindow(patch=(8, 8, 8), mirror_axes=mirror_axes)
    scores = sweep(network, np.zeros((1, 12, 8, 9), np.float32), window, class_count=3, device=CPU)
    (answer,) = network(torch.zeros(1, 1, 2, 2, 2))
    torch.testing.assert_close(answer.exp()[0, :, 0, 0, 0], torch.tensor([0.6, 0.15, 0.25]))
    # the mean of logarithms would give 0.79, 0.21 and 0
    for said, expected in zip(scores, (0.6, 0.15, 0.25), strict=True):
        np.testing.assert_allclose(said, expected, atol=1e-5)


def test_members_outvote_and_a_sure_one_outweighs(bundle_saying: MakeBundle, scan: dict[str, Volume]) -> None:
    unsure, sure = [0.6, 0.4, 1e-6], [1e-6, 1e-6, 1.0]
    members = {"a": bundle_saying(unsure), "b": bundle_saying([0.59, 0.41, 1e-6]), "c": bundle_saying(sure)}

    def label_of(*names: str) -> int:
        ensemble = make_ensemble("e", {name: members[name] for name in names})
        (label,) = np.unique(NetworkSegmenter(ensemble, CPU).segment(scan).label_map.array)
        return int(label)

    assert [label_of("a"), label_of("c")] == [0, 2]
    assert label_of("a", "c") == 2  # 0.3, 0.2 and 0.5
    assert label_of("a", "b", "c") == 0  # 0.4, 0.27 and 0.33


def test_a_bias_moves_the_border_between_label_and_background_and_each_member_has_its_own(
    bundle_saying: MakeBundle, scan: dict[str, Volume]
) -> None:
    def label_of(*biases: float) -> int:
        members = {}
        for number, bias in enumerate(biases):
            bundle = bundle_saying([0.6, 0.3, 0.1])
            spec = from_toml(ModelSpec, to_toml(bundle.spec.model_copy(update={"foreground_bias": bias})), "a test")
            members[f"m{number}"] = replace(bundle, sha256=str(number), spec=spec)
        (label,) = np.unique(NetworkSegmenter(make_ensemble("e", members), CPU).segment(scan).label_map.array)
        return int(label)

    # label 1 wins above log(0.6 / 0.3) = 0.693, and never becomes label 2
    assert [label_of(bias) for bias in (0.0, 0.65, 0.75, 10.0, -10.0)] == [0, 0, 1, 1, 0]
    assert label_of(0.0, 0.75) == 0  # background 0.6 and 0.415, label 1 0.3 and 0.439
    assert label_of(0.0, 3.0) == 1  # background 0.6 and 0.07, label 1 0.3 and 0.70


def test_the_order_of_members_does_not_matter(
    spec: ModelSpec, provenance: Provenance, scan: dict[str, Volume], tmp_path: Path
) -> None:
    members = {}
    for seed, name in enumerate("abc"):
        torch.manual_seed(seed)
        network = spec.network.build(1, 3)
        members[name] = ModelBundle(name, name, spec, dict(network.named_parameters()), provenance, None)
    forwards = save_ensemble(tmp_path / "forwards", members)
    backwards = save_ensemble(tmp_path / "backwards", dict(reversed(members.items())))
    assert forwards.sha256 == backwards.sha256
    in_memory = make_ensemble("e", dict(reversed(members.items())))
    assert [member.name for member in in_memory.members] == ["a", "b", "c"]
    there, back = (NetworkSegmenter(ensemble, CPU).segment(scan).label_map.array for ensemble in (forwards, backwards))
    np.testing.assert_array_equal(there, back)
    assert len(np.unique(there)) > 1


@pytest.fixture
def folder(tmp_path: Path, bundle_saying: MakeBundle, scores: Scores) -> Path:
    members = {f"fold_{n}": bundle_saying([0.5, 0.5 - 0.1 * n, 0.1 * n + 1e-6]) for n in range(3)}
    save_ensemble(tmp_path / "model", members, scores)
    return tmp_path / "model"


def test_round_trip(folder: Path, scores: Scores, bundle_saying: MakeBundle) -> None:
    loaded = load_ensemble(folder)
    assert (loaded.name, loaded.scores, len(loaded.members)) == ("model", scores, 3)
    assert [member.sha256 for member in loaded.members] == [load_bundle(folder / f"fold_{n}").sha256 for n in range(3)]
    assert find_model(folder) == folder
    model = load_model(folder)
    assert model.sha256 == loaded.sha256
    assert model.spec == loaded.spec
    again = {path.name: load_bundle(path) for path in folder.iterdir() if path.is_dir()}
    assert save_ensemble(folder.parent / "again", again, scores).sha256 == loaded.sha256
    assert save_ensemble(folder.parent / "bare", again).sha256 != loaded.sha256
    assert save_ensemble(folder.parent / "few", {"fold_0": again["fold_0"]}, scores).sha256 != loaded.sha256


def test_an_altered_or_missing_member_is_refused(folder: Path, tmp_path: Path, bundle_saying: MakeBundle) -> None:
    weights = folder / "fold_1" / "weights.safetensors"
    whole, data = weights.read_bytes(), bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.raises(StoreError, match=r"altered: weights\.safetensors"):
        load_ensemble(folder)
    weights.write_bytes(whole)
    load_ensemble(folder)

    other = bundle_saying([0.2, 0.2, 0.6])  # a sound bundle, but not the one that was saved
    save_bundle(folder / "fold_1", other.spec, other.weights, other.provenance, None)
    with pytest.raises(StoreError, match="altered: its member fold_1 is the model"):
        load_ensemble(folder)
    shutil.rmtree(folder / "fold_1")
    with pytest.raises(StoreError, match="lacks its member fold_1"):
        load_model(folder)
    (folder / "fold_1").symlink_to(folder / "fold_0")
    with pytest.raises(StoreError, match="lacks its member fold_1"):
        load_ensemble(folder)


def test_altered_scores_are_refused(folder: Path) -> None:
    text = (folder / "scores.json").read_text()
    (folder / "scores.json").write_text(text.replace("0.5", "0.9"))
    with pytest.raises(StoreError, match=r"altered: scores\.json"):
        load_ensemble(folder)
    (folder / "scores.json").unlink()
    with pytest.raises(StoreError, match=r"lacks its file scores\.json"):
        load_ensemble(folder)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("not json", "not an ensemble this medseg knows"),
        ({"format": 2, "members": {"fold_0": "0"}}, "format"),
        ({"format": 1, "members": {}}, "members"),
        ({"format": 1, "members": {"../fold_0": "0"}}, "members"),
        ({"format": 1, "members": {"fold_0": "0"}, "more": 1}, "more"),
    ],
)
def test_a_strange_listing_is_refused(folder: Path, listing: object, message: str) -> None:
    (folder / "ensemble.json").write_text(listing if isinstance(listing, str) else json.dumps(listing))
    with pytest.raises(StoreError, match=message):
        load_ensemble(folder)


def test_members_that_do_not_belong_together_are_refused_by_the_field(bundle_saying: MakeBundle) -> None:
    first, second = bundle_saying([0.5, 0.4, 0.1]), bundle_saying([0.4, 0.5, 0.1])
    spec = second.spec

    def refusal(**changed: object) -> str:
        with pytest.raises(StoreError) as caught:
            make_ensemble("e", {"a": first, "b": replace(second, spec=spec.model_copy(update=changed))})
        return str(caught.value)

    coarse = spec.preparation.model_copy(update={"spacing_mm": (2.0, 1.0, 1.0)})
    assert "the models a and b cannot answer together: their window differs in overlap (0.5 and 0.25)" in refusal(
        window=spec.window.model_copy(update={"overlap": 0.25})
    )
    assert "their preparation differs in spacing_mm ([1.0, 1.0, 1.0] and [2.0, 1.0, 1.0])" in refusal(
        preparation=coarse
    )
    assert "their refinement differs. Take" in refusal(refinement=(KeepLargest(),))
    assert "their task differs in title" in refusal(task=spec.task.model_copy(update={"title": "another"}))
    with pytest.raises(StoreError, match="a and b are the same model"):
        make_ensemble("e", {"a": first, "b": first})
    with pytest.raises(StoreError, match="a model bundle or more"):
        make_ensemble("e", {})


def test_an_ensemble_that_cannot_be_saved_leaves_the_old_one(folder: Path, bundle_saying: MakeBundle) -> None:
    before = load_ensemble(folder).sha256
    broken = replace(bundle_saying([0.2, 0.2, 0.6]), weights={"x": None})  # type: ignore[dict-item]
    with pytest.raises(AttributeError):
        save_ensemble(folder, {"a": bundle_saying([0.1, 0.2, 0.7]), "b": broken})
    assert load_ensemble(folder).sha256 == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
