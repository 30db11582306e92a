"""RECIST 1.1: its published tables, and its thresholds from both sides."""

import pytest

from medseg.analysis.quantification.response import (
    Target,
    choose_targets,
    is_measurable,
    overall_response,
    target_response,
)
from medseg.core.course import NonTargetResponse, OverallResponse, TargetResponse
from medseg.core.errors import InputError


def targets(*diameters_mm: tuple[float | None, ...]) -> list[Target]:
    return [Target(f"t{n}", "liver", values) for n, values in enumerate(diameters_mm)]


@pytest.mark.parametrize(
    ("sums_mm", "category", "rule"),
    [
        ((100, 70), "PR", "at least 30 %"),
        ((100, 70.1), "SD", "neither"),
        ((100, 119), "SD", "less than 20 %"),
        ((100, 120), "PD", "20.0 mm from its smallest of 100.0"),
        ((100, 0), "CR", "gone"),
        ((100, 50, 60), "PD", "10.0 mm from its smallest of 50.0"),  # 40 % below the baseline, yet progression
        ((100, 50, 59), "PR", "41 %"),
        ((100, 60, 50, 100), "PD", "50.0"),
        ((100, 20, 24), "PR", "76 %"),  # 20 % above the nadir, but 4 mm only
        ((100, 20, 25), "PD", "5.0 mm"),
        ((20, 24), "SD", "less than 5 mm"),
        ((20, 25), "PD", "at least 5 mm"),
        ((30, 0, 4), "PD", "back after a complete response: t0"),
        ((30, 0, 5), "PD", "smallest of 0.0"),
        ((100, 80, 90, 96), "PD", "16.0 mm from its smallest of 80.0"),  # creeping growth counts from the nadir
        ((49.9, 51.2, 35.0), "SD", "neither"),
    ],
)
def test_one_target_over_time(sums_mm: tuple[float, ...], category: TargetResponse, rule: str) -> None:
    response = target_response(targets(sums_mm), len(sums_mm) - 1)
    assert response.category == category
    assert rule in response.rule
    assert response.baseline_mm == sums_mm[0]
    assert response.nadir_mm == min(sums_mm[:-1])


def test_one_lesion_that_comes_back_while_others_stayed_counts_in_the_sum() -> None:
    response = target_response(targets((30, 0, 4), (40, 20, 20)), 2)
    assert (response.category, response.sum_mm, response.nadir_mm) == ("PR", 24, 20)


def test_sums_run_over_all_targets() -> None:
    # 40 + 30 + 20 = 90 at the baseline; 30 + 20 + 13 = 63 is 30 % less.
    response = target_response(targets((40, 30), (30, 20), (20, 13)), 1)
    assert (response.category, response.sum_mm) == ("PR", 63)
    assert response.from_baseline_percent == pytest.approx(-30)


def test_nodes_are_gone_below_ten_millimetres_though_the_sum_is_not_nothing() -> None:
    node = Target("node", "lymph nodes", (22, 9.9), is_node=True)
    assert target_response([*targets((30, 0)), node], 1).category == "CR"
    swollen = Target("node", "lymph nodes", (22, 10), is_node=True)
    assert target_response([*targets((30, 0)), swollen], 1).category == "PR"


def test_what_was_not_evaluated() -> None:
    response = target_response(targets((30, 10), (20, None)), 1)
    assert (response.category, response.sum_mm, response.from_baseline_percent) == ("NE", None, None)
    assert "t1" in response.rule
    # What could be measured has grown enough by itself.
    assert target_response(targets((30, 60), (20, None)), 1).category == "PD"
    # A sum with a gap is no nadir.
    assert target_response(targets((30, 10, 30), (20, None, 20)), 2).nadir_mm == 50


@pytest.mark.parametrize(
    ("target", "non_target", "new", "expected"),
    [
        # Table 1: patients with target disease.
        ("CR", "CR", False, "CR"),
        ("CR", None, False, "CR"),
        ("CR", "non-CR/non-PD", False, "PR"),
        ("CR", "NE", False, "PR"),
        ("PR", "non-CR/non-PD", False, "PR"),
        ("PR", "NE", False, "PR"),
        ("SD", "non-CR/non-PD", False, "SD"),
        ("SD", "NE", False, "SD"),
        ("NE", "non-CR/non-PD", False, "NE"),
        ("PD", "CR", False, "PD"),
        ("CR", "PD", False, "PD"),
        ("CR", "CR", True, "PD"),
        # Table 2: patients with non-target disease only.
        (None, "CR", False, "CR"),
        (None, "non-CR/non-PD", False, "non-CR/non-PD"),
        (None, "NE", False, "NE"),
        (None, "PD", False, "PD"),
        (None, "CR", True, "PD"),
    ],
)
def test_the_published_tables_of_overall_response(
    target: TargetResponse | None, non_target: NonTargetResponse | None, new: bool, expected: OverallResponse
) -> None:
    category, rule = overall_response(target, non_target, has_new_lesions=new)
    assert category == expected
    assert rule


def test_targets_are_the_largest_measurable_two_an_organ_and_five_in_all() -> None:
    lesions = [
        Target(f"{organ}{n}", organ, (size,))
        for organ in ("liver", "lung", "bone")
        for n, size in enumerate((40, 12, 11))
    ]
    lesions += [Target("small", "skin", (9.9,)), Target("node", "nodes", (14,), is_node=True)]
    assert [target.name for target in choose_targets(lesions)] == ["liver0", "lung0", "bone0", "liver1", "lung1"]
    assert choose_targets([Target("skin", "skin", (9.9,))]) == ()
    assert is_measurable(15, is_node=True)
    assert not is_measurable(11, slice_mm=7)
    assert is_measurable(14, slice_mm=7)


def test_what_has_no_response_is_refused() -> None:
    with pytest.raises(InputError, match="at least one target"):
        target_response([], 1)
    with pytest.raises(InputError, match="no time point 2"):
        target_response(targets((10, 10)), 2)
    with pytest.raises(InputError, match="above 0 mm at the baseline"):
        target_response(targets((0, 10)), 1)
    with pytest.raises(InputError, match="at the baseline"):
        overall_response(None, None, has_new_lesions=False)
