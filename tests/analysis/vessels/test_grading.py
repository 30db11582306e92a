"""Grades at the edges of their published ranges."""

import pytest

from medseg.analysis.vessels.findings.grading import (
    CadRads,
    Nascet,
    area_percent,
    cad_rads,
    nascet,
    nascet_percent,
    study_cad_rads,
)


@pytest.mark.parametrize(
    ("percent", "category"),
    [(0, "0"), (1, "1"), (24, "1"), (25, "2"), (49, "2"), (50, "3"), (69, "3"), (70, "4A"), (99, "4A"), (100, "5")],
)
def test_cad_rads_of_one_stenosis(percent: float, category: CadRads) -> None:
    assert cad_rads(percent) == category


def test_fractions_are_rounded_as_they_are_printed() -> None:
    assert cad_rads(69.6) == "4A"
    assert cad_rads(69.4) == "3"


def test_an_occlusion_is_five_whatever_was_fitted() -> None:
    assert cad_rads(93, is_occluded=True) == "5"


def test_the_worst_lesion_decides_the_study() -> None:
    assert study_cad_rads([]) == "0"
    assert study_cad_rads(["2", "4A", "1"]) == "4A"
    assert study_cad_rads(["N", "N"]) == "N"
    assert study_cad_rads(["N", "2"]) == "2"
    assert study_cad_rads(["2"], left_main_percent=49) == "2"
    assert study_cad_rads(["3"], left_main_percent=50) == "4B"
    assert study_cad_rads(["4A"], left_main_percent=80) == "4B"
    assert study_cad_rads(["4A"] * 2, severe_vessels=2) == "4A"
    assert study_cad_rads(["4A"] * 4, severe_vessels=4) == "4B"
    assert study_cad_rads(["4A"] * 3, severe_vessels=3) == "4B"
    assert study_cad_rads(["5", "4A"], severe_vessels=3) == "5"


@pytest.mark.parametrize(
    ("percent", "name"),
    [
        (0, "none"),
        (1, "mild"),
        (49, "mild"),
        (50, "moderate"),
        (69, "moderate"),
        (70, "severe"),
        (99, "severe"),
        (100, "occlusion"),
    ],
)
def test_nascet_classes(percent: float, name: Nascet) -> None:
    assert nascet(percent) == name


def test_percentages() -> None:
    assert nascet_percent(1.5, 5.0) == pytest.approx(70)
    assert nascet_percent(6.0, 5.0) == 0
    assert area_percent(0) == 0
    assert area_percent(20) == pytest.approx(36)
    assert area_percent(50) == 75
