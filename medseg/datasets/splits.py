"""Who is trained on and who is tested on: folds made by subject, the same on every machine.

A subject whose two knees, two dates or two hemispheres stand on both sides of a split lets the network recognise the
patient instead of the anatomy, and the score flatters. Splits are therefore made of subjects, and a split that
divides one is refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

from medseg.core.errors import InputError
from medseg.core.study import Case


def assign_folds(subject_of: Mapping[str, str], folds: int, seed: int) -> dict[str, int]:
    """The fold (0 to folds - 1) of each case, from the subject of each case: whole subjects, folds as even as can be.

    The order of subjects follows from a hash of the seed and their names and not from a random generator, whose
    sequence may change with the version of numpy: a split can then be made again in years. Subjects with most cases
    are dealt first, each to the fold that holds the fewest cases, so that folds differ by no more than they must.

    Raises InputError when there are fewer subjects than folds, or fewer than two folds.
    """
    if folds < 2:
        raise InputError(f"a split needs two folds or more, got {folds}")
    cases_of = Counter(subject_of.values())
    if len(cases_of) < folds:
        raise InputError(
            f"{len(cases_of)} subjects cannot be divided into {folds} folds, since a subject stands in one fold only. "
            f"Ask for at most {len(cases_of)} folds, or add subjects."
        )
    order = sorted(cases_of, key=lambda subject: (-cases_of[subject], _seeded(subject, seed), subject))
    held = [0] * folds
    fold_of: dict[str, int] = {}
    for subject in order:
        fold = min(range(folds), key=held.__getitem__)
        fold_of[subject] = fold
        held[fold] += cases_of[subject]
    return {case: fold_of[subject] for case, subject in subject_of.items()}


def require_apart(training: Iterable[Case], held_out: Iterable[Case], what: str = "the split") -> None:
    """Raise InputError, naming the subjects, when one stands among the training cases and the held-out ones."""
    both = sorted({case.subject for case in training} & {case.subject for case in held_out})
    if both:
        raise InputError(
            f"{what} divides {_listed(both)}: "
            "the same subject is trained on and tested on, which flatters every score. "
            "Move all cases of a subject to one side."
        )


def require_whole_subjects(fold_of: Mapping[str, int | None], subject_of: Mapping[str, str], what: str) -> None:
    """Raise InputError, naming the subjects, when cases of one subject stand in different folds.

    A fold of None marks a case that is kept for the final test; it counts as a side of its own.
    """
    sides: dict[str, set[int | None]] = {}
    for case, fold in fold_of.items():
        sides.setdefault(subject_of[case], set()).add(fold)
    divided = sorted(subject for subject, folds in sides.items() if len(folds) > 1)
    if divided:
        raise InputError(
            f"{what} divides {_listed(divided)} between folds, which flatters every score. "
            "Give all cases of a subject the same fold."
        )


def _seeded(subject: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{subject}".encode()).digest()


def _listed(subjects: list[str], most: int = 5) -> str:
    shown = ", ".join(subjects[:most])
    more = f" and {len(subjects) - most} more" if len(subjects) > most else ""
    return f"subject{'s' if len(subjects) > 1 else ''} {shown}{more}"
