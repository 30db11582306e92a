"""A bias is kept for a gain that is large enough and certain enough; its network is what the spec says."""

from collections.abc import Sequence

import pytest

from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.cli.commands.cross_validate import told_of_bias
from medseg.models.bundle import ModelBundle, Provenance
from medseg.models.spec import ModelSpec
from medseg.workflows.training.choose_bias import Decoding, biased, choose_bias


def scored(dice: Sequence[float]) -> list[CaseScores]:
    other = {"nsd": 1.0, "hd95_mm": 0.0, "assd_mm": 0.0, "volume_difference_ml": 0.0, "volume_difference_percent": 0.0}
    return [
        CaseScores(f"c{n}", (LabelScores(label="x", dice=d, prediction_ml=1, reference_ml=1, **other),), 1.0)
        for n, d in enumerate(dice)
    ]


def decided(gains: Sequence[float], subjects: Sequence[str] | None = None) -> Decoding:
    before = [0.6 + 0.01 * n for n in range(len(gains))]
    names = [f"s{n}" for n in range(len(gains))] if subjects is None else subjects
    after = [dice + gain for dice, gain in zip(before, gains, strict=True)]
    return choose_bias(-0.5, (-0.5, -0.75), scored(before), scored(after), names)


def test_a_steady_gain_is_kept() -> None:
    decoding = decided([0.01, 0.02] * 10)
    assert decoding.is_kept
    assert decoding.difference == pytest.approx(0.015)
    assert (decoding.bias, decoding.fold_biases) == (-0.5, (-0.5, -0.75))
    told = told_of_bias(decoding)
    assert told.startswith("decoded with a foreground bias of -0.5, found on other folds, Dice changes by +0.0150")
    assert told.endswith("from 0.6950: kept")


@pytest.mark.parametrize("gains", [[0.0005] * 20, [0.2, -0.19] * 10, [-0.01] * 20])
def test_nothing_less_is(gains: list[float]) -> None:
    assert not decided(gains).is_kept
    assert told_of_bias(decided(gains)).endswith("left out")


def test_scans_of_one_patient_count_as_one() -> None:
    gains = [0.03] * 12 + [-0.004] * 8
    assert decided(gains).is_kept
    assert not decided(gains, ["p"] * 12 + [f"s{n}" for n in range(8)]).is_kept


def test_a_bias_is_added_to_what_the_spec_has(spec: ModelSpec, provenance: Provenance) -> None:
    bundle = ModelBundle("m", "0", spec, {}, provenance, None)
    assert biased(biased(bundle, 0.5), -0.75).spec.foreground_bias == -0.25
    assert bundle.spec.foreground_bias == 0
