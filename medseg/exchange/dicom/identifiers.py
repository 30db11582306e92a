"""What names a patient, an institution or a study in DICOM files: so that it can be kept out of logs and messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from medseg.core.errors import InputError
from medseg.exchange.dicom.deidentify import IDENTIFYING_VRS, KEPT
from medseg.exchange.dicom.elements import DAMAGE, lenient
from medseg.exchange.dicom.files import read_dataset

HIDDEN = "[hidden]"

_BETWEEN_WORDS = re.compile(r"[\s^\\=\[\]'\",;:()]+")
_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b")
_SHORTEST = 2


def identifying_words(files: Iterable[Path]) -> frozenset[str]:
    """Every word of names, numbers, descriptions, dates and UIDs in the headers; none of files that cannot be read."""
    found: set[str] = set()
    with lenient():
        for file in files:
            try:
                header = read_dataset(file)
                for element in header.iterall():
                    if element.VR in IDENTIFYING_VRS and element.keyword not in KEPT:
                        found.update(_BETWEEN_WORDS.split(str(element.value)))
            except (InputError, *DAMAGE):
                continue
    return frozenset(word for word in found if len(word) >= _SHORTEST)


def without_identifiers(text: str, words: Iterable[str] = ()) -> str:
    """The text, each of the words and every UID in it hidden."""
    text = _UID.sub(HIDDEN, text)
    wanted = sorted(set(words), key=len, reverse=True)
    if not wanted:
        return text
    pattern = "|".join(re.escape(word) for word in wanted)
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
