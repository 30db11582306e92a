"""What does not drift does not alarm, and what does is seen soon."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from medseg.core.errors import InputError
from medseg.review.drift import watch, watch_all

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def steady(seed: int, count: int = 130) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 2, count)


def test_a_steady_series_is_seldom_outside() -> None:
    """At one look, after 100 values that are like the baseline."""
    found = [watch("volume", steady(seed).tolist()) for seed in range(300)]
    assert sum(one is not None and one.outside_since is not None for one in found) <= 3


def test_a_shift_of_one_and_a_half_deviations_is_seen_within_thirty_values() -> None:
    seen = 0
    for seed in range(100):
        values = steady(seed, 60)
        values[30:] += 3
        found = watch("volume", values.tolist())
        seen += found is not None and found.outside_since is not None
    assert seen >= 80


def test_a_share_that_falls_is_told_in_a_sentence() -> None:
    values = [1.0, 1.0, 1.0, 0.0] * 10 + [0.0] * 20
    found = watch("results accepted", values)
    assert found is not None
    assert found.sentence is not None
    assert found.sentence.startswith("drift in results accepted: 0.0")
    assert found.outside_since is not None
    assert 40 < found.outside_since < 50
    assert watch("results accepted", [1.0, 1.0, 1.0, 0.0] * 15).outside_since is None  # type: ignore[union-attr]


def test_what_never_came_may_come_once() -> None:
    found = watch("scans set aside", [0.0] * 50 + [1.0])
    assert found is not None
    assert found.outside_since is None


def test_short_series_say_nothing_and_values_that_are_none_are_left_out() -> None:
    assert watch("x", [1.0] * 34) is None
    report = watch_all({"x": [1.0] * 34, "y": [float("nan"), *steady(0, 40)]}, NOW)
    assert [one.name for one in report.watched] == ["y"]
    assert report.alerts == ()


def test_a_baseline_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="two values or more"):
        watch("x", [1.0] * 100, baseline=1)
