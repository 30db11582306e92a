"""Second readings, drawn without a look at the first: each has an id of its own, so that its permit opens no more."""

from __future__ import annotations

BLIND = "second reading"
"""What the log says of a look at a study that showed no one else's correction."""

_MARK = "-second"


def second_reading_of(study: str) -> str:
    """The id under which a study is opened for a second reading."""
    return f"{study}{_MARK}"


def is_second_reading(study: str) -> bool:
    """Whether the id is one of a second reading."""
    return study.endswith(_MARK)


def read_study(study: str) -> str:
    """The id of the study that is read, whether for the first or the second time."""
    return study.removesuffix(_MARK)
