"""The likeliest failure is read first, and a share at random."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.review.worklist import Candidate, failure_scores, reading_order

FIVE = [Candidate(name, doubt) for name, doubt in zip("abcde", (0.1, 0.5, 0.3, 0.9, 0.2), strict=True)]


def order(candidates: list[Candidate], share: float = 0.0, seed: int = 0) -> str:
    return "".join(one.study for one in reading_order(candidates, np.random.default_rng(seed), share))


def test_the_most_doubtful_is_first() -> None:
    assert order(FIVE) == "dbcea"


def test_signals_of_other_units_count_alike() -> None:
    """By hand, ranks of 3 are 1/6, 3/6, 5/6: a (1 + 5) / 12, b (3 + 3) / 12, c (5 + 5) / 12."""
    three = [
        Candidate("a", 0.1, strangeness=900.0),
        Candidate("b", 0.2, strangeness=3.0),
        Candidate("c", 0.3, strangeness=9000.0),
    ]
    assert failure_scores(three) == pytest.approx([4 / 12, 4 / 12, 5 / 6])
    assert order(three) == "cab"


def test_what_nothing_is_known_of_is_read_first() -> None:
    assert order([*FIVE, Candidate("x")])[0] == "x"
    assert order([]) == ""


def test_a_random_share_shows_every_study_at_the_first_place() -> None:
    firsts = [order(FIVE, share=0.5, seed=seed)[0] for seed in range(400)]
    assert set(firsts) == set("abcde")
    assert firsts.count("d") == pytest.approx(400 * (0.5 + 0.5 / 5), abs=45)  # four standard deviations
    assert sorted(order(FIVE, share=1.0, seed=3)) == list("abcde")


def test_a_share_is_a_share() -> None:
    with pytest.raises(InputError, match=r"from 0 to 1, got 1\.5"):
        order(FIVE, share=1.5)
