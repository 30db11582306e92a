"""Drift watch: whether scans, findings and readers' verdicts are still what they were, by control limits.

Each series of values is watched by an exponentially weighted moving average (Roberts 1959), which sees a small lasting
change sooner than single values do. The first values are the baseline; how little they say of the true mean is counted
in the limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from pydantic import BaseModel, ConfigDict

from medseg.core.errors import InputError

BASELINE = 30
FEWEST_AFTER = 5
"""Values after the baseline below which nothing is said."""

WEIGHT = 0.1
"""Of the newest value in the moving average: small enough that one rare event is no drift."""

LIMIT = 3.0
"""Standard deviations. At one look a steady series is outside about once in a hundred; who looks daily sees that more
often, and `outside for the last 2` is not yet a drift."""


class Watched(BaseModel):
    """One series: its baseline, its moving average now with the limits, and since which value it is outside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    values: int
    baseline: float
    now: float
    limits: tuple[float, float]
    outside_since: int | None

    @property
    def sentence(self) -> str | None:
        """What to tell people; None where the series is within its limits."""
        if self.outside_since is None:
            return None
        low, high = self.limits
        ago = self.values - self.outside_since
        return (
            f"drift in {self.name}: {self.now:.3g} now, {self.baseline:.3g} at first, limits {low:.3g} to "
            f"{high:.3g}, outside for the last {ago} of {self.values}"
        )


class DriftReport(BaseModel):
    """Every series that was long enough, at one moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: datetime
    watched: tuple[Watched, ...]

    @property
    def alerts(self) -> tuple[str, ...]:
        """A sentence for each series that is outside its limits now."""
        return tuple(one.sentence for one in self.watched if one.sentence)


def watch(name: str, values: Sequence[float], baseline: int = BASELINE) -> Watched | None:
    """One series in order of time; None where it is too short. Values that are 0 or 1 throughout are shares.

    Raises InputError where the baseline is none.
    """
    if baseline < 2:
        raise InputError(f"a baseline takes two values or more, got {baseline}")
    series = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    if len(series) < baseline + FEWEST_AFTER:
        return None
    first, later = series[:baseline], series[baseline:]
    mean = float(first.mean())
    deviation = _deviation(first, is_share=bool(np.isin(series, (0, 1)).all()))
    average, outside_since, limits = mean, None, (mean, mean)
    for number, value in enumerate(later, start=1):
        average = WEIGHT * float(value) + (1 - WEIGHT) * average
        spread = WEIGHT / (2 - WEIGHT) * (1 - (1 - WEIGHT) ** (2 * number)) + 1 / baseline
        width = LIMIT * deviation * math.sqrt(spread)
        limits = (mean - width, mean + width)
        is_outside = not limits[0] <= average <= limits[1]
        outside_since = (outside_since if outside_since is not None else baseline + number - 1) if is_outside else None
    return Watched(
        name=name, values=len(series), baseline=mean, now=average, limits=limits, outside_since=outside_since
    )


def watch_all(series: Mapping[str, Sequence[float]], created: datetime, baseline: int = BASELINE) -> DriftReport:
    """Every series that is long enough."""
    watched = (watch(name, values, baseline) for name, values in series.items())
    return DriftReport(created=created, watched=tuple(one for one in watched if one is not None))


def _deviation(first: np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, is_share: bool) -> float:
    """Of single values; a share that never came, or always, is taken for one that might have come once more."""
    if is_share:
        share = (float(first.sum()) + 1) / (len(first) + 2)
        return math.sqrt(share * (1 - share))
    # A series that never moved allows what changes it by a hundredth.
    return max(float(first.std(ddof=1)), 0.01 * abs(float(first.mean())), 1e-9)
