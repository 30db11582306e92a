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
_UID = re.compile(r"\b(?:[0-2](?:\.\d+){4,}|2\.25\.\d{6,})\b")
_SHORTEST_NAME, _SHORTEST_WORD = 2, 3


def identifying_words(files: Iterable[Path]) -> frozenset[str]:
    """Every word of names, numbers, descriptions, dates and UIDs in the headers; none of files that cannot be read."""
    found: set[str] = set()
    with lenient():
        for file in files:
            try:
                header = read_dataset(file)
                for element in header.iterall():
                    if element.VR in IDENTIFYING_VRS and element.keyword not in KEPT:
                        shortest = _SHORTEST_NAME if element.VR == "PN" else _SHORTEST_WORD
                        words = _BETWEEN_WORDS.split(str(element.value))
                        found.update(word for word in words if len(word) >= shortest)
            except (InputError, *DAMAGE):
                continue
    return frozenset(found)


def without_identifiers(text: str, words: Iterable[str] = ()) -> str:
    """The text, each of the words and every UID in it hidden."""
    text = _UID.sub(HIDDEN, text)
    wanted = sorted(set(words), key=len, reverse=True)
    if not wanted:
        return text
    pattern = "|".join(re.escape(word) for word in wanted)
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
