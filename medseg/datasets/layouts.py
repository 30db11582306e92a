"""Data sets as people have them on disk, read as a manifest: the layouts are tried in a visible order.

    a manifest folder   manifest.toml and cases.csv beside the data
    dataset.json        a Medical Segmentation Decathlon or an nnU-Net folder
    a pair of folders   images/ and labels/, matched by the names of their files

Subjects are the cases themselves, unless a file subjects.csv (columns case, subject) lies in the folder: whoever has
two scans of one patient must say so, or the folds will hold the same patient on both sides.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.atomic import is_unfinished
from medseg.core.errors import InputError
from medseg.core.task import Task
from medseg.datasets.dataset_json import read_dataset_json
from medseg.datasets.label_values import task_of_masks
from medseg.datasets.manifest import MANIFEST, CaseRow, DataFile, DataSet, FilePatterns, Manifest, read_manifest
from medseg.datasets.nnunet.splits import find_splits, with_splits
from medseg.datasets.splits import assign_folds

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
"""Files that count as images and masks in a pair of folders."""

PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"), ("images", "masks"))
"""Names of the folders of images and masks, in the order they are looked for."""

MOST_FOLDS = 5

OnFile = Callable[[int, int], None]
"""Called with how many of how many files are done."""


def read_folder(folder: Path, task: Task | None = None, seed: int = 0, splits: Path | None = None) -> Manifest:
    """The data set in a folder of any known layout, split into five folds, or one per subject where there are fewer.

    The folds are those of nnU-Net's splits_final.json where `splits` names one, or one is found for a dataset.json.
    Checksums are "unknown" until `with_checksums`. Without a `task`, dataset.json names the labels, or, in a pair of
    folders, the values found in the masks do. Raises InputError where the folder has none of the layouts.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that holds the data set.")
    if (folder / MANIFEST).is_file():
        _require_no_splits(folder, splits)
        return read_manifest(folder, folder)
    if (folder / "dataset.json").is_file():
        task, rows, notes = read_dataset_json(folder, task)
        splits = splits or find_splits(folder)
    else:
        images, labels = _pair_of_folders(folder)
        rows = _matched(folder, images, labels, task)
        task = task or task_of_masks(folder.name, [folder / row.label.path for row in rows if row.label])
        notes = ()
    rows = with_subjects(rows, folder)
    rows = with_folds(rows, seed) if splits is None else with_splits(rows, splits)
    if splits is not None:
        notes = (*notes, f"The folds are those of {splits.name}.")
    facts = DataSet(
        name=re.sub(r"[^a-z0-9_.-]+", "_", folder.resolve().name.lower()).lstrip("_.-") or "dataset",
        title=folder.resolve().name,
        task="task.toml",
        licence="unknown",
        notes=notes,
    )
    return Manifest(facts, task, rows, folder)


def _require_no_splits(folder: Path, splits: Path | None) -> None:
    if splits is not None:
        raise InputError(
            f"{folder} is a manifest, which has its own folds in cases.csv. Give {splits} with the folder of the data."
        )


def list_cases(facts: DataSet, task: Task, data_folder: Path, seed: int = 0) -> Manifest:
    """The manifest of a data set whose facts say how its files are named, its rows found on disk and split in folds.

    Raises InputError when the facts give no patterns, or no file fits them.
    """
    if facts.files is None:
        raise InputError(f"the manifest of {facts.name} does not say how its files are named: it has no [files] table")
    rows = rows_of_patterns(data_folder, facts.files)
    if not rows:
        first = next(iter(facts.files.channels.values()))
        raise InputError(f"{data_folder} holds no file named like {first}. Fetch the data set {facts.name} first.")
    return Manifest(facts, task, with_folds(with_subjects(rows, data_folder), seed), data_folder)


def rows_of_patterns(folder: Path, patterns: FilePatterns) -> tuple[CaseRow, ...]:
    """The cases whose files fit the patterns, by name; a case may lack a channel or its label."""
    found: dict[str, dict[str, str]] = {}
    for column, pattern in (*patterns.channels.items(), ("", patterns.label)):
        for case, path in _fitting(folder, pattern).items() if pattern else ():
            found.setdefault(case, {})[column] = path
    return tuple(
        CaseRow(
            case=case,
            subject=case,
            fold=None,
            channels={name: DataFile(files[name]) for name in patterns.channels if name in files},
            label=DataFile(files[""]) if "" in files else None,
        )
        for case, files in sorted(found.items())
        if any(name in files for name in patterns.channels)
    )


def with_subjects(rows: Sequence[CaseRow], folder: Path) -> tuple[CaseRow, ...]:
    """The rows with the subjects that `folder`/subjects.csv gives them; as they are where there is no such file.

    Raises InputError when the file lacks a column or a case.
    """
    path = folder / "subjects.csv"
    if not path.is_file():
        return tuple(rows)
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        if not {"case", "subject"} <= set(lines.fieldnames or ()):
            raise InputError(f"{path} lacks the columns case and subject; its first line should be case,subject")
        subject_of = {line["case"]: line["subject"] for line in lines}
    without = [row.case for row in rows if not subject_of.get(row.case)]
    if without:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise InputError(f"{path} names no subject for case {without[0]}{more}. Give every case a line.")
    return tuple(replace(row, subject=subject_of[row.case]) for row in rows)


def with_folds(rows: Sequence[CaseRow], seed: int) -> tuple[CaseRow, ...]:
    """The rows split by subject into five folds, or one per subject; those for the test, or without a label, in none.

    A data set of one subject has the single fold 0, which leaves nothing to train on.
    """
    labelled = {row.case: row.subject for row in rows if row.label and not row.is_for_test}
    folds = min(MOST_FOLDS, len(set(labelled.values())))
    fold_of = assign_folds(labelled, folds, seed) if folds > 1 else dict.fromkeys(labelled, 0)
    return tuple(replace(row, fold=fold_of.get(row.case)) for row in rows)


def with_checksums(manifest: Manifest, on_file: OnFile | None = None) -> Manifest:
    """The same manifest with the sha256 of every file that is on disk."""
    total = sum(len(row.files) for row in manifest.rows)
    done = 0

    def summed(file: DataFile) -> DataFile:
        nonlocal done
        path = manifest.path(file)
        done += 1
        result = replace(file, sha256=file_sha256(path)) if path.is_file() else file
        if on_file:
            on_file(done, total)
        return result

    rows = tuple(
        replace(
            row,
            channels={name: summed(file) for name, file in row.channels.items()},
            label=summed(row.label) if row.label else None,
        )
        for row in manifest.rows
    )
    return replace(manifest, rows=rows)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pair_of_folders(folder: Path) -> tuple[str, str]:
    for images, labels in PAIRS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return images, labels
    pairs = ", ".join(f"{images}/ and {labels}/" for images, labels in PAIRS)
    raise InputError(
        f"{folder} is no data set that medseg knows: it has no manifest.toml, no dataset.json, and no pair of folders "
        f"({pairs}). Put images and masks of the same names into images/ and labels/."
    )


def _matched(folder: Path, images: str, labels: str, task: Task | None) -> tuple[CaseRow, ...]:
    """The cases of a pair of folders; with several channels, an image is named by its case, "_" and the channel."""
    image_of, label_of = _by_stem(folder, images), _by_stem(folder, labels)
    names = [channel.name for channel in task.channels] if task else ["image"]
    endings = {name: f"_{name}" for name in names} if len(names) > 1 else {names[0]: ""}
    rows: dict[str, dict[str, DataFile]] = {}
    for stem, path in image_of.items():
        name = next((name for name, ending in endings.items() if stem.endswith(ending)), None)
        if name is None:
            raise InputError(
                f"{folder / path} names no channel: with the channels {', '.join(names)}, an image is called "
                f"<case>_{names[0]} and so on"
            )
        rows.setdefault(stem.removesuffix(endings[name]), {})[name] = DataFile(path)
    if not rows:
        raise InputError(f"{folder / images} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    strays = sorted(set(label_of) - set(rows))
    if strays:
        raise InputError(
            f"{folder / label_of[strays[0]]} has no image of the same name in {images}/. "
            "Rename the one or the other; images and masks are matched by their names without suffixes."
        )
    return tuple(
        CaseRow(case, case, None, channels, DataFile(label_of[case]) if case in label_of else None)
        for case, channels in sorted(rows.items())
    )


def _by_stem(folder: Path, below: str) -> dict[str, str]:
    """Relative paths of the images in a folder by their names without suffixes. Raises InputError for twins."""
    found: dict[str, str] = {}
    for path in _visible_files((folder / below).iterdir()):
        suffix = next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix is None:
            continue
        stem = path.name[: -len(suffix)]
        if stem in found:
            raise InputError(f"{path} and {folder / found[stem]} have the same name but for the suffix. Remove one.")
        found[stem] = f"{below}/{path.name}"
    return found


def _visible_files(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, by name, without hidden ones such as the ._twins that a Mac leaves in archives."""
    return sorted(
        path for path in paths if path.is_file() and not path.name.startswith(".") and not is_unfinished(path)
    )


def _fitting(folder: Path, pattern: str) -> Mapping[str, str]:
    """Relative paths of the files that fit a pattern, by case. Raises InputError when two fit for one case."""
    parts = re.split(r"\{(\w+)\}", pattern)
    glob = "".join("*" if n % 2 else re.sub(r"([*?[])", r"[\1]", part) for n, part in enumerate(parts))
    named: set[str] = set()
    expression = ""
    for n, part in enumerate(parts):
        if n % 2 == 0:
            expression += re.escape(part)
        else:
            expression += f"(?P={part})" if part in named else f"(?P<{part}>[^/]+?)"
            named.add(part)
    found: dict[str, str] = {}
    for path in _visible_files(folder.glob(glob)):
        relative = path.relative_to(folder).as_posix()
        match = re.fullmatch(expression, relative)
        if match is None:
            continue
        if match["case"] in found:
            raise InputError(f"{path} and {folder / found[match['case']]} are both named like case {match['case']}")
        found[match["case"]] = relative
    return found
