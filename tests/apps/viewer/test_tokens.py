"""Permits open one study for one right, for a while, and only when this server made them."""

from collections.abc import Callable

import pytest

from apps.viewer.access.tokens import Permit, RefusalError, Right, check, issue, new_key

KEY = new_key()
READ = Permit("study-a", "local", "read")
CORRECT = Permit("study-a", "local", "correct")


def test_a_permit_comes_back_as_it_was_issued() -> None:
    assert check(KEY, issue(KEY, READ), "study-a", "read") == READ


def test_a_renewed_permit_is_another_text_within_the_same_second() -> None:
    assert len({issue(KEY, READ) for _ in range(20)}) == 20


def test_the_right_to_correct_includes_reading() -> None:
    assert check(KEY, issue(KEY, CORRECT), "study-a", "read") == CORRECT


@pytest.mark.parametrize(
    ("made", "study", "right", "sentence"),
    [
        (lambda: "", "study-a", "read", "not made by this server"),
        (lambda: "forged", "study-a", "read", "not made by this server"),
        (lambda: issue(new_key(), READ), "study-a", "read", "not made by this server"),
        (lambda: issue(KEY, READ)[:-1], "study-a", "read", "not made by this server"),
        (lambda: issue(KEY, READ), "study-b", "read", "for another study"),
        (lambda: issue(KEY, READ), "study-a", "correct", "only the right to read"),
    ],
    ids=["none", "forged", "another server's", "cut short", "another study's", "another right's"],
)
def test_what_does_not_fit_is_refused(made: Callable[[], str], study: str, right: Right, sentence: str) -> None:
    with pytest.raises(RefusalError, match=sentence):
        check(KEY, made(), study, right)


def test_an_old_permit_is_refused() -> None:
    with pytest.raises(RefusalError, match="expired"):
        check(KEY, issue(KEY, READ), "study-a", "read", max_age_s=-1)
