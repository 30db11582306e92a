"""What is kept beside the mask is what the network said, and how far its answers agreed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.imaging.regions.islands import KeepLargest
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.inference.ensemble import Model, make_ensemble, members_of
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.inference.sliding_window import LOGIT_RANGE, mirrored_scores
from medseg.models.spec import ModelSpec
from medseg.models.weights import weights_of

CPU = torch.device("cpu")
GRID = Geometry.from_spacing((16, 16, 16), (1.0, 1.0, 1.0))


def scan(geometry: Geometry = GRID) -> Volume:
    return Volume(np.random.default_rng(3).normal(size=geometry.shape).astype(np.float32), geometry)


def model(spec: ModelSpec, provenance: Provenance, members: int, mirror_axes: tuple[int, ...]) -> Model:
    window = spec.window.model_copy(update={"mirror_axes": mirror_axes})
    spec = spec.model_copy(update={"window": window})
    bundles = {}
    for seed in range(members):
        torch.manual_seed(seed)
        weights = weights_of(spec.network.build(1, spec.class_count))
        bundles[f"m{seed}"] = ModelBundle(f"m{seed}", f"{seed}", spec, weights, provenance, None)
    return bundles["m0"] if members == 1 else make_ensemble("e", bundles)


def answers(of: Model) -> NDArray[np.float32]:
    """Every answer to the one window of the scan, (answer, class, i, j, k)."""
    patch = torch.from_numpy(of.spec.preparation.apply({"MR": scan()}).array)[None]
    segmenters = [NetworkSegmenter(member, CPU) for member in members_of(of)]
    with torch.inference_mode():
        found = [
            answer[0].numpy()
            for segmenter in segmenters
            for answer in mirrored_scores(segmenter._network, patch, of.spec.window)
        ]
    return np.stack(found)


@pytest.mark.parametrize(("members", "mirror_axes"), [(1, ()), (1, (0, 2)), (3, ()), (2, (1,))])
def test_probabilities_and_agreement_are_those_of_the_answers(
    spec: ModelSpec, provenance: Provenance, tmp_path: Path, members: int, mirror_axes: tuple[int, ...]
) -> None:
    of = model(spec, provenance, members, mirror_axes)
    names = tuple(label.name for label in spec.task.labels)
    segmenter = NetworkSegmenter(of, CPU)
    found = segmenter.segment({"MR": scan()}, keep=Keep(names, tmp_path))
    assert found.probabilities is not None
    expected = answers(of)
    mean = expected.mean(axis=0)
    for number, name in enumerate(names, start=1):
        kept = found.probabilities.of_label[name]
        assert kept.geometry == GRID
        # half a step of a byte, and what summing whole scores rounds
        assert np.abs(kept.within((slice(None),) * 3) - mean[number]).max() < 0.5 / 255 + 1e-3
    agreement = found.probabilities.agreement
    if len(expected) == 1:
        assert agreement is None
    else:
        assert agreement is not None
        votes = (expected.argmax(axis=1) == mean.argmax(axis=0)).mean(axis=0)
        apart = np.abs(agreement.within((slice(None),) * 3) - votes)
        assert (apart > 0.5 / 255 + 1e-3).mean() < 0.002  # ties to the last digit
        assert votes.min() < 1
    plain = segmenter.segment({"MR": scan()})
    assert plain.probabilities is None
    assert (plain.label_map.array != found.label_map.array).mean() < 1e-3
    assert not list(tmp_path.iterdir())


def test_kept_maps_lie_on_the_scans_own_grid_and_only_those_asked_for(
    spec: ModelSpec, provenance: Provenance, tmp_path: Path
) -> None:
    of = model(spec, provenance, 1, (0,))
    upright = scan(Geometry.from_spacing((30, 24, 20), (0.8, 1.1, 1.0)))
    name = spec.task.labels[1].name
    first = NetworkSegmenter(of, CPU).segment({"MR": upright}, keep=Keep((name,), tmp_path))
    second = NetworkSegmenter(of, CPU).segment({"MR": upright.reoriented("PIL")}, keep=Keep((name,), tmp_path))
    assert first.probabilities is not None
    assert second.probabilities is not None
    assert set(first.probabilities.of_label) == {name}
    straight, turned = first.probabilities.of_label[name], second.probabilities.of_label[name]
    turn = upright.geometry.reorientation_to("PIL")
    np.testing.assert_array_equal(turn.apply(straight.array), turned.array)
    # where the label is likelier than not the mask has it, and the other way round at least a third
    likely = straight.within((slice(None),) * 3)
    is_label = first.label_map.mask(spec.task.labels[1].index)
    assert is_label[likely > 0.51].all()
    assert likely[is_label].min() > 0.32


def test_a_refinement_is_in_the_kept_probabilities(spec: ModelSpec, provenance: Provenance, tmp_path: Path) -> None:
    refined = spec.model_copy(update={"refinement": (KeepLargest(classes=(1,)),)})
    of = model(refined, provenance, 1, (0,))
    name = spec.task.labels[0].name
    found = NetworkSegmenter(of, CPU).segment({"MR": scan()}, keep=Keep((name,), tmp_path))
    assert found.probabilities is not None
    assert found.probabilities.agreement is not None
    likely = found.probabilities.of_label[name].within((slice(None),) * 3)
    assert (likely[found.label_map.array != 1] <= 0.5 + 0.5 / 255).all()


@pytest.mark.parametrize("is_refined", [False, True])
def test_of_mean_logits_the_probabilities_are_kept(
    spec: ModelSpec, provenance: Provenance, tmp_path: Path, *, is_refined: bool
) -> None:
    window = spec.window.model_copy(update={"average": "logits"})
    refinement = (KeepLargest(classes=(1,)),) if is_refined else ()
    of = model(spec.model_copy(update={"window": window, "refinement": refinement}), provenance, 1, (0,))
    names = tuple(label.name for label in spec.task.labels)
    found = NetworkSegmenter(of, CPU).segment({"MR": scan()}, keep=Keep(names, tmp_path))
    assert found.probabilities is not None
    mean = torch.from_numpy(answers(of).mean(axis=0) * LOGIT_RANGE).softmax(dim=0).numpy()
    for number, name in enumerate(names, start=1):
        kept = found.probabilities.of_label[name].within((slice(None),) * 3)
        won = (found.label_map.array == number) & (mean.argmax(axis=0) == number)  # and no island taken away
        assert won.any()
        assert np.abs(kept - mean[number])[won].max() < 0.5 / 255 + 2e-3
    assert found.probabilities.agreement is not None
