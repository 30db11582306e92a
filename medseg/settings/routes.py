"""Route: which series a model is for, how urgent it is, and where its results go."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from medseg.core.study import Modality

Priority = Literal["routine", "stat"]
PRIORITIES: dict[Priority, int] = {"routine": 0, "stat": 1}
"""What the queue calls them: the higher is done first."""


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    return text


Words = Annotated[str, AfterValidator(_expression)]
"""A regular expression, found anywhere in a text, upper or lower case; empty where anything will do."""


class Match(BaseModel):
    """What a series must be like. The first six are asked of the archive's list, the others of a header.

    `body_parts` are words, one of which BodyPartExamined or a description must hold where the series names a body part.
    `orientation`, `kernel` and `contrast` put the better series first, as `medseg segment` would choose; the thickness
    excludes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: Modality
    description: Words = ""
    study_description: Words = ""
    station: Words = ""
    least_slices: int = Field(default=2, ge=1)
    most_slices: int | None = Field(default=None, ge=1)
    body_parts: tuple[str, ...] = ()
    most_slice_mm: float | None = Field(default=None, gt=0)
    orientation: Literal["", "axial", "coronal", "sagittal", "oblique"] = ""
    kernel: Literal["", "soft", "sharp"] = ""
    contrast: Literal["", "none", "arterial", "venous", "late"] = ""


class Route(BaseModel):
    """A model, the series it is for, and what becomes of the result.

    `takes` the best series of a study that fits, or every one. A series is `stat` where the route is, or where
    `stat_words` are found in a description. `formats` are written of each result; those that are DICOM are stored in
    each of the `destinations`, of which "archive" is the one that is watched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    model: str = Field(min_length=1)
    match: Match
    takes: Literal["best", "every"] = "best"
    priority: Priority = "routine"
    stat_words: Words | None = None
    formats: tuple[str, ...] = ("dicom-seg", "dicom-sr")
    destinations: tuple[str, ...] = ("archive",)
