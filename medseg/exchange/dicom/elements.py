"""Values of DICOM elements as plain Python types; a value that cannot be one becomes an InputError with a sentence."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence

from medseg.core.errors import InputError

DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError, EOFError,
          struct.error, BytesLengthException, RecursionError, MemoryError, OSError, AssertionError)  # fmt: skip
"""What pydicom may raise on a damaged file or element; anything else is a bug of ours."""


@contextmanager
def lenient() -> Iterator[None]:
    """Inside, pydicom neither validates nor warns: hospital files break small rules; what matters is checked here."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def numbers(dataset: Dataset, keyword: str, count: int, where: str) -> tuple[float, ...] | None:
    """That many finite numbers, None where the element is absent or empty.

    Raises InputError where it holds another number of values or something that is not a number.
    """
    value = _value(dataset, keyword, where)
    if value is None or value == "" or (isinstance(value, (list, tuple)) and not value):
        return None
    try:
        several = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        found = tuple(float(str(part)) for part in several)
    except DAMAGE as error:
        raise InputError(f"{where}: {keyword} is {value!r}, which is no number. Send the file again.") from error
    if len(found) != count or not all(map(math.isfinite, found)):
        raise InputError(f"{where}: {keyword} is {value!r}; it must be {count} finite number{'s'[: count > 1]}")
    return found


def number(dataset: Dataset, keyword: str, where: str) -> float | None:
    """One finite number, None where the element is absent or empty; InputError otherwise."""
    found = numbers(dataset, keyword, 1, where)
    return None if found is None else found[0]


def whole(dataset: Dataset, keyword: str, where: str) -> int | None:
    """One whole number, None where the element is absent or empty; InputError otherwise."""
    found = number(dataset, keyword, where)
    if found is None:
        return None
    if found != int(found):
        raise InputError(f"{where}: {keyword} is {found:g}, which is no whole number")
    return int(found)


def text(dataset: Dataset, keyword: str) -> str:
    """The element as text, several values joined by a backslash; empty where it is absent or cannot be read."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return ""
        if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
            return "\\".join(str(part) for part in value)
        return str(value).strip().strip("\0")
    except DAMAGE:
        return ""


def items(dataset: Dataset, keyword: str, where: str = "") -> list[Dataset]:
    """The items of a sequence; empty where it is absent. Raises InputError where it is no sequence."""
    value = _value(dataset, keyword, where)
    if value is None:
        return []
    if not isinstance(value, Sequence):
        raise InputError(f"{where}: {keyword} is damaged: it is no sequence")
    return list(value)


def _value(dataset: Dataset, keyword: str, where: str) -> object:
    try:
        return dataset.get(keyword)
    except DAMAGE as error:
        raise InputError(f"{where}: {keyword} cannot be read ({error}). Send the file again.") from error
