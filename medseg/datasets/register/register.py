"""The register of cases: a file that says which patients are for training, for validation, and for the frozen test.

A patient is put on a side once, by a hash, and stays there over all generations of a model. The test cases are those
of the beginning and no others, so that every generation is measured with one rule. The file holds hashes and the names
of the frozen test cases, no patient.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError, StoreError
from medseg.core.presence import held
from medseg.core.task import first_problem

Side = Literal["training", "validation", "test"]

FORMAT = 1
NEW_FOR_VALIDATION = 0.15
"""The share of patients who come later that is kept for validation; the others are trained on.

Where all of a retraining's would be kept, one is trained on (`medseg.workflows.retraining.selection`).
"""


class Register(BaseModel):
    """Sides by the hash of the subject, the subject's hash by the print of each scan, and the frozen test cases.

    `test_prints` maps the name of each test case to the prints of its channels. A register is a value: what enters it
    gives a new one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    salt: str
    side_of: dict[str, Side]
    subject_of_print: dict[str, str]
    test_prints: dict[str, tuple[str, ...]]

    def subject_sha256(self, subject: str) -> str:
        """The hash by which a subject is known here."""
        return hashlib.sha256(f"{self.salt}:{subject}".encode()).hexdigest()

    def side(self, subject: str) -> Side:
        """The side of a subject; of one who is new, the side that the hash gives: never the test, which is frozen."""
        known = self.subject_sha256(subject)
        return self.side_of.get(known) or ("validation" if share(known) < NEW_FOR_VALIDATION else "training")

    def side_of_prints(self, prints: Collection[str]) -> Side | None:
        """The side of whoever has a scan of one of these prints; None where nobody has."""
        for one in prints:
            if one in self.subject_of_print:
                return self.side_of[self.subject_of_print[one]]
        return None

    def entered(self, case: str, subject: str, prints: Collection[str]) -> Register:
        """The register with a case of a subject in it.

        Raises InputError where a scan with the very voxels is there under another subject: one patient under two names
        would be trained on and tested on.
        """
        known = self.subject_sha256(subject)
        for one in prints:
            other = self.subject_of_print.get(one, known)
            if other != known:
                raise InputError(
                    f"case {case} holds the very voxels of a scan that is registered for {self.side_of[other]} under "
                    "another subject: one patient under two names. Give both the same subject, or leave one out."
                )
        return self.model_copy(
            update={
                "side_of": {**self.side_of, known: self.side(subject)},
                "subject_of_print": {**self.subject_of_print, **dict.fromkeys(prints, known)},
            }
        )

    def require_no_test(self, prints_of: Mapping[str, Collection[str]]) -> None:
        """Raise InputError where one of the cases (name to prints) that are to be learned from is for the test."""
        for case, prints in prints_of.items():
            if self.side_of_prints(prints) == "test":
                raise InputError(f"case {case} is kept for the test and cannot be learned from. Leave it out.")


def begin_register(sides: Mapping[str, Side], salt: str) -> Register:
    """A register in which each subject stands on a side; scans are entered next."""
    empty = Register(salt=salt, side_of={}, subject_of_print={}, test_prints={})
    known = {empty.subject_sha256(subject): side for subject, side in sides.items()}
    return empty.model_copy(update={"side_of": known})


def first_sides(subjects: Collection[str], learned: Collection[str], for_test: Collection[str]) -> dict[str, Side]:
    """Sides of the subjects of the first data set: what a model learned from is for training, and never anything else.

    `for_test` are subjects that were kept for the test from the beginning; without any, those that no model learned
    from are halved between validation and test by their hash. Raises InputError where too few are left.
    """
    unseen = sorted(set(subjects) - set(learned), key=lambda subject: hashlib.sha256(subject.encode()).hexdigest())
    test = sorted(set(unseen) & set(for_test)) or unseen[: len(unseen) // 2]
    validation = [subject for subject in unseen if subject not in set(test)]
    if not test or not validation:
        raise InputError(
            f"the champion has learned from {len(subjects) - len(unseen)} of {len(subjects)} subjects, and test and "
            "validation need one each that it has not seen. Name a data set with more."
        )
    return {
        **dict.fromkeys(learned, "training"),
        **dict.fromkeys(validation, "validation"),
        **dict.fromkeys(test, "test"),
    }


def read_register(path: Path) -> Register:
    """The register in a file. Raises StoreError where it is missing, damaged, or of a newer medseg."""
    try:
        text = path.read_text(encoding="utf-8")
        version = int(json.loads(text)["format"])
        if version > FORMAT:
            raise StoreError(
                f"{path} was written by a newer medseg (version {version}; this one knows {FORMAT}). Update medseg."
            )
        return Register.model_validate_json(text)
    except OSError as error:
        raise StoreError(f"there is no register of cases at {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise StoreError(f"the register of cases {path} is damaged: {why}. Restore it from a backup.") from error


def write_register(register: Register, path: Path) -> None:
    """Write the register, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(register.model_dump_json(indent=1), encoding="utf-8")


def held_register(path: Path) -> AbstractContextManager[None]:
    """Hold the register of a file for the block, from reading to writing; waits while another process holds it.

    Raises InputError where nothing can be written beside it.
    """
    return held(path.with_suffix(".lock"))


def share(sha256: str) -> float:
    """A number from 0 to 1, evenly spread over hashes."""
    return int(sha256[:13], 16) / 16**13
