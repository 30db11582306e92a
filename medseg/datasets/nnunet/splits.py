"""nnU-Net's splits_final.json: its folds as ours, and ours as its.

    [{"train": ["a", "b"], "val": ["c"]}, {"train": ["a", "c"], "val": ["b"]}, ...]

nnU-Net keeps the file in its folder of preprocessed data, so it is looked for beside dataset.json and there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.core.task import first_problem
from medseg.datasets.manifest import CaseRow
from medseg.datasets.splits import require_whole_subjects

FILE = "splits_final.json"


class Split(BaseModel):
    """One of nnU-Net's folds: the names of the cases it is trained on, and of those held out."""

    train: list[str]
    val: list[str] = Field(min_length=1)


def find_splits(folder: Path) -> Path | None:
    """The splits_final.json of a data set: beside dataset.json, or under the same name in nnUNet_preprocessed."""
    whole = folder.resolve()
    for path in (folder / FILE, whole.parent.parent / "nnUNet_preprocessed" / whole.name / FILE):
        if path.is_file():
            return path
    return None


def with_splits(rows: Sequence[CaseRow], path: Path) -> tuple[CaseRow, ...]:
    """The rows with the folds of a splits_final.json: fold n holds what its n-th split holds out.

    Cases that no split holds out, as in a file of a single split, go into one fold more. Rows without a label, and
    those of the test, stay in none. Raises InputError where the file is not valid, names other cases than there are,
    trains on less than all that is not held out, holds a case out twice, or divides a subject: folds cannot say that.
    """
    splits = read_splits(path)
    trainable = {row.case for row in rows if row.label and not row.is_for_test}
    fold_of: dict[str, int] = {}
    for number, split in enumerate(splits):
        held, trained = set(split.val), set(split.train)
        for what, cases in (
            ("names cases that the data set lacks or keeps for the test", (held | trained) - trainable),
            ("leaves cases out that have a mask", trainable - held - trained),
            ("both trains on and holds out", held & trained),
            ("holds out once more", held & fold_of.keys()),
        ):
            if cases:
                raise InputError(
                    f"{path}, split {number}, {what}: {_listed(sorted(cases))}. Each split of nnU-Net that medseg can "
                    "follow names every case once, and each case is held out in one split; correct the file, or let "
                    "medseg make folds without it."
                )
        fold_of.update(dict.fromkeys(held, number))
    fold_of.update(dict.fromkeys(trainable - fold_of.keys(), len(splits)))
    require_whole_subjects(dict(fold_of), {row.case: row.subject for row in rows}, str(path))
    return tuple(replace(row, fold=fold_of.get(row.case)) for row in rows)


def read_splits(path: Path) -> list[Split]:
    """The splits in a file. Raises InputError where it is missing or not nnU-Net's."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; --folds takes nnU-Net's {FILE}")
    try:
        return TypeAdapter(list[Split]).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        raise InputError(f"{path} is not a {FILE} of nnU-Net: {first_problem(error)}") from error


def write_splits(rows: Sequence[CaseRow], path: Path) -> None:
    """Write the folds of the rows as nnU-Net reads them; whole or not at all. No file without at least two folds."""
    folds = sorted({row.fold for row in rows if row.fold is not None})
    if len(folds) < 2:
        return
    splits = [
        {
            "train": sorted(row.case for row in rows if row.fold not in (None, fold)),
            "val": sorted(row.case for row in rows if row.fold == fold),
        }
        for fold in folds
    ]
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(splits, indent=1), encoding="utf-8")


def _listed(cases: list[str], most: int = 5) -> str:
    return ", ".join(cases[:most]) + (f" and {len(cases) - most} more" if len(cases) > most else "")
