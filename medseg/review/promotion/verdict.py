"""The written verdict of the gate: which checks a challenger passed, in figures and in words."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import StoreError
from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.core.task import first_problem
from medseg.review.promotion.shadow import ShadowSummary


class GateRules(BaseModel):
    """What a challenger must show. Differences are challenger less champion; limits are those of 95 % intervals.

    The margins say how much worse is still called no worse. What cannot be shown on the test cases that there are, is
    not shown: with few cases intervals are wide, and the champion stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: float = Field(default=0.01, ge=0)
    """Of Dice, over all labels and of each label: the difference's lower limit lies above minus this."""

    small_share: float = Field(default=0.25, gt=0, le=1)
    """The structures of each label up to this quantile of volume count as small."""

    small_margin: float = Field(default=0.02, ge=0)
    """Of Dice, on small structures."""

    worst_share: float = Field(default=0.1, gt=0, le=1)
    """The share of the cases on which a model is worst, each model's own."""

    worst_margin: float = Field(default=0.02, ge=0)
    """Of Dice, on the worst cases; in each draw those that are worst of the drawn."""

    found_margin: float = Field(default=0.02, ge=0)
    """Of the share of structures that are touched at all: the difference itself."""

    lesion_margin: float = Field(default=0.05, ge=0)
    """Of the share of small lesions that are found, those up to the quantile `small_share` of volume: the difference's
    lower limit; and of false lesions a scan, the difference itself."""

    past_margin: float = Field(default=0.02, ge=0)
    """Of Dice, on scans that readers corrected. It is wider than `margin`: a correction is drawn over the mask of the
    model of then, and so favours it."""

    calibration_margin: float = Field(default=0.02, ge=0)
    """Of the expected calibration error."""

    most_times_as_slow: float = Field(default=1.5, ge=1)
    fewest_cases: int = Field(default=10, ge=2)
    must_gain: bool = True
    """Whether the mean Dice must be higher than the champion's; else no worse is enough."""


class Check(BaseModel):
    """One thing that was asked: the difference (or ratio) found, its interval where it has one, and the limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    is_passed: bool
    champion: float
    challenger: float
    difference: float
    interval: tuple[float, float] | None = None
    limit: float


class GateVerdict(BaseModel):
    """What the gate found; it holds for these two models only."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format: Literal[1] = 1
    created: datetime
    champion_sha256: str
    challenger_sha256: str
    dataset: str
    cases: int
    subjects: int
    rules: GateRules
    checks: tuple[Check, ...] = Field(min_length=1)
    corrections: int = 0
    """Scans that readers corrected on which both were measured too."""
    shadow: ShadowSummary | None = None
    warnings: tuple[str, ...] = ()
    """What a promotion would lose that no check asks for, as quality control."""

    @property
    def is_passed(self) -> bool:
        """Whether the challenger may be promoted."""
        return all(check.is_passed for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that the challenger did not pass."""
        return tuple(check.name for check in self.checks if not check.is_passed)

    def markdown(self) -> str:
        """The verdict for people."""
        word = "may be promoted" if self.is_passed else f"is refused: {', '.join(self.failed)}"
        rows = "\n".join(_row(check) for check in self.checks)
        past = f" Past corrections: {self.corrections}." if self.corrections else ""
        shadow = f"\n{self.shadow.sentence}\n" if self.shadow else ""
        warnings = "".join(f"\nWarning: {warning}\n" for warning in self.warnings)
        return f"""# The challenger {self.challenger_sha256[:12]} {word}

Against the champion {self.champion_sha256[:12]}, on {self.cases} frozen test cases of {self.subjects} subjects
({self.dataset}), {self.created:%Y-%m-%d %H:%M} UTC. {NOT_FOR_DIAGNOSIS}

| asked | champion | challenger | difference | 95 % interval | limit | passed |
|---|---|---|---|---|---|---|
{rows}

Differences are challenger less champion, by a paired bootstrap over subjects. Dice counts 1 where a structure is absent
and none was found.{past}
{shadow}{warnings}"""


def write_verdict(verdict: GateVerdict, path: Path) -> None:
    """Write the verdict as JSON, and as Markdown beside it."""
    with whole_file(path.with_suffix(".md")) as unfinished:
        unfinished.write_text(verdict.markdown(), encoding="utf-8")
    with whole_file(path) as unfinished:
        unfinished.write_text(verdict.model_dump_json(indent=1), encoding="utf-8")


def read_verdict(path: Path) -> GateVerdict:
    """The verdict in a file. Raises StoreError where there is none, or it is none."""
    try:
        return GateVerdict.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"there is no verdict at {path}. `medseg models judge` writes one.") from error
    except ValidationError as error:
        raise StoreError(f"{path} is no verdict of the gate: {first_problem(error)}. Judge again.") from error


def _row(check: Check) -> str:
    interval = "" if check.interval is None else f"{check.interval[0]:+.4f} to {check.interval[1]:+.4f}"
    passed = "yes" if check.is_passed else "**no**"
    return (
        f"| {check.name} | {check.champion:.4f} | {check.challenger:.4f} | {check.difference:+.4f} | {interval} "
        f"| {check.limit:+.4f} | {passed} |"
    )
