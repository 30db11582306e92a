"""What a challenger would have said: its results beside the champion's, study by study, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class ShadowResult(BaseModel):
    """One study: both models' masks compared. Pairs are champion first, challenger second.

    `dice` is between the two masks, of each label that either holds. `findings` counts those of each label. `failure`
    says why the challenger gave no mask, and then nothing else is known of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    scan_sha256: str
    champion_sha256: str
    challenger_sha256: str
    dice: dict[str, float] = Field(default_factory=dict)
    volume_ml: dict[str, tuple[float, float]] = Field(default_factory=dict)
    findings: dict[str, tuple[int, int]] = Field(default_factory=dict)
    seconds: tuple[float, float] | None = None
    failure: str | None = None

    @property
    def mean_dice(self) -> float | None:
        """Over the labels that either mask holds; 1 where both are empty, None where the challenger failed."""
        if self.failure is not None:
            return None
        return float(np.mean(list(self.dice.values()))) if self.dice else 1.0


class ShadowSummary(BaseModel):
    """All studies of one pair of models. Means are over the studies in which the challenger gave a mask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion_sha256: str
    challenger_sha256: str
    studies: int
    failures: int
    dice: float | None
    dice_of_label: dict[str, float]
    volume_ratio: dict[str, float]
    """The challenger's volume of all studies as a share of the champion's; a label that the champion never saw is left
    out."""
    findings: dict[str, tuple[int, int]]
    seconds: tuple[float, float] | None
    most_apart: tuple[tuple[str, float], ...]
    """The studies in which the two differ most, with their mean Dice."""

    @property
    def sentence(self) -> str:
        """What is told in a verdict."""
        counts = ", ".join(f"{a} and {b} of {name}" for name, (a, b) in self.findings.items()) or "none"
        dice = "none compared" if self.dice is None else f"mean Dice between the two {self.dice:.3f}"
        ratios = ", ".join(f"{name} x {ratio:.2f}" for name, ratio in self.volume_ratio.items())
        return (
            f"In shadow the challenger saw {self.studies} studies beside the champion: {dice}; findings of champion "
            f"and challenger: {counts}; volumes of the challenger: {ratios or 'none'}; it failed on {self.failures}. "
            "Which of the two was right is not known there."
        )


def summarise_shadow(results: Sequence[ShadowResult], most: int = 5) -> ShadowSummary | None:
    """What the results of one pair of models come to; None where there is none."""
    if not results:
        return None
    whole = [one for one in results if one.failure is None]
    dice = {name: [one.dice[name] for one in whole if name in one.dice] for one in whole for name in one.dice}
    apart = sorted(((one.study, one.mean_dice) for one in whole if one.mean_dice is not None), key=lambda pair: pair[1])
    seconds = [one.seconds for one in whole if one.seconds is not None]
    volumes = _sums([one.volume_ml for one in whole])
    counts = _sums([one.findings for one in whole])
    return ShadowSummary(
        champion_sha256=results[0].champion_sha256,
        challenger_sha256=results[0].challenger_sha256,
        studies=len(results),
        failures=len(results) - len(whole),
        dice=float(np.mean([value for _, value in apart])) if apart else None,
        dice_of_label={name: float(np.mean(values)) for name, values in sorted(dice.items())},
        volume_ratio={name: pair[1] / pair[0] for name, pair in volumes.items() if pair[0] > 0},
        findings={name: (int(pair[0]), int(pair[1])) for name, pair in counts.items()},
        seconds=(float(np.median([a for a, _ in seconds])), float(np.median([b for _, b in seconds])))
        if seconds
        else None,
        most_apart=tuple(apart[:most]),
    )


def _sums(
    pairs: Sequence[dict[str, tuple[float, float]]] | Sequence[dict[str, tuple[int, int]]],
) -> dict[str, list[float]]:
    total: dict[str, list[float]] = {}
    for one in pairs:
        for name, (first, second) in one.items():
            known = total.setdefault(name, [0.0, 0.0])
            known[0] += first
            known[1] += second
    return dict(sorted(total.items()))
