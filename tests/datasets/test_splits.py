from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import InputError
from medseg.core.study import Case
from medseg.datasets.splits import assign_folds, require_apart, require_whole_subjects

SUBJECTS = {f"case{n}": f"subject{n}" for n in range(10)}


def case(name: str, subject: str) -> Case:
    return Case(name, subject, {})


def test_folds_are_the_same_on_every_machine_and_in_every_year() -> None:
    # Written down once: a change of this table changes every split that was ever published with it.
    folds = assign_folds(SUBJECTS, 3, seed=2026)
    assert [folds[f"case{n}"] for n in range(10)] == [0, 1, 2, 1, 2, 1, 2, 0, 0, 0]


def test_another_seed_gives_other_folds() -> None:
    assert assign_folds(SUBJECTS, 3, seed=1) != assign_folds(SUBJECTS, 3, seed=2)


def test_the_order_of_the_cases_does_not_matter() -> None:
    assert assign_folds(dict(reversed(SUBJECTS.items())), 3, seed=7) == assign_folds(SUBJECTS, 3, seed=7)


@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(2, 5), st.integers(0, 99))
def test_no_subject_stands_in_two_folds_and_every_fold_has_cases(owners: list[int], folds: int, seed: int) -> None:
    subject_of = {f"case{n}": f"subject{owner}" for n, owner in enumerate(owners)}
    if len(set(owners)) < folds:
        return
    fold_of = assign_folds(subject_of, folds, seed)
    for subject in set(subject_of.values()):
        assert len({fold_of[name] for name, owner in subject_of.items() if owner == subject}) == 1
    assert set(fold_of.values()) == set(range(folds))


@given(st.integers(5, 200), st.integers(2, 5))
def test_folds_of_single_cases_differ_by_one_at_most(cases: int, folds: int) -> None:
    sizes = Counter(assign_folds({str(n): str(n) for n in range(cases)}, folds, 0).values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_pairs_and_single_cases_together_make_even_folds() -> None:
    subject_of = {f"a{n}": f"pair{n // 2}" for n in range(8)} | {f"b{n}": f"single{n}" for n in range(8)}
    assert set(Counter(assign_folds(subject_of, 4, 0).values()).values()) == {4}


def test_one_subject_with_many_cases_fills_a_fold_alone() -> None:
    subject_of = {f"a{n}": "Ann" for n in range(5)} | {f"b{n}": f"single{n}" for n in range(10)}
    assert set(Counter(assign_folds(subject_of, 3, 0).values()).values()) == {5}


def test_fewer_subjects_than_folds_are_refused() -> None:
    cases = {f"case{n}": "one subject" if n < 9 else "another" for n in range(10)}
    with pytest.raises(InputError, match=r"2 subjects cannot be divided into 5 folds.*at most 2 folds"):
        assign_folds(cases, 5, 0)


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_a_split_has_two_folds_or_more(folds: int) -> None:
    with pytest.raises(InputError, match="two folds or more"):
        assign_folds(SUBJECTS, folds, 0)


def test_one_subject_on_both_sides_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="the split divides subject Ann: the same subject is trained on and tested on"):
        require_apart([case("a", "Ann"), case("b", "Bob")], [case("c", "Ann")])


def test_many_subjects_on_both_sides_are_counted() -> None:
    both = [case(str(n), f"s{n}") for n in range(7)]
    with pytest.raises(InputError, match="subjects s0, s1, s2, s3, s4 and 2 more"):
        require_apart(both, both)


def test_different_subjects_may_stand_apart() -> None:
    require_apart([case("a", "Ann")], [case("b", "Bob")])


def test_the_test_is_a_side_of_its_own() -> None:
    with pytest.raises(InputError, match="subject Ann between folds"):
        require_whole_subjects({"a": 0, "b": None}, {"a": "Ann", "b": "Ann"}, "cases.csv")
    require_whole_subjects({"a": 0, "b": 0, "c": None}, {"a": "Ann", "b": "Ann", "c": "Cid"}, "cases.csv")
