"""Mirroring is kept for a gain that is large enough and certain enough, and for nothing less."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from medseg.analysis.evaluation.scores import CaseScores, LabelScores
from medseg.cli.commands.cross_validate import told_of_mirroring
from medseg.workflows.training.choose_mirroring import Mirroring, choose_mirroring


def scored(dice: Sequence[float]) -> list[CaseScores]:
    other = {"nsd": 1.0, "hd95_mm": 0.0, "assd_mm": 0.0, "volume_difference_ml": 0.0, "volume_difference_percent": 0.0}
    return [
        CaseScores(f"c{n}", (LabelScores(label="x", dice=d, prediction_ml=1, reference_ml=1, **other),), 1.0)
        for n, d in enumerate(dice)
    ]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folds; a case took 1 and 2 s in one, and twice and thrice as long mirrored; 3 and 6 s in the other."""
    for fold, seconds in enumerate([{"without": [1, 2], "mirrored": [2, 6]}, {"without": [3], "mirrored": [6]}]):
        (tmp_path / str(fold)).mkdir()
        (tmp_path / str(fold) / "mirroring_seconds.json").write_text(json.dumps(seconds))
    return [tmp_path / "0", tmp_path / "1"]


def decided(gains: Sequence[float], folders: list[Path], subjects: Sequence[str] | None = None) -> Mirroring:
    before = np.linspace(0.5, 0.9, len(gains)).tolist()
    names = [f"s{n}" for n in range(len(gains))] if subjects is None else subjects
    shuffled = scored([b + g for b, g in zip(before, gains, strict=True)])[::-1]  # matched by name, not by place
    return choose_mirroring((0,), scored(before), shuffled, names, folders)


def test_a_steady_gain_is_kept_and_its_cost_told(folders: list[Path]) -> None:
    mirroring = decided([0.01, 0.02] * 10, folders)
    assert mirroring.is_kept
    assert mirroring.difference == pytest.approx(0.015)
    assert (mirroring.dice_without, mirroring.dice_with) == pytest.approx((0.7, 0.715))
    assert (mirroring.seconds_without, mirroring.seconds_with) == pytest.approx((2.0, 14 / 3))
    assert told_of_mirroring(mirroring).endswith("from 0.7000, a case takes 4.67 instead of 2.00 s: kept")


@pytest.mark.parametrize(
    "gains",
    [
        [0.0005] * 20,  # certain, and not worth twice the time
        [0.2, -0.19] * 10,  # large in the mean, and not certain
        [-0.01] * 20,
        [0.0] * 20,
    ],
)
def test_nothing_less_is(gains: list[float], folders: list[Path]) -> None:
    mirroring = decided(gains, folders)
    assert not mirroring.is_kept
    assert told_of_mirroring(mirroring).endswith("left out")


def test_scans_of_one_patient_count_as_one(folders: list[Path]) -> None:
    gains = [0.03] * 12 + [-0.004] * 8
    assert decided(gains, folders).is_kept
    one_gains = ["p"] * 12 + [f"s{n}" for n in range(8)]
    assert not decided(gains, folders, one_gains).is_kept
